"""One forward pass of a block, and from it the maps of every attribute, method and layer."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sightline import registry
from sightline.classifier import Classifier
from sightline.registry import Polarity
from sightline.studies.auditing.forward import forward
from sightline.studies.auditing.plan import Plan
from sightline.studies.auditing.readout import signs
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


def cam_maps(plan: Plan, pixels: Tensor, answers: Tensor) -> Iterator[Maps]:
    """Maps of all pure CAMs at all labelled layers, attribute by attribute; `answers` (B, A) is filled with z.

    The score of attribute a is s z_a with s the sign of the decision; one backward pass of the tail serves all images,
    methods and layers.
    """
    classifier, labels = plan.classifier, list(plan.named_layers)
    assert isinstance(classifier, Classifier)  # noqa: S101 - the plan asks no black box
    found = [registry.find(m) for m in plan.cams]
    methods = [(m, registry.check_settings(m, plan.settings.get(m.name, {}))) for m in found]
    with classifier.differentiable():
        run = forward(classifier, plan.readout, plan.named_layers, pixels)
        answers.copy_(run.z.detach())
        s, count = signs(run.z.detach()), run.z.shape[1]
        A = {label: run.activations(label) for label in labels}
        for a in range(count):
            G = run.gradients(s[:, a] * run.z[:, a], labels, last=a == count - 1)
            for label, g in zip(labels, G, strict=True):
                for method, settings in methods:
                    given = (A[label], g) if "gradients" in method.needs else (A[label],)
                    values = method.function(*given, **settings)
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
