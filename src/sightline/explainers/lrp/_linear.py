"""Linear maps as the rules see them: z = map(x, w) + b, and the transposed map that pulls values back to the input."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Map = Callable[[Tensor, Tensor], Tensor]
Pull = Callable[[Tensor, Tensor, Tensor], Tensor]
Make = Callable[[], Tensor]


@dataclass
class Linear:
    """One linear operation of a network: convolution, dense layer, affine norm or average pooling.

    Attributes:
        weight, bias: Its parameters; a map without weights has weight None and counts as non-negative.
        forward: (x, w) -> z without the bias.
        transpose: (s, w, x) -> the transposed map of s, in the shape of x.
        nonnegative: Whether x >= 0 is known from what comes before it (a ReLU, say).
        axis: The axis of z along which the bias runs.
        box: Lowest and highest input (1, C, 1, 1), for the z-box rule.
        kept: Transformed weights, made once.
        sign: -1 for the map of -z.
        single: Whether each z_k reads one x_j only.
        rectified: Whether only ReLUs read z, so that no relevance comes back where z <= 0.
        whole: x -> z with the bias, in one call.
        flat: (R, x) -> equal shares over each receptive field.
    """

    weight: Tensor | None
    bias: Tensor | None
    forward: Map
    transpose: Pull
    nonnegative: bool = False
    axis: int = 1
    box: tuple[Tensor, Tensor] | None = None
    kept: dict[Any, Tensor] = field(default_factory=dict)
    sign: int = 1
    single: bool = False
    rectified: bool = False
    whole: Callable[[Tensor], Tensor] | None = None
    flat: Callable[[Tensor, Tensor], Tensor] | None = None

    def w(self, kind: str = "") -> Tensor:
        """The weight, or one of its parts: `+`, `-`, `2` (squared), `1` (ones)."""
        if self.weight is None:
            return torch.empty(0)
        make: dict[str, Make] = {
            "": lambda: self.sign * self._given(),
            "+": lambda: (self.sign * self._given()).clamp(min=0),
            "-": lambda: (self.sign * self._given()).clamp(max=0),
            "2": lambda: self._given() ** 2,
            "1": lambda: torch.ones_like(self._given()),
        }
        if kind == "" and self.sign == 1:
            return self.weight
        return self.keep((kind, self.sign), make[kind])

    def keep(self, key: Any, make: Make) -> Tensor:
        """A transformed weight, made once."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def _given(self) -> Tensor:
        assert self.weight is not None  # noqa: S101
        return self.weight

    def b(self, kind: str, z: Tensor) -> Tensor | None:
        """The bias, or its positive or negative part, in a shape that broadcasts against z."""
        if self.bias is None:
            return None
        value = self.sign * self.bias
        value = value.clamp(min=0) if kind == "+" else value.clamp(max=0) if kind == "-" else value
        if self.axis == -1:
            return value
        return value.reshape(-1, *[1] * (z.ndim - 1 - self.axis))

    def output(self, x: Tensor) -> Tensor:
        """z with the bias."""
        if self.whole is not None:
            return self.whole(x)
        z = self.map(x)
        b = self.b("", z)
        return z if b is None else z + b

    def map(self, x: Tensor, kind: str = "") -> Tensor:
        """z without the bias."""
        return self.forward(x, self.w(kind))

    def pull(self, s: Tensor, x: Tensor, kind: str = "") -> Tensor:
        """The transposed map of s, in the shape of x."""
        return self.transpose(s, self.w(kind), x)

    def negated(self) -> "Linear":
        """-z as a linear map of the same x."""
        return replace(self, sign=-self.sign)


def dense(weight: Tensor, bias: Tensor | None) -> Linear:
    """z = x w' + b."""
    return Linear(weight, bias, F.linear, lambda s, w, _: s @ w, axis=-1, whole=lambda x: F.linear(x, weight, bias))


def diagonal(weight: Tensor, bias: Tensor | None, axis: int) -> Linear:
    """z = w * x + b, one weight and bias a channel: a norm whose statistics are constants."""

    def spread(w: Tensor, x: Tensor) -> Tensor:
        return w if axis == -1 else w.reshape(-1, *[1] * (x.ndim - 1 - axis))

    return Linear(weight, bias, lambda x, w: x * spread(w, x), lambda s, w, _: s * spread(w, s), axis=axis, single=True)


def convolution(weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Linear:
    """A convolution in one or two dimensions."""
    dims = weight.ndim - 2
    step, border, holes = _pair(stride, dims), _pair(padding, dims), _pair(dilation, dims)

    def forward(x: Tensor, w: Tensor) -> Tensor:
        run = F.conv2d if dims == 2 else F.conv1d
        return run(x, w, None, step, border, holes, groups)

    def transpose(s: Tensor, w: Tensor, x: Tensor) -> Tensor:
        wanted = [True, False, False]
        back = torch.ops.aten.convolution_backward
        pulled: Tensor = back(s, x, w, None, step, border, holes, False, [0] * dims, groups, wanted)[0]
        return pulled

    def flat(R: Tensor, x: Tensor) -> Tensor:
        # All weights are one, so a single channel does for all of a group, forward and back.
        n, per_group = x.shape[0], x.shape[1] // groups
        ones = torch.ones(groups, 1, *weight.shape[2:], dtype=R.dtype, device=R.device)
        run = F.conv2d if dims == 2 else F.conv1d
        seen = run(torch.ones_like(x[:1, :groups]), ones, None, step, border, holes, groups) * per_group
        summed = R.reshape(n, groups, -1, *R.shape[2:]).sum(2) if groups > 1 else R.sum(1, keepdim=True)
        like = x.new_empty((n, groups, *x.shape[2:]))
        back = torch.ops.aten.convolution_backward
        wanted = [True, False, False]
        share: Tensor = back(summed / seen, like, ones, None, step, border, holes, False, [0] * dims, groups, wanted)[0]
        return share.repeat_interleave(per_group, 1) if groups > 1 else share.expand(-1, per_group, *[-1] * dims)

    def whole(x: Tensor) -> Tensor:
        run = F.conv2d if dims == 2 else F.conv1d
        return run(x, weight, bias, step, border, holes, groups)

    return Linear(weight, bias, forward, transpose, whole=whole, flat=flat)


def _pair(value: Any, dims: int) -> list[int]:
    return [value] * dims if isinstance(value, int) else [int(v) for v in value]


def pooling(forward: Callable[[Tensor], Tensor]) -> Linear:
    """Average pooling of any kind; its transpose is what autograd finds, which is exact for a linear map."""

    def transpose(s: Tensor, _: Tensor, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = torch.zeros_like(x).requires_grad_()
            (pulled,) = torch.autograd.grad(forward(leaf), leaf, s)
        return pulled

    return Linear(None, None, lambda x, _: forward(x), transpose)
