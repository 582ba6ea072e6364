"""Every rule against its equation written out: contributions of every input to every output, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.lrp import rules
from sightline.explainers.lrp._linear import Linear, convolution, dense, diagonal, pooling
from sightline.explainers.lrp._shares import stabiliser

MAPS = {
    "conv": lambda g: (convolution(_r(g, 4, 3, 3, 3), _r(g, 4), 2, 1, 1, 1), (2, 3, 5, 5)),
    "grouped": lambda g: (convolution(_r(g, 6, 2, 3, 3), _r(g, 6), 1, 2, 2, 2), (2, 4, 5, 5)),
    "depthwise": lambda g: (convolution(_r(g, 4, 1, 3, 3), None, (1, 2), (1, 0), 1, 4), (2, 4, 5, 5)),
    "dense": lambda g: (dense(_r(g, 5, 7), _r(g, 5)), (2, 7)),
    "tokens": lambda g: (dense(_r(g, 5, 7), _r(g, 5)), (2, 3, 7)),
    "norm": lambda g: (diagonal(_r(g, 3), _r(g, 3), 1), (2, 3, 2, 2)),
    "pool": lambda g: (pooling(lambda x: F.adaptive_avg_pool2d(x, 2)), (2, 3, 5, 5)),
}
RULES: dict[str, rules.Rule] = {
    "lrp-0": rules.Zero(),
    "epsilon": rules.Epsilon(0.1),
    "relative": rules.Epsilon(0.25, relative=True),
    "gamma": rules.Gamma(0.25),
    "z-plus": rules.ZPlus(),
    "same-sign": rules.SameSign(),
    "alpha-beta": rules.AlphaBeta(2.0, 1.0),
    "alpha3": rules.AlphaBeta(3.0, 2.0),
    "w-square": rules.WSquare(),
    "flat": rules.Flat(),
}


def _r(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def written_out(name: str, W: Tensor, b: Tensor, x: Tensor, R: Tensor) -> Tensor:
    """One image: W (K, J), b (K,), x (J,), R (K,) -> R (J,)."""
    c, z = W * x, W @ x + b
    out = torch.zeros_like(x)
    rms = z.square().mean().sqrt()
    for k in range(len(z)):
        up, down = c[k].clamp(min=0), c[k].clamp(max=0)
        top, low = up.sum() + b[k].clamp(min=0), down.sum() + b[k].clamp(max=0)
        sign = 1.0 if z[k] >= 0 else -1.0
        same, part = (up, b[k].clamp(min=0)) if z[k] >= 0 else (down, b[k].clamp(max=0))
        if name in ("lrp-0", "epsilon", "relative"):
            eps = {"lrp-0": 1e-9, "epsilon": 0.1, "relative": 0.25 * float(rms) + 1e-9}[name]
            out += c[k] / (z[k] + eps * sign) * R[k]
        elif name == "gamma":
            out += (c[k] + 0.25 * same) / (z[k] + 0.25 * (same.sum() + part) + 1e-6 * sign) * R[k]
        elif name == "same-sign":
            out += same / (same.sum() + part + 1e-6 * (1 if same.sum() + part >= 0 else -1)) * R[k]
        elif name == "z-plus":
            out += (up / (top + 1e-6) if top > 0 else down / (low - 1e-6)) * R[k]
        elif name in ("alpha-beta", "alpha3"):
            a = 2.0 if name == "alpha-beta" else 3.0
            shares = a * up / (top + 1e-9) - (a - 1) * down / (low - 1e-9)
            if abs(float(low)) < 1e-12:
                shares = up / (top + 1e-9)
            if top == 0:
                shares = down / (low - 1e-9)
            out += shares * R[k]
        elif name == "w-square":
            out += W[k] ** 2 / (W[k] ** 2).sum().clamp(min=1e-9) * R[k]
        elif name == "flat":
            read = (W[k] != 0).double()
            out += read / read.sum() * R[k]
    return out


def matrix(op: Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """The operation on one image as a matrix and a bias."""
    zero = op.output(torch.zeros_like(x[None]))[0]
    columns = [op.output(e.reshape(1, *x.shape))[0] - zero for e in torch.eye(x.numel(), dtype=x.dtype)]
    return torch.stack([c.flatten() for c in columns], 1), zero.flatten()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("positive", [False, True])
def test_a_rule_equals_its_equation(rule: str, kind: str, positive: bool) -> None:
    g = torch.Generator().manual_seed(3)
    op, shape = MAPS[kind](g)
    x = _r(g, *shape)
    x, op.nonnegative = (x.relu(), True) if positive else (x, False)
    z = op.output(x)
    R = _r(g, *z.shape)
    if rule == "w-square" and kind == "pool":
        pytest.skip("pooling has no weights")
    got = RULES[rule](op, x, z, R, "keep", None)
    for i in range(len(x)):
        W, b = matrix(op, x[i])
        wanted = written_out(rule, W, b, x[i].flatten(), R[i].flatten())
        assert torch.allclose(got[i].flatten(), wanted, rtol=1e-6, atol=1e-6), (rule, kind)


def test_the_box_rule_equals_its_equation() -> None:
    g = torch.Generator().manual_seed(4)
    op = convolution(_r(g, 4, 3, 3, 3), _r(g, 4), 1, 1, 1, 1)
    low, high = -1.5 - torch.rand(1, 3, 1, 1, generator=g).double(), 1 + torch.rand(1, 3, 1, 1, generator=g).double()
    op.box = (low, high)
    x = torch.rand(1, 3, 4, 4, generator=g).double() * (high - low) + low
    R = _r(g, 1, 4, 4, 4)
    got = rules.ZBox()(op, x, None, R, "keep", None)
    W, _ = matrix(op, x[0])
    lo, hi = (v.expand(1, 3, 4, 4).flatten() for v in (low, high))
    c = W * x.flatten() - W.clamp(min=0) * lo - W.clamp(max=0) * hi
    wanted = (c / (c.sum(1, keepdim=True) + 1e-6) * R.flatten()[:, None]).sum(0)
    assert torch.allclose(got.flatten(), wanted, rtol=1e-9, atol=1e-9)
    assert torch.allclose(got.sum(), R.sum(), rtol=1e-4)


@pytest.mark.parametrize("rule", ["epsilon", "relative", "gamma", "z-plus", "same-sign", "alpha-beta"])
def test_what_does_not_arrive_is_on_the_account(rule: str) -> None:
    g = torch.Generator().manual_seed(5)
    op, shape = MAPS["conv"](g)
    x = _r(g, *shape)
    z = op.output(x)
    R, held = _r(g, *z.shape), []

    def absorbed(s: Tensor, bias: Tensor | None, eps: Tensor | None) -> None:
        held.extend((s * part).sum() for part in (bias, eps) if part is not None)

    out = RULES[rule](op, x, z, R, "keep", absorbed)
    assert torch.allclose(out.sum() + sum(held), R.sum(), rtol=1e-9, atol=1e-9)
    none = RULES[rule](op, x, z, R, "zero", lambda s, b, e: held.append(b))
    assert held[-1] is None or rule == "alpha-beta"
    if rule != "relative":
        exact = torch.allclose(none.sum(), R.sum(), rtol=1e-3, atol=1e-2)
        assert exact or rule == "epsilon"


def test_sign_of_zero_is_positive() -> None:
    z = torch.tensor([0.0, -0.0, 1.0, -1.0])
    assert stabiliser(z, 0.5).tolist() == [0.5, 0.5, 0.5, -0.5]


def test_alpha_minus_beta_is_one() -> None:
    with pytest.raises(MethodError, match="alpha - beta"):
        rules.AlphaBeta(2.0, 0.5)
