"""One forward pass in which every operation carries its rule, so that gradients of the outputs are relevance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline import replica
from sightline.classifier import Classifier
from sightline.errors import ModelError
from sightline.explainers.lrp import _steps as steps
from sightline.explainers.lrp._calls import Call, Walk
from sightline.explainers.lrp._linear import Linear
from sightline.explainers.lrp._plan import LINEAR, Operation, Plan, float_twin, plan_for
from sightline.explainers.lrp._shares import Bias
from sightline.explainers.lrp.composites import COMPOSITES, Composite
from sightline.explainers.lrp.rules import Constant, Pass, Rule, Uniform, WinnerTakesAll

_MAPS = (*LINEAR, "norm", "pool", "layer-norm")


@dataclass(frozen=True)
class Way:
    """A plan with a rule for every operation.

    Attributes:
        plan: Operations.
        rules: One each.
        bias: What biases do.
        reached: Operations that relevance can reach.
    """

    plan: Plan
    rules: tuple[Rule, ...]
    bias: Bias
    reached: frozenset[int]


def way(plan: Plan, composite: Composite, bias: Bias) -> Way:
    """Give every operation its rule, and refuse what has none, all of it at once.

    Raises:
        ModelError: Operations without a rule that relevance would have to pass.
    """
    rules = tuple(composite.rule(op) for op in plan.operations)
    reached: set[int] = set()
    stack = list(plan.outputs)
    while stack:
        index = stack.pop()
        if index in reached:
            continue
        reached.add(index)
        op, rule = plan.operations[index], rules[index]
        for position, source in enumerate(op.sources):
            if not _blocked(op, rule, position):
                stack += source
    bad = [op for op in plan.operations if op.index in reached and op.kind == "unsupported"]
    if bad:
        listed = "; ".join(f"{op.name} in {op.type or 'the model'}{': ' + op.why if op.why else ''}" for op in bad[:12])
        more = f" and {len(bad) - 12} more" if len(bad) > 12 else ""
        raise ModelError(
            f"lrp has no rule for {len(bad)} operation(s) of this model: {listed}{more}. Write them with operations "
            "that have one (convolutions, linear layers, norms, sums, products, pooling, softmax, activations), or "
            "use a gradient method such as integrated-gradients"
        )
    return Way(plan, rules, composite.bias or bias, frozenset(reached))


def _blocked(op: Operation, rule: Rule, position: int) -> bool:
    if op.kind == "softmax":
        return isinstance(rule, Constant)
    return op.kind in ("product", "matmul") and op.gate == position and not isinstance(rule, Uniform)


class Propagation(Walk):
    """Carries out every operation with its rule; `accounts` collects a leaf for each where `images` is positive."""

    def __init__(self, way: Way, images: int = 0) -> None:
        super().__init__()
        self.way, self.images, self.next = way, images, 0
        self.accounts: dict[int, Tensor] = {}

    def emit(self, call: Call) -> Any:
        """Find the operation of the plan and run its step."""
        operations = self.way.plan.operations
        while self.next < len(operations) and operations[self.next].unread:
            self.next += 1
        if self.next >= len(operations) or operations[self.next].function != call.function:
            raise ModelError(
                f"the model does not run the same operations every time ({call.function} was not expected), so its "
                "relevance cannot be followed; use a gradient method"
            )
        op, rule = operations[self.next], self.way.rules[self.next]
        self.next += 1
        if op.kind == "folded":
            return call.operands[0]
        if op.kind in ("constant", "unsupported") or (op.kind == "max-pool" and isinstance(rule, WinnerTakesAll)):
            return call.run(*call.operands)
        if op.kind == "softmax" and isinstance(rule, Constant):
            return call.run(call.operands[0].detach())
        moving = [x for x, moves in zip(call.operands, op.moving, strict=True) if moves]
        if op.kind == "cat" and len(moving) == len(call.operands):
            return call.run(*moving)
        account = None
        if self.images and any(x.requires_grad for x in moving):
            account = moving[0].new_zeros(self.images, len(steps.COLUMNS)).requires_grad_()
            self.accounts[op.index] = account
        return steps.Relevance.apply(self._step(op, call, rule), account, *moving)

    def _step(self, op: Operation, call: Call, rule: Rule) -> steps.Step:
        run = _with_constants(call, op)
        if op.kind in _MAPS:
            if isinstance(rule, Pass):
                return steps.PassStep(run)
            return steps.LinearStep(self._linear(op, call), rule, self.way.bias, op.head)
        if op.kind == "sum":
            pairs = list(zip(call.operands, call.signs, op.moving, strict=True))
            fixed = [s * x for x, s, moves in pairs if not moves]
            return steps.SumStep(run, [s for _, s, moves in pairs if moves], fixed, rule, self.way.bias)
        if op.kind == "max-pool":
            return steps.MaxPoolStep(run, self._linear(op, call), rule)
        if op.kind in ("product", "matmul"):
            return steps.ProductStep(run, op.kind == "matmul", op.gate, rule)
        if op.kind == "softmax":
            return steps.SoftmaxStep(run, call.dim)
        if op.kind == "cat":
            return steps.CatStep(run, call.dim, [x.shape[call.dim] for x in call.operands], op.moving)
        return steps.PassStep(run)  # activations and constant factors

    def _linear(self, op: Operation, call: Call) -> Linear:
        kept = self.way.plan.linears
        if op.index in kept:
            return kept[op.index]
        if call.kind == "matmul":
            made = _matrix(call, op)
        elif op.norm is not None and call.rebuild is not None:
            made = call.rebuild(*(part.to(call.operands[0].dtype) for part in op.norm))
        else:
            assert call.linear is not None  # noqa: S101 - every kind in _MAPS has one
            made = call.linear()
        made.rectified = op.rectified
        made.nonnegative, made.box = op.nonnegative, self.way.plan.box if op.first else None
        if op.kind != "layer-norm":  # its statistics are those of one batch
            kept[op.index] = made
        return made


def _with_constants(call: Call, op: Operation) -> Callable[..., Any]:
    """The operation as a function of its moving operands."""
    if all(op.moving):
        return call.run
    operands, moving = call.operands, op.moving

    def run(*values: Tensor) -> Any:
        rest = iter(values)
        return call.run(*[next(rest) if moves else x for x, moves in zip(operands, moving, strict=True)])

    return run


def _matrix(call: Call, op: Operation) -> Linear:
    """A product with a constant matrix."""
    a, b = call.operands
    if op.moving[0]:
        return Linear(b, None, lambda x, w: x @ w, lambda s, w, x: (s @ w.mT).sum_to_size(x.shape), axis=-1)
    return Linear(a, None, lambda x, w: w @ x, lambda s, w, x: (w.mT @ s).sum_to_size(x.shape), axis=-1)


def prepared(classifier: Classifier, pixels: Tensor) -> Plan:
    """The plan for these images, its folded norms checked once against the model itself.

    Raises:
        ModelError: The outputs differ.
    """
    plan = plan_for(classifier, pixels)
    if plan.checked:
        return plan
    gap, scale = _difference(classifier, plan, pixels, float_twin(classifier))
    if gap > 1e-4 * scale:  # rounding, or another function? In float64 there is no doubt
        plan.linears.clear()
        gap, scale = _difference(classifier, plan, pixels, replica.replicate(float_twin(classifier)).double())
        plan.linears.clear()
        if gap > 1e-5 * scale:
            raise ModelError(
                f"following the model's operations one by one gives scores that differ from its own by {gap:.3g} (they "
                f"are up to {scale:.3g}): it writes into tensors in place in a way that cannot be followed"
            )
    plan.checked = True
    return plan


def _difference(classifier: Classifier, plan: Plan, pixels: Tensor, twin: nn.Module) -> tuple[float, float]:
    """The largest difference of the scores under the plan from the model's own, and their size."""
    kind = next((p.dtype for p in twin.parameters()), torch.float32)
    with torch.no_grad():
        values = classifier.normalise(pixels[:1]).to(kind)
        wanted = classifier.scores(twin, values, "float32")
        with Propagation(way_of(plan)):
            got = classifier.scores(twin, values, "float32")
    return float((got - wanted).abs().max()), max(float(wanted.abs().max()), 1e-6)


def way_of(plan: Plan) -> Way:
    """Any rules, for a forward pass alone."""
    return Way(plan, tuple(COMPOSITES["epsilon"].rule(op) for op in plan.operations), "keep", frozenset())


__all__ = ["Propagation", "Way", "prepared", "way"]
