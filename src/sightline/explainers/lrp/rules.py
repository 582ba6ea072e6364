"""The rules of layer-wise relevance propagation, each beside its equation.

Notation: an operation z_k = sum_j x_j w_jk + b_k passes relevance R_k of its outputs on to R_j of its inputs.
Every rule has the form R_j = sum_k contribution_jk * R_k / denominator_k. A denominator is kept away from 0 by
eps * sign(z), where sign(0) is +1. `absorbed` notes what a denominator keeps for itself: the share of the bias in it,
and the share of eps. Sources: Bach et al. 2015 (PLoS ONE 10(7), e0130140); Montavon et al. 2019 (chapter 10 of
"Explainable AI", LNCS 11700); Montavon et al. 2017 (arXiv 1512.02479) for w-square, z-box.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.lrp._linear import Linear
from sightline.explainers.lrp._shares import TINY, Absorbed, Bias, one_sided, pull_side, share, side, without


@dataclass(frozen=True)
class Rule:
    """How an operation passes relevance on.

    `one_sided` rules read contributions of one sign only, so they have to know which side of the decision is asked.
    `needs_output`: whether z is read (it is kept from the forward pass then).
    """

    one_sided = False
    needs_output = True

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """R of the outputs (shape of z, bias included in z) -> R of the inputs (shape of x)."""
        raise NotImplementedError

    def __str__(self) -> str:
        inside = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in vars(self).items())
        return f"{type(self).__name__}({inside})"


@dataclass(frozen=True)
class Epsilon(Rule):
    """R_j = x_j sum_k w_jk R_k / (z_k + eps sign z_k).

    With `relative`, eps is a share of the root mean square of z over each image (the LRP tutorial: 0.25).
    """

    eps: float = 1e-6
    relative: bool = False

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        assert z is not None  # noqa: S101
        z, b = without(op, z, bias)
        eps: float | Tensor = self.eps
        if self.relative:
            eps = self.eps * z.square().mean(tuple(range(1, z.ndim)), keepdim=True).sqrt() + TINY
        return op.pull(share(R, z, eps, b, absorbed), x).mul_(x)


@dataclass(frozen=True)
class Zero(Epsilon):
    """LRP-0: R_j = x_j sum_k w_jk R_k / z_k."""

    eps: float = TINY


@dataclass(frozen=True)
class Gamma(Rule):
    """R_j = sum_k x_j (w_jk + gamma w_jk+) R_k / (z_k + gamma z_k+) for x >= 0.

    For inputs of both signs contributions with the sign of z_k are favoured: with c_jk = x_j w_jk,
    R_j = sum_k (c_jk + gamma c_jk[sign c = sign z]) R_k / (z_k + gamma sum_j c_jk[sign c = sign z]).
    """

    gamma: float = 0.25
    eps: float = 1e-6

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        assert z is not None  # noqa: S101
        full, b = without(op, z, bias)
        up, g = full >= 0, self.gamma
        same = torch.where(up, side(op, x, "+"), side(op, x, "-"))
        if b is not None:
            part = torch.where(up, b.clamp(min=0), b.clamp(max=0))
            same, b = same + part, b + g * part
        s = share(R, full + g * same, self.eps, b, absorbed)
        R_x = x * op.pull(s, x)
        R_x = R_x + g * pull_side(op, x, torch.where(up, s, 0), "+")
        return R_x + g * pull_side(op, x, torch.where(up, 0, s), "-")


@dataclass(frozen=True)
class ZPlus(Rule):
    """R_j = sum_k (x_j w_jk)+ R_k / (sum_j (x_j w_jk)+ + b_k+): alpha-beta with alpha = 1, beta = 0.

    A unit without any positive contribution shares R_k over its negative ones (their shares are positive too).
    """

    eps: float = 1e-6
    one_sided = True
    needs_output = False

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        up = side(op, x, "+")
        b = op.b("+", up) if bias == "keep" else None
        up = up if b is None else up.add_(b)
        if op.rectified or bool(up.amin() > 0):
            return pull_side(op, x, one_sided(R, up, self.eps, b, absorbed), "+")
        none = up <= 0
        s = one_sided(R.masked_fill(none, 0), up, self.eps, b, absorbed)
        down, c = side(op, x, "-"), op.b("-", up) if bias == "keep" else None
        down = down if c is None else down.add_(c)
        rest = one_sided(R.masked_fill(~none, 0), down, -self.eps, c, absorbed)
        return pull_side(op, x, s, "+") + pull_side(op, x, rest, "-")


@dataclass(frozen=True)
class SameSign(Rule):
    """R_j = sum_k c_jk[sign c_jk = sign z_k] R_k / sum_j (the same), c_jk = x_j w_jk: gamma towards infinity.

    Like z-plus it is bounded, and unlike z-plus it also has shares for outputs below 0.
    """

    eps: float = 1e-6

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        assert z is not None  # noqa: S101
        full, b = without(op, z, bias)
        up = full >= 0
        same = torch.where(up, side(op, x, "+"), side(op, x, "-"))
        if b is not None:
            b = torch.where(up, b.clamp(min=0), b.clamp(max=0))
            same = same + b
        s = share(R, same, self.eps, b, absorbed)
        return pull_side(op, x, torch.where(up, s, 0), "+") + pull_side(op, x, torch.where(up, 0, s), "-")


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """R_j = sum_k (alpha (x_j w_jk)+ / z_k+ - beta (x_j w_jk)- / z_k-) R_k, alpha - beta = 1.

    z_k+ and z_k- are the sums of the positive and negative contributions with the bias of that sign. Where one of
    them is empty, the other one takes all of R_k.
    """

    alpha: float = 2.0
    beta: float = 1.0
    eps: float = TINY
    one_sided = True

    def __post_init__(self) -> None:
        if self.alpha < 1 or self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise MethodError(f"alpha - beta must be 1 and beta at least 0, not {self.alpha} and {self.beta}")

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        assert z is not None  # noqa: S101
        full, b = without(op, z, bias)
        up = side(op, x, "+")
        up_b = down_b = None
        if b is not None:
            up_b, down_b = b.clamp(min=0), b.clamp(max=0)
            up.add_(up_b)
        # The negative side is what is left of z; where that is rounding, there is no negative side.
        down = full - up
        no_up, no_down = up <= 0, down >= up * (-512 * torch.finfo(up.dtype).eps)
        # Units with contributions of one sign only give all of R to them: alpha or -beta alone would not conserve.
        alone, alpha = up.new_ones(()), up.new_tensor(1 / self.alpha)
        beta = up.new_tensor(-1 / self.beta if self.beta else torch.inf)
        up = up.add_(self.eps).mul_(torch.where(no_down, alone, alpha))
        down = down.sub_(self.eps).mul_(torch.where(no_up, alone, beta))
        s_up, s_down = R / up.masked_fill_(no_up & ~no_down, torch.inf), R / down.masked_fill_(no_down, torch.inf)
        if absorbed is not None:
            absorbed(s_up, up_b, self.eps)
            absorbed(s_down, down_b, -self.eps)
        return pull_side(op, x, s_up, "+").add_(pull_side(op, x, s_down, "-"))


@dataclass(frozen=True)
class WSquare(Rule):
    """R_j = sum_k w_jk^2 R_k / sum_j w_jk^2; the bias takes nothing. For first layers with unbounded inputs."""

    needs_output = False

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        s = share(R, op.map(torch.ones_like(x), "2"), TINY, None, absorbed)
        return op.pull(s, x, "2")


@dataclass(frozen=True)
class Flat(Rule):
    """R_j = sum_k R_k / (number of inputs that k reads); the bias takes nothing."""

    needs_output = False

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        if op.flat is not None:
            return op.flat(R, x)
        s = share(R, op.map(torch.ones_like(x), "1"), TINY, None, absorbed)
        return op.pull(s, x, "1").expand_as(x)


@dataclass(frozen=True)
class ZBox(Rule):
    """R_j = sum_k (x_j w_jk - l_j w_jk+ - h_j w_jk-) R_k / sum_j (the same), for inputs in [l, h].

    l and h are black and white after the classifier's normalisation, a channel each; the bias takes nothing.
    """

    eps: float = 1e-6
    needs_output = False

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        if op.box is None:
            raise MethodError("the z-box rule is for the layer that reads the pixels; put `first` as its predicate")
        low, high = (torch.zeros_like(x) + v.to(x) for v in op.box)
        above = op.map(x) - op.map(low, "+") - op.map(high, "-")
        s = share(R, above, self.eps, None, absorbed)
        return x * op.pull(s, x) - low * op.pull(s, x, "+") - high * op.pull(s, x, "-")


@dataclass(frozen=True)
class Norm(Epsilon):
    """R_j = x_j R_k / (sum_j x_j + eps): epsilon on a map whose weights are equal (sums, average pooling)."""


@dataclass(frozen=True)
class Pass(Rule):
    """R_j = R_k: relevance unchanged, for operations that keep the shape (activations, norms)."""

    needs_output = False

    def __call__(
        self, op: Linear, x: Tensor, z: Tensor | None, R: Tensor, bias: Bias, absorbed: Absorbed | None
    ) -> Tensor:
        """See the class."""
        return R


@dataclass(frozen=True)
class WinnerTakesAll(Rule):
    """Max pooling: all relevance to the input that won."""

    needs_output = False


@dataclass(frozen=True)
class Uniform(Rule):
    """A product of two factors: half of the relevance to each, by epsilon (AttnLRP, arXiv 2402.05602, eq. 14)."""

    eps: float = 1e-6


@dataclass(frozen=True)
class Taylor(Rule):
    """Softmax by its first-order Taylor expansion: R_j = x_j (R_j - s_j sum_k R_k) (AttnLRP, eq. 13)."""


@dataclass(frozen=True)
class Constant(Rule):
    """Softmax or a gate as a constant: no relevance goes through it (CP-LRP, Ali et al. 2022, arXiv 2202.07304)."""
