"""What the rules share: sums of contributions of one sign, and R over a denominator that is kept away from 0."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from sightline.explainers.lrp._linear import Linear

Bias = Literal["keep", "zero"]
Absorbed = Callable[[Tensor, Tensor | None, Tensor | float | None], None]  # (s, bias, eps): what of s stays here

TINY = 1e-9  # for rules whose formula has no eps: only 0 / 0 is changed


def stabiliser(z: Tensor, eps: float | Tensor) -> Tensor:
    """eps * sign(z), with sign(0) = +1."""
    return torch.where(z < 0, -eps, eps)


def share(R: Tensor, z: Tensor, eps: float | Tensor, bias: Tensor | None, absorbed: Absorbed | None) -> Tensor:
    """s = R / (z + eps sign(z)); what bias and eps take of it is noted."""
    e = stabiliser(z, eps)
    s = R / (z + e)
    if absorbed is not None:
        absorbed(s, bias, e)
    return s


def one_sided(R: Tensor, z: Tensor, eps: float, bias: Tensor | None, absorbed: Absorbed | None) -> Tensor:
    """`share` where z >= 0 (eps > 0) or z <= 0 (eps < 0) is known; writes into z, which nobody else may need."""
    z = z.clamp_(min=0) if eps > 0 else z.clamp_(max=0)  # fast convolutions on a GPU round to the wrong side of 0
    s = R / z.add_(eps)
    if absorbed is not None:
        absorbed(s, bias, eps)
    return s


def without(op: Linear, z: Tensor, bias: Bias) -> tuple[Tensor, Tensor | None]:
    """z and the bias that takes part in the denominator."""
    b = op.b("", z)
    if bias == "keep" or b is None:
        return z, b
    return z - b, None


def side(op: Linear, x: Tensor, sign: str) -> Tensor:
    """Sum over j of the contributions x_j w_jk of one sign (`+` or `-`), without the bias."""
    other = "-" if sign == "+" else "+"
    if op.weight is None:
        return op.map(x.clamp(min=0) if sign == "+" else x.clamp(max=0))
    if op.nonnegative:
        return op.map(x, sign)
    return op.map(x.clamp(min=0), sign) + op.map(x.clamp(max=0), other)


def pull_side(op: Linear, x: Tensor, s: Tensor, sign: str) -> Tensor:
    """Sum over k of the contributions x_j w_jk of one sign, times s_k."""
    other = "-" if sign == "+" else "+"
    if op.weight is None:
        return op.pull(s, x).mul_(x.clamp(min=0) if sign == "+" else x.clamp(max=0))
    if op.nonnegative:
        return op.pull(s, x, sign).mul_(x)
    # x+ is zero where x- is not, so one choice an entry does for the sum of both products.
    return torch.where(x > 0, op.pull(s, x, sign), op.pull(s, x, other)).mul_(x)
