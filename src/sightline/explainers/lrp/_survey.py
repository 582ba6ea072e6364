"""The survey: one forward pass in which every operation is noted, with what flows into it.

The structure is read off the flow of values, not off the order in which modules were defined.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline.explainers.lrp._calls import Call, Walk, constant
from sightline.explainers.lrp._operation import LINEAR, Operation


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


class Survey(Walk):
    """Notes every operation of one forward pass."""

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.norms: dict[int, tuple[Tensor, Tensor]] = {}
        self.values: dict[int, _Value] = {id(pixels): _Value(pixels, frozenset())}
        self.stack: list[tuple[str, str]] = []
        self.folds: dict[int, int] = {}

    def watch(self, twin: nn.Module) -> None:
        """Know which module of a throw-away replica runs."""
        for name, module in twin.named_modules():
            entry = (name, type(module).__name__)
            module.register_forward_pre_hook(lambda *_, entry=entry: self.stack.append(entry))
            module.register_forward_hook(lambda *_: self.stack.pop() and None)

    def sources(self, outputs: Any) -> frozenset[int]:
        """The operations whose values are in the outputs."""
        there = (self.seen(t) for t in _flat((outputs,)))
        return frozenset().union(*(v.sources for v in there if v is not None))

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
