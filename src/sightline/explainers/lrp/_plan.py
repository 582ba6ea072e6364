"""The plan of a network at one image size: its operations, what flows into each, and which norms are folded.

A survey runs the network once on a throw-away replica and notes every operation with the module it belongs to. The
structure is read off the flow of values, not off the order in which modules were defined: a batch norm whose input is
the output of a convolution (or dense layer) that nobody else reads is folded into it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sightline import replica
from sightline.classifier import Classifier
from sightline.errors import ModelError
from sightline.explainers.lrp._calls import ROUTING, Call, Walk, constant
from sightline.explainers.lrp._linear import Linear

LINEAR = ("conv", "dense")


@dataclass
class Operation:
    """One operation of a network.

    Attributes:
        index: Its place in the order in which operations run.
        kind: See `Call`; a `norm` that was folded away is `folded`.
        function: The torch function.
        module: Qualified name of the module that called it.
        type: Type of that module.
        sources: For each operand the operations whose values are in it.
        moving: For each operand, whether it depends on the pixels.
        nonnegative: Whether the first operand is known to be >= 0.
        gate: Position of the operand that is a known gate, for products.
        shape: Of the output.
        rectified: A linear operation whose output (and its norm's) only ReLUs read.
        first: A linear operation before which there is no other.
        head: A linear operation after which there is no other.
        depth: Place among the linear operations, 0 (pixels) to 1 (scores).
        norm: The folded norm's weight and bias, and its operation.
    """

    index: int
    kind: str
    function: str
    module: str
    type: str
    sources: tuple[frozenset[int], ...]
    moving: tuple[bool, ...]
    nonnegative: bool
    gate: int | None
    shape: tuple[int, ...]
    rectified: bool = False
    first: bool = False
    head: bool = False
    depth: float = 0.0
    norm: tuple[Tensor, Tensor] | None = None
    why: str = ""
    unread: bool = False  # a function that no rule reads at all

    @property
    def name(self) -> str:
        """The module's name, and the function where it is not the module itself."""
        return f"{self.module or 'model'} ({self.function})"


@dataclass
class _Value:
    """What the survey knows of a tensor; it holds the tensor so that its identity stays its own."""

    tensor: Tensor
    sources: frozenset[int]
    nonnegative: bool = False
    gate: bool = False
    linear: bool = False  # a linear operation lies before it
    direct: int | None = None  # it is the very output of this operation
    uses: int = 0


@dataclass
class Plan:
    """Operations in order, those that give the outputs, and linear maps with kept weights."""

    operations: list[Operation]
    outputs: frozenset[int]
    linears: dict[int, Linear] = field(default_factory=dict)
    box: tuple[Tensor, Tensor] | None = None
    checked: bool = False


class Survey(Walk):
    """Notes every operation of one forward pass."""

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.norms: dict[int, tuple[Tensor, Tensor]] = {}
        self.values: dict[int, _Value] = {id(pixels): _Value(pixels, frozenset())}
        self.stack: list[tuple[str, str]] = []
        self.folds: dict[int, int] = {}

    def seen(self, value: Any) -> _Value | None:
        """What is known of a value that depends on the pixels."""
        return self.values.get(id(value)) if isinstance(value, Tensor) else None

    def emit(self, call: Call) -> Any:
        """Note a call and run it."""
        output = call.run(*call.operands)
        known = [self.seen(x) for x in call.operands]
        self.note(call, output, known)
        return output

    def note(self, call: Call, output: Any, known: Sequence[_Value | None]) -> None:
        """Make the operation."""
        index = len(self.operations)
        moving = tuple(v is not None for v in known)
        kind = _kind(call, known)
        module, type_ = self.stack[-1] if self.stack else ("", "")
        there = [v for v in known if v is not None]
        for v in there:
            v.uses += 1
        op = Operation(
            index=index,
            kind=kind,
            function=call.function,
            module=module,
            type=type_,
            sources=tuple(v.sources if v is not None else frozenset() for v in known),
            moving=moving,
            nonnegative=known[0] is not None and known[0].nonnegative,
            gate=_gate(call, known),
            shape=tuple(output.shape) if isinstance(output, Tensor) else (),
            first=kind in LINEAR and not any(v.linear for v in there),
            why=call.why,
        )
        self.operations.append(op)
        if call.norm is not None:
            self.norms[index] = call.norm
            if there and there[0].direct is not None:
                self.folds[index] = there[0].direct
        if not there:
            return
        nonnegative = "nonnegative" in call.traits or ("keeps" in call.traits and _all_nonnegative(call, known))
        self.track(
            output,
            _Value(
                torch.empty(0),
                frozenset({index}),
                nonnegative,
                "gate" in call.traits or (kind in ("scale", "pool") and all(v.gate for v in there)),
                kind in LINEAR or any(v.linear for v in there),
                index,
            ),
        )

    def track(self, output: Any, like: _Value) -> None:
        """Know the tensors of an output."""
        if isinstance(output, Tensor):
            if _numbers(output) and id(output) not in self.values:
                self.values[id(output)] = _Value(
                    output, like.sources, like.nonnegative, like.gate, like.linear, like.direct
                )
        elif isinstance(output, tuple | list):
            for part in output:
                self.track(part, like)

    def routed(self, function: str, arguments: Sequence[Any], output: Any) -> Any:
        """Hand on what is known of values that are only moved."""
        there = [v for v in map(self.seen, _flat(arguments)) if v is not None]
        if not there or constant(function):
            return output
        for v in there:
            v.uses += 1
        merged = _Value(
            torch.empty(0),
            frozenset().union(*(v.sources for v in there)),
            all(v.nonnegative for v in there),
            all(v.gate for v in there),
            any(v.linear for v in there),
        )
        self.track(output, merged)
        return output

    def other(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Note a call that has no rule, if values from the pixels go through it."""
        output = func(*args, **named)
        known = [self.seen(x) for x in _flat((*args, *named.values()))]
        there = [v for v in known if v is not None]
        first = next((t for t in _flat((output,)) if isinstance(t, Tensor) and _numbers(t)), None)
        if there and first is not None:
            call = Call("unsupported", name, [v.tensor for v in there], func)
            self.note(call, output, there)
            self.operations[-1].unread = True
        return output


def _numbers(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _flat(value)
        elif isinstance(value, dict):
            yield from _flat(tuple(value.values()))
        else:
            yield value


def _kind(call: Call, known: Sequence[_Value | None]) -> str:
    """The kind of a call, now that it is known which operands are constants."""
    if not any(known):
        return "constant"
    if call.kind == "product" and not all(known):
        return "scale" if not (call.function == "div" and known[0] is None) else "unsupported"
    if call.kind == "matmul" and not all(known):
        return "dense" if known[0] is not None else "unsupported"
    return call.kind


def _gate(call: Call, known: Sequence[_Value | None]) -> int | None:
    """Which factor of a product is a gate: one made by a sigmoid or softmax, or the smaller one."""
    if call.kind not in ("product", "matmul") or not all(known):
        return None
    a, b = (v for v in known if v is not None)
    if call.function == "div":
        return 1
    if a.gate != b.gate:
        return 0 if a.gate else 1
    if call.kind == "product" and a.tensor.numel() != b.tensor.numel():
        return 0 if a.tensor.numel() < b.tensor.numel() else 1
    return None


def _all_nonnegative(call: Call, known: Sequence[_Value | None]) -> bool:
    for value, operand in zip(known, call.operands, strict=True):
        if value is not None and not value.nonnegative:
            return False
        if value is None:
            low = operand.amin() if isinstance(operand, Tensor) and operand.numel() else operand
            if isinstance(low, Tensor | int | float) and float(low) < 0:
                return False
    return True


def _hooks(survey: Survey, twin: nn.Module) -> None:
    """Tell the survey which module runs."""
    for name, module in twin.named_modules():
        entry = (name, type(module).__name__)
        module.register_forward_pre_hook(lambda *_, entry=entry: survey.stack.append(entry))
        module.register_forward_hook(lambda *_: survey.stack.pop() and None)


def at_least_float(value: Tensor) -> Tensor:
    """The same in float32, unless it is more exact already."""
    return value.float() if value.dtype.itemsize < 4 else value


def float_twin(classifier: Classifier) -> nn.Module:
    """The untouched replica; in float32 where the model's own weights have fewer bits."""
    twin = classifier.twin(untouched=None)
    first = next((p for p in twin.parameters() if p.dtype.is_floating_point), None)
    if first is None or first.dtype.itemsize >= 4:
        return twin
    made: nn.Module = classifier.cached("relevance in float32", lambda: replica.replicate(twin).float())
    return made


def plan_for(classifier: Classifier, pixels: Tensor) -> Plan:
    """The plan for images of this size, made once and kept until the model changes.

    Raises:
        ModelError: The model ends in probabilities.
    """
    classifier.refresh()
    made: Plan = classifier.cached(("lrp", tuple(pixels.shape[2:])), lambda: _survey(classifier, pixels[:1]))
    return made


def _survey(classifier: Classifier, pixels: Tensor) -> Plan:
    twin = replica.out_of_place(replica.replicate(float_twin(classifier)))
    with torch.no_grad():
        values = at_least_float(classifier.normalise(pixels))
        survey = Survey(values)
        _hooks(survey, twin)
        with survey:
            raw = twin(values)
            outputs = classifier.select(raw)
            classifier.scores(_Given(outputs), values, "float32")
        seen = [survey.seen(t) for t in _flat((outputs,))]
    sources = frozenset().union(*(v.sources for v in seen if v is not None))
    if not sources:
        raise ModelError("the outputs do not depend on the pixels in a way that relevance can follow")
    _finish(survey, sources)
    plan = Plan(survey.operations, sources)
    if classifier.mean is not None and classifier.std is not None:
        low, high = -classifier.mean / classifier.std, (1 - classifier.mean) / classifier.std
    else:
        low, high = torch.zeros(1), torch.ones(1)
    plan.box = (low, high)
    return plan


class _Given(nn.Module):
    """Hands back outputs that are there already."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, values: Tensor) -> Any:
        return self.outputs


def _finish(survey: Survey, outputs: frozenset[int]) -> None:
    """Fold norms, and mark the head and the depth of linear operations."""
    ops = survey.operations
    direct = {v.direct: v for v in survey.values.values() if v.direct is not None}
    for norm, before in survey.folds.items():
        if ops[before].kind in LINEAR and direct[before].uses == 1 and len(ops[before].shape) in (2, 4):
            ops[before].norm, ops[norm].kind = survey.norms[norm], "folded"
    _rectify(ops)
    lines = [op for op in ops if op.kind in LINEAR]
    for place, op in enumerate(lines):
        op.depth = place / max(len(lines) - 1, 1)
    stack, met = list(outputs), set()
    while stack:
        op = ops[stack.pop()]
        if op.index in met:
            continue
        met.add(op.index)
        if op.kind in LINEAR:
            op.head = True
        else:
            stack += [s for source in op.sources for s in source]


def _rectify(ops: Sequence[Operation]) -> None:
    """Mark linear operations that only ReLUs read."""
    readers: dict[int, list[Operation]] = {}
    for op in ops:
        for source in {s for sources in op.sources for s in sources}:
            readers.setdefault(source, []).append(op)
    for op in ops:
        after = readers.get(op.index, [])
        while len(after) == 1 and after[0].kind == "folded":
            after = readers.get(after[0].index, [])
        op.rectified = bool(after) and all(reader.function in ("relu", "relu6") for reader in after)


__all__ = ["LINEAR", "ROUTING", "Operation", "Plan", "Survey", "plan_for"]
