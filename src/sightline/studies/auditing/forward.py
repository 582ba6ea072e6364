"""One forward pass that keeps labelled layers, and gradients of decisions at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline import layers as layering
from sightline.classifier import Classifier
from sightline.errors import LayerError
from sightline.layout import Layout
from sightline.studies.auditing.readout import Readout


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

    def activations(self, label: str) -> Tensor:
        """A (B, K, h, w) float32 of a layer, without a graph."""
        return self.layouts[label].to_maps(self.seen[label].detach()).float()

    def gradients(self, scores: Tensor, labels: Sequence[str], *, last: bool) -> list[Tensor]:
        """G (B, K, h, w) of the summed scores at layers.

        Raises:
            LayerError: The scores do not depend on a layer.
        """
        found = torch.autograd.grad(
            scores.sum(), [self.seen[n] for n in labels], retain_graph=not last, allow_unused=True
        )
        for label, g in zip(labels, found, strict=True):
            if g is None:
                raise LayerError(
                    f"the layer {label!r} cannot be explained: no gradient reaches it from the decisions; name another "
                    "one with layers="
                )
        return [self.layouts[n].to_maps(g).float() for n, g in zip(labels, found, strict=True) if g is not None]


def forward(classifier: Classifier, readout: Readout, layers: Mapping[str, str], pixels: Tensor) -> Forward:
    """One forward pass of checked pixels (B, 3, H, W), differentiable from the labelled layers on.

    Call it in `differentiable`.

    Args:
        classifier: What is asked.
        readout: How z is read.
        layers: Label -> layer.
        pixels: The images.
    """
    size = (pixels.shape[-2], pixels.shape[-1])
    parsed = {label: layering.split_name(layer) for label, layer in layers.items()}
    run = classifier.forward(pixels, layers=list(dict.fromkeys(name for name, _ in parsed.values())))
    layouts = {
        label: layering.layout_of(classifier, name, kind, run.seen[name], size)
        for label, (name, kind) in parsed.items()
    }
    return Forward(readout.z(run.outputs), {label: run.seen[name] for label, (name, _) in parsed.items()}, layouts)
