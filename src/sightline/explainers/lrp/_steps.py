"""What runs at each operation: the forward value, and in the backward pass its rule in place of its gradient.

The gradient that autograd hands round is relevance: views, slices, concatenations and dropout route it by their own
gradients, which are exact for them, and every other operation is one of the steps below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.lrp._linear import Linear
from sightline.explainers.lrp._shares import Absorbed, Bias, share
from sightline.explainers.lrp._sums import rows, sizes, times
from sightline.explainers.lrp.rules import (
    Constant,
    Epsilon,
    Pass,
    Rule,
    Taylor,
    Uniform,
    WinnerTakesAll,
    ZPlus,
)

COLUMNS = ("in", "out", "bias", "stabiliser", "size in", "size out")


class Step:
    """One operation in one forward pass."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The operation itself."""
        raise NotImplementedError

    def keep(self, inputs: Sequence[Tensor], output: Tensor) -> Sequence[Tensor]:
        """What the backward pass needs."""
        return ()

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """Relevance of the output -> relevance of each input."""
        raise NotImplementedError


class Relevance(torch.autograd.Function):
    """A step as a node of the graph; the gradient of `account` (B, 6) is what the step did, in the order of COLUMNS."""

    @staticmethod
    def forward(ctx: Any, step: Step, account: Tensor | None, *inputs: Tensor) -> Tensor:
        """Run the step."""
        output = step.forward(*inputs)
        ctx.step, ctx.images = step, 0 if account is None else len(account)
        ctx.save_for_backward(*step.keep(inputs, output))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Apply the rule."""
        (R,), n = gradients, ctx.images
        asked = n > 0 and ctx.needs_input_grad[1]
        taken = [R.new_zeros(n), R.new_zeros(n)] if asked else []

        def absorbed(s: Tensor, bias: Tensor | None, eps: Tensor | float | None) -> None:
            for i, part in enumerate((bias, eps)):
                if part is not None:
                    taken[i] = taken[i] + times(s, part, n)

        found = ctx.step.backward(ctx.saved_tensors, R, absorbed if asked else None)
        account = None
        if asked:
            came = rows(R, n), sizes(R, n)
            went = [came if r is R else (rows(r, n), sizes(r, n)) for r in found if r is not None]
            out, size = (sum(column) for column in zip(*went, strict=True)) if went else (0, 0)
            columns = (came[0], out, *taken, came[1], size)
            account = torch.stack([c if isinstance(c, Tensor) else R.new_zeros(n) for c in columns], 1)
        return None, account, *found


@dataclass
class LinearStep(Step):
    """z = map(x) + b under any rule."""

    op: Linear
    rule: Rule
    bias: Bias
    head: bool

    def forward(self, *inputs: Tensor) -> Tensor:
        """z."""
        return self.op.output(inputs[0])

    def keep(self, inputs: Sequence[Tensor], output: Tensor) -> Sequence[Tensor]:
        """x, and z where the rule reads it."""
        return (inputs[0], output) if self.rule.needs_output or self.head else (inputs[0],)

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """The rule; at the head, of the negated output where the decision is that the output is low."""
        x, z = kept[0], kept[1] if len(kept) > 1 else None
        if self.op.single and (self.bias == "zero" or self.op.bias is None):
            return (R,)  # one input a unit: whatever the rule, it takes all
        if not (self.head and self.rule.one_sided and z is not None):
            return (self.rule(self.op, x, z, R, self.bias, absorbed),)
        # R = z ds/dz, so R and z differ in sign where the score falls with z: the evidence is what makes z low.
        low = R * z < 0
        zero = torch.zeros((), dtype=R.dtype, device=R.device)
        up = self.rule(self.op, x, z, torch.where(low, zero, R), self.bias, absorbed)
        return (up + self.rule(self.op.negated(), x, -z, torch.where(low, R, zero), self.bias, absorbed),)


@dataclass
class PassStep(Step):
    """Relevance unchanged: activations, and factors that are constants."""

    run: Callable[..., Tensor]

    def forward(self, *inputs: Tensor) -> Tensor:
        """The operation."""
        return self.run(*inputs)

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """R."""
        return (R,)


@dataclass
class SumStep(Step):
    """out = sum of parts, of which some may be constants (they count as bias)."""

    run: Callable[..., Tensor]
    signs: Sequence[float]
    constants: Sequence[Tensor | float]
    rule: Rule
    bias: Bias

    def forward(self, *inputs: Tensor) -> Tensor:
        """The sum."""
        return self.run(*inputs)

    def keep(self, inputs: Sequence[Tensor], output: Tensor) -> Sequence[Tensor]:
        """The parts."""
        return tuple(inputs)

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """R_i = part_i R / (sum of parts + eps); under z-plus only positive parts count."""
        if len(kept) == 1 and (isinstance(self.rule, Pass) or self.bias == "zero"):
            return (_fit(R, kept[0]),)
        if isinstance(self.rule, Pass):
            raise MethodError("a sum has several inputs, so it needs Norm, ZPlus or Epsilon, not Pass")
        if not isinstance(self.rule, Epsilon | ZPlus):
            raise MethodError(f"a sum follows Norm, Epsilon or ZPlus, not {self.rule}")
        parts: list[Tensor] = [x if sign == 1 else sign * x for sign, x in zip(self.signs, kept, strict=True)]
        held = self.constants if self.bias == "keep" else ()
        fixed = [torch.as_tensor(c, dtype=R.dtype, device=R.device) for c in held]
        if isinstance(self.rule, ZPlus):
            parts, fixed = _positive(parts, fixed)
        total = parts[0]
        for part in [*parts[1:], *fixed]:
            total = total + part
        b = sum(fixed[1:], fixed[0]) if fixed else None
        s = share(R, total, self.rule.eps, b, absorbed)
        return tuple(_fit(part * s, x) for part, x in zip(parts, kept, strict=True))


def _positive(parts: list[Tensor], fixed: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Positive parts; where there is none at all the negative ones stand, whose shares are positive too."""
    none = parts[0] <= 0
    for value in (*parts[1:], *fixed):
        none = none & (value <= 0)
    return [torch.where(none, p, p.clamp(min=0)) for p in parts], [torch.where(none, c, c.clamp(min=0)) for c in fixed]


def _fit(value: Tensor, like: Tensor) -> Tensor:
    """Undo broadcasting."""
    return value if value.shape == like.shape else value.sum_to_size(like.shape)


@dataclass
class MaxPoolStep(Step):
    """Max pooling read as average pooling; winner-takes-all is its own gradient and needs no step."""

    run: Callable[..., Tensor]
    average: Linear
    rule: Rule

    def forward(self, *inputs: Tensor) -> Tensor:
        """The maxima."""
        return self.run(*inputs)

    def keep(self, inputs: Sequence[Tensor], output: Tensor) -> Sequence[Tensor]:
        """x."""
        return (inputs[0],)

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """The rule on the averages."""
        (x,) = kept
        return (self.rule(self.average, x, self.average.map(x), R, "zero", absorbed),)


@dataclass
class ProductStep(Step):
    """out = a * b (entry by entry or as matrices), both from the pixels; `gate` is the position of a known gate."""

    run: Callable[..., Tensor]
    matrix: bool
    gate: int | None
    rule: Rule

    def forward(self, *inputs: Tensor) -> Tensor:
        """The product."""
        return self.run(*inputs)

    def keep(self, inputs: Sequence[Tensor], output: Tensor) -> Sequence[Tensor]:
        """Factors and product."""
        return (*inputs, output)

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """Half to each factor, or all to the one that is no gate; products of matrices by epsilon."""
        a, b, out = kept
        halves = isinstance(self.rule, Uniform) or self.gate is None
        part = 0.5 if halves else 1.0
        if not self.matrix:
            found = [_fit(part * R, a), _fit(part * R, b)]
        else:
            s = share(part * R, out, getattr(self.rule, "eps", 1e-6), None, None)
            found = [a * _fit(s @ b.mT, a), b * _fit(a.mT @ s, b)]
            if absorbed is not None:
                absorbed(R - (2 if halves else 1) * s * out, None, torch.ones_like(R[:1]))
        return [None if not halves and i == self.gate else r for i, r in enumerate(found)]


@dataclass
class SoftmaxStep(Step):
    """Softmax by its Taylor expansion."""

    run: Callable[..., Tensor]
    dim: int

    def forward(self, *inputs: Tensor) -> Tensor:
        """Probabilities."""
        return self.run(*inputs)

    def keep(self, inputs: Sequence[Tensor], output: Tensor) -> Sequence[Tensor]:
        """x and the probabilities."""
        return (inputs[0], output)

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """R_j = x_j (R_j - s_j sum_k R_k); the expansion's constant term counts as bias."""
        x, s = kept
        x = torch.where(x.isfinite(), x, 0)  # masked positions
        R_x = x * (R - s * R.sum(self.dim, keepdim=True))
        if absorbed is not None:
            absorbed(R - R_x, torch.ones((), dtype=R.dtype, device=R.device), None)
        return (R_x,)


@dataclass
class CatStep(Step):
    """A concatenation with constants (a class token): what reaches them counts as bias."""

    run: Callable[..., Tensor]
    dim: int
    sizes: Sequence[int]
    moving: Sequence[bool]

    def forward(self, *inputs: Tensor) -> Tensor:
        """The concatenation."""
        return self.run(*inputs)

    def backward(self, kept: Sequence[Tensor], R: Tensor, absorbed: Absorbed | None) -> Sequence[Tensor | None]:
        """Each part its own."""
        parts = torch.split(R, list(self.sizes), self.dim)
        if absorbed is not None:
            for part, moves in zip(parts, self.moving, strict=True):
                if not moves:
                    absorbed(part, torch.ones((), dtype=R.dtype, device=R.device), None)
        return [part for part, moves in zip(parts, self.moving, strict=True) if moves]


__all__ = [
    "COLUMNS",
    "CatStep",
    "Constant",
    "LinearStep",
    "MaxPoolStep",
    "PassStep",
    "ProductStep",
    "Relevance",
    "SoftmaxStep",
]
__all__ += ["Step", "SumStep", "Taylor", "WinnerTakesAll"]
