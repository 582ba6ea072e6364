"""The plan of a network at one image size: its operations, what flows into each, and which norms are folded.

A survey runs the network once on a throw-away replica and notes every operation. A batch norm whose input is the output
of a convolution (or dense layer) that nobody else reads is folded into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sightline import replica
from sightline.classifier import Classifier
from sightline.errors import ModelError
from sightline.explainers.lrp._linear import Linear
from sightline.explainers.lrp._operation import LINEAR, Operation
from sightline.explainers.lrp._survey import Survey


@dataclass
class Plan:
    """Operations in order, those that give the outputs, and linear maps with kept weights."""

    operations: list[Operation]
    outputs: frozenset[int]
    linears: dict[int, Linear] = field(default_factory=dict)
    box: tuple[Tensor, Tensor] | None = None
    checked: bool = False


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
        ModelError: The outputs do not depend on the pixels.
    """
    classifier.refresh()
    made: Plan = classifier.cached(("lrp", tuple(pixels.shape[2:])), lambda: _survey(classifier, pixels[:1]))
    return made


def _survey(classifier: Classifier, pixels: Tensor) -> Plan:
    twin = replica.out_of_place(replica.replicate(float_twin(classifier)))
    with torch.no_grad():
        values = at_least_float(classifier.normalise(pixels))
        survey = Survey(values)
        survey.watch(twin)
        with survey:
            raw = twin(values)
            outputs = classifier.select(raw)
            classifier.scores(_Given(outputs), values, "float32")
    sources = survey.sources(outputs)
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


__all__ = ["LINEAR", "Operation", "Plan", "at_least_float", "float_twin", "plan_for"]
