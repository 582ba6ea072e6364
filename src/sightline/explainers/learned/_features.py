"""What attention reads: the outputs of tapped layers as maps (B, C, h, w), from one pass without a graph."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline import layers as layering
from sightline.capture import taped
from sightline.classifier import BlackBox, Classifier
from sightline.errors import LayerError, MethodError
from sightline.layout import Layout


def seen_by(kind: str, classifier: BlackBox | Classifier, auxiliary: Classifier | None = None) -> Classifier | None:
    """Whose features a kind of attention reads: the classifier's own, the auxiliary one's, or nobody's.

    Raises:
        MethodError: A black box where features are needed, or an auxiliary classifier that is missing or of no use.
    """
    if auxiliary is not None and not isinstance(auxiliary, Classifier):
        raise MethodError(f"auxiliary= takes a sl.Classifier, not {type(auxiliary).__name__}")
    if kind == "p-tame":
        if auxiliary is None:
            raise MethodError(
                "p-tame reads the features of another network: give auxiliary=, a sl.Classifier such as a "
                "pretrained ResNet-18"
            )
        if auxiliary.channels != classifier.channels:
            raise MethodError(
                f"auxiliary= takes images of {auxiliary.channels} channels, the classifier {classifier.channels}"
            )
        return auxiliary
    if auxiliary is not None:
        raise MethodError(f"{kind} reads the classifier's own features; auxiliary= is for p-tame")
    if kind == "constant":
        return None
    if isinstance(classifier, BlackBox):
        raise MethodError(f"{kind} needs the model's features, which a BlackBox does not show; p-tame does not")
    return classifier


def tapped(classifier: Classifier, pixels: Tensor, layers: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
    """One forward pass without a graph.

    Args:
        classifier: Whose features.
        pixels: (B, C, H, W), checked.
        layers: Names, with an optional `@nchw`, `@nhwc` or `@tokens`.

    Returns:
        Outputs (B, n), and each layer's maps (B, C_l, h_l, w_l), float32, the class token left out.

    Raises:
        LayerError: A layer that does not exist, takes no part, or has no spatial map.
    """
    names = [layering.split_name(name)[0] for name in layers]
    with torch.inference_mode(False), torch.no_grad():
        twin = classifier.twin(untouched=names)
        with taped(twin, names, watch=True) as tape:
            outputs = classifier.run(twin, pixels)
        found = _layouts(classifier, layers, tape.seen, (pixels.shape[2], pixels.shape[3]))
        maps = [layout.to_maps(tape.seen[name]).float() for layout, name in zip(found, names, strict=True)]
    return outputs, maps


def layouts(classifier: Classifier, layers: Sequence[str]) -> list[Layout]:
    """How layers are read, for images of the classifier's own size.

    Raises:
        LayerError: As for `tapped`.
        ModelError: The model gives probabilities where scores are needed.
    """
    names = [layering.split_name(name)[0] for name in layers]
    blank = torch.full((1, classifier.channels, *classifier.size), 0.5, device=classifier.device)
    with classifier.differentiable():  # with a graph, so that a model that ends in a softmax is found out
        run = classifier.forward(blank, layers=names)
        return _layouts(classifier, layers, run.seen, classifier.size)


def _layouts(
    classifier: Classifier, layers: Sequence[str], seen: dict[str, Tensor], size: tuple[int, int]
) -> list[Layout]:
    found = []
    for text in layers:
        name, kind = layering.split_name(text)
        if name not in seen:
            raise LayerError(
                f"layer {name!r} takes no part in the forward pass; choose another one (`sightline layers MODEL`)"
            )
        found.append(layering.layout_of(classifier, name, kind, seen[name], size))
    return found
