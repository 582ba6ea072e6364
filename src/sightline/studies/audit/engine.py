"""One forward pass of a block, and from it the maps of every attribute, method and layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sightline import layers as layering
from sightline import registry
from sightline.classifier import Classifier
from sightline.errors import LayerError
from sightline.layout import Layout
from sightline.registry import Polarity
from sightline.studies.audit.plan import Plan
from sightline.studies.audit.readout import signs
from sightline.target import each

ROWS = 1024
"""Maps that a method outside of the shared pass is asked for at a time."""


class Maps(NamedTuple):
    """Raw maps of the decisions made, of one method at one layer.

    Attributes:
        method, layer: Which; the layer by its label, `pixels` for methods that stand there.
        attribute: Its number.
        values: (B, h, w) float32.
        polarity: How they are read.
    """

    method: str
    layer: str
    attribute: int
    values: Tensor
    polarity: Polarity


@dataclass
class Forward:
    """A forward pass with what was seen at the layers.

    Attributes:
        z: (B, A) with a graph.
        seen: Label -> the layer's output as it gave it, with a graph.
        layouts: Label -> how it is read.
    """

    z: Tensor
    seen: dict[str, Tensor]
    layouts: dict[str, Layout]


def forward(plan: Plan, pixels: Tensor, labels: Sequence[str]) -> Forward:
    """One forward pass of checked pixels (B, 3, H, W), differentiable from the labelled layers on.

    Call it in `differentiable`.
    """
    classifier = plan.classifier
    assert isinstance(classifier, Classifier)  # noqa: S101 - a black box has no labelled layers
    size = (pixels.shape[-2], pixels.shape[-1])
    parsed = {label: layering.split_name(plan.named_layers[label]) for label in labels}
    names = list(dict.fromkeys(name for name, _ in parsed.values()))
    run = classifier.forward(pixels, layers=names)
    seen = {label: run.seen[name] for label, (name, _) in parsed.items()}
    layouts = {
        label: layering.layout_of(classifier, name, kind, run.seen[name], size)
        for label, (name, kind) in parsed.items()
    }
    return Forward(plan.readout.z(run.outputs), seen, layouts)


def gradients(run: Forward, scores: Tensor, labels: Sequence[str], *, last: bool) -> list[Tensor]:
    """G (B, K, h, w) of the summed scores at labelled layers.

    Raises:
        LayerError: The scores do not depend on a layer.
    """
    found = torch.autograd.grad(scores.sum(), [run.seen[n] for n in labels], retain_graph=not last, allow_unused=True)
    for label, g in zip(labels, found, strict=True):
        if g is None or not bool(torch.isfinite(g).all()):
            why = "no gradient reaches it from the decisions" if g is None else "its gradient overflows"
            raise LayerError(f"the layer {label!r} cannot be explained: {why}; name another one with layers=")
    return [run.layouts[n].to_maps(g).float() for n, g in zip(labels, found, strict=True)]


def cam_maps(plan: Plan, pixels: Tensor, answers: Tensor) -> Iterator[Maps]:
    """Maps of all pure CAMs at all labelled layers, attribute by attribute; `answers` (B, A) is filled with z.

    The score of attribute a is s z_a with s the sign of the decision; one backward pass of the tail serves all images,
    methods and layers.
    """
    classifier, labels = plan.classifier, list(plan.named_layers)
    assert isinstance(classifier, Classifier)  # noqa: S101
    methods = [
        (registry.find(m), registry.check_settings(registry.find(m), plan.settings.get(m, {}))) for m in plan.cams
    ]
    with classifier.differentiable():
        run = forward(plan, pixels, labels)
        answers.copy_(run.z.detach())
        s = signs(run.z.detach())
        A = {n: run.layouts[n].to_maps(run.seen[n].detach()).float() for n in labels}
        count = s.shape[1]
        for a in range(count):
            G = gradients(run, s[:, a] * run.z[:, a], labels, last=a == count - 1)
            for label, g in zip(labels, G, strict=True):
                for method, settings in methods:
                    args = (A[label], g) if "gradients" in method.needs else (A[label],)
                    values = method.function(*args, **settings)
                    yield Maps(method.name, label, a, values.detach(), method.polarity)


def other_maps(plan: Plan, pixels: Tensor, z: Tensor) -> Iterator[Maps]:
    """Maps of the methods that make their own passes (LRP, learned attention, masks), asked for some rows at once."""
    s, names = signs(z), plan.readout.names
    for method in plan.others:
        explainer, parts = plan.explainer(method), []
        step = max(1, ROWS // len(names))
        for start in range(0, len(pixels), step):
            rows = range(start, min(start + step, len(pixels)))
            asked = [each(plan.readout.target(a, int(s[b, a])) for a in range(len(names))) for b in rows]
            parts.append(explainer(pixels[rows.start : rows.stop], asked))
        maps = torch.cat([p.maps for p in parts]).reshape(len(pixels), len(names), *parts[0].maps.shape[1:])
        layer = " + ".join(parts[0].layers) or "pixels"
        for a in range(len(names)):
            yield Maps(method, layer, a, maps[:, a], parts[0].polarity)
