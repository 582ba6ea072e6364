"""What a network says of an image just before it decides: the input of its head."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline import replica
from sightline.capture import INPUT, module_of, taped
from sightline.classifier import BlackBox, Classifier
from sightline.errors import InputError, LayerError, ModelError
from sightline.layers import split_name
from sightline.layout import first_tensor, hints, read_layout

OUTPUTS = "outputs"
"""In place of a layer: the scores themselves are the embedding."""

_PROBES, _TOLERANCE = 8, 1e-4


def embeddings(
    classifier: Classifier | BlackBox, pixels: Tensor, *, layer: str | None = None, batch: int = 32
) -> NDArray[np.float32]:
    """Embeddings of images at a layer; at the penultimate one unless another is named.

    Args:
        classifier: Whose. One that gives embeddings itself (decision `embedding`) is taken at its word.
        pixels: (N, C, H, W) in [0, 1], at the size that the classifier takes.
        layer: A layer (`layer4`, `fc@input`), or `outputs`. Where it has positions (a map, or tokens without the
            leading class token), the embedding is the mean over them.
        batch: Images at a time.

    Returns:
        (N, D) float32.

    Raises:
        ModelError: A black box, whose layers nobody sees; `layer="outputs"` takes its scores.
        LayerError: The head is not clear (see `penultimate_layer`), or the layer has no values for each image.
        InputError: Pixels that cannot be used.
    """
    if layer is None and classifier.decision_on(classifier.check_pixels(pixels[:1])) == "embedding":
        layer = OUTPUTS
    if isinstance(classifier, BlackBox) and layer != OUTPUTS:
        raise ModelError('a black box has no layers to read; layer="outputs" takes its scores as the embedding')
    if batch < 1:
        raise InputError(f"batch must be 1 or more, not {batch}")
    if layer is None:
        layer = penultimate_layer(classifier, (int(pixels.shape[2]), int(pixels.shape[3])))  # type: ignore[arg-type]
    found = [_block(classifier, classifier.check_pixels(part), layer) for part in torch.split(pixels, batch)]
    return torch.cat(found).numpy()


def _block(classifier: Classifier | BlackBox, pixels: Tensor, layer: str) -> Tensor:
    if layer == OUTPUTS or isinstance(classifier, BlackBox):
        return classifier(pixels).flatten(1).float().cpu()
    name, kind = split_name(layer)
    twin = classifier.twin(untouched=(name,))
    with torch.inference_mode(False), torch.no_grad(), taped(twin, (name,), watch=True) as tape:
        classifier.run(twin, pixels)
    if name not in tape.seen:
        raise LayerError(f"layer {name!r} does not run on an image; choose another one (`sightline layers MODEL`)")
    value = tape.seen[name]
    if value.ndim not in (2, 3, 4) or len(value) != len(pixels):
        raise LayerError(f"layer {name!r} gives {tuple(value.shape)} for {len(pixels)} images: no vector for each")
    if value.ndim == 2:
        return value.float().cpu()
    size = (int(pixels.shape[2]), int(pixels.shape[3]))
    module = module_of(twin, name)
    if value.ndim == 4 and kind is None and isinstance(module, nn.Linear | nn.Conv2d):
        kind = "nhwc" if isinstance(module, nn.Linear) else "nchw"
    layout = read_layout(value, module, size, name=name, kind=kind, **hints(classifier.source, size))
    if layout is not None:
        return layout.to_maps(value).mean((2, 3)).float().cpu()
    return (value.mean((2, 3)) if value.ndim == 4 else value.mean(1)).float().cpu()


def penultimate_layer(classifier: Classifier, size: tuple[int, int] | None = None) -> str:
    """The penultimate layer, named as `LAYER@input`: what goes into the last linear layer, or the last convolution.

    The rule: of all linear layers and convolutions, the last one to run is the head, if its output is the scores. It
    may be pooled over positions, with or without a ReLU before (a convolutional head), or the scores may be an affine
    function of it. That is checked with images of noise. Of two linear layers in a row the last is the head.

    Args:
        classifier: Whose.
        size: Height and width of the images; the classifier's own unless given.

    Raises:
        LayerError: The last weights to run do not give the scores (a head written with functions, several branches, a
            segmentation); name the layer instead.
    """
    size = size or classifier.size
    found: str = classifier.cached(("penultimate", size), partial(_penultimate, classifier, size))
    return found


def _penultimate(classifier: Classifier, size: tuple[int, int]) -> str:
    twin = replica.replicate(classifier.twin(untouched=None))
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(_PROBES, classifier.channels, *size, generator=draw).to(classifier.device)
    order: list[str] = []

    def note(name: str, *_: object) -> None:
        order.append(name)

    handles = [
        module.register_forward_hook(partial(note, name))
        for name, module in twin.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    try:
        with torch.inference_mode(False), torch.no_grad():
            classifier.run(twin, noise)
    finally:
        for handle in handles:
            handle.remove()
    if not order or not order[-1]:
        raise LayerError(
            f"{type(classifier.source).__name__} has no linear layer or convolution with a name; say which layer's "
            "values are the embedding with layer=, or take layer='outputs'"
        )
    with classifier.differentiable(), taped(twin, (order[-1],)) as tape:
        outputs = classifier.run(twin, noise)
        if outputs.ndim == 2 and _gives(tape.seen[order[-1]], outputs):
            return order[-1] + INPUT
    raise LayerError(
        f"the last weights of {type(classifier.source).__name__} to run, {order[-1]!r}, do not give its scores, so its "
        "penultimate layer is not clear; name it with layer=, such as layer='fc@input' (`sightline layers MODEL` shows "
        "names), or take layer='outputs'"
    )


def _gives(value: Tensor, outputs: Tensor) -> bool:
    """Whether scores (B, C) are a layer's output: as it is, pooled (after a ReLU or not), or affine in it."""
    h = first_tensor(value)
    if h is None or len(h) != len(outputs):
        return False
    readings = (h, h.relu())
    pooled = [v.mean(tuple(range(2, v.ndim))) if v.ndim == 4 else v.mean(1) if v.ndim == 3 else v for v in readings]
    scale = float(outputs.detach().abs().max())
    for v in pooled:
        if (
            v.shape == outputs.shape
            and float((v.detach().float() - outputs.detach()).abs().max()) <= _TOLERANCE * scale
        ):
            return True
    return _affine(h, outputs)


def _affine(h: Tensor, outputs: Tensor) -> bool:
    """Whether z = <W, h> + b with one W and b for all images, for random mixtures of the scores."""
    if not outputs.requires_grad:
        return False
    draw = torch.Generator().manual_seed(1)
    for _ in range(2):
        z = outputs @ torch.randn(outputs.shape[1], generator=draw).to(outputs)
        (W,) = torch.autograd.grad(z.sum(), h, retain_graph=True, allow_unused=True)
        if W is None or not bool(W.any()):
            return False
        W, v = W.double(), h.detach().double()
        if float((W - W[:1]).abs().max()) > _TOLERANCE * float(W.abs().max()):
            return False
        parts = (W * v).flatten(1)
        b = z.detach().double() - parts.sum(1)
        if float(b.max() - b.min()) > _TOLERANCE * max(float(parts.abs().sum(1).max()), float(b.abs().max()), 1e-12):
            return False
    return True
