"""Warm start: attention that begins at the class activation map."""

import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.errors import LayerError, MethodError
from sightline.explainers.learned._features import tapped
from sightline.explainers.learned._modules import Attention, LCam
from sightline.layers import layout_of, split_name

_PROBES = 4  # images of noise on which an affine head must give what W and b say
_TOLERANCE = 1e-3  # of the largest output, in float32


def warm_start(attention: Attention, classifier: Classifier) -> Attention:
    """Put the classifier's own weights into an L-CAM: its map is then CAM (Zhou et al. 2016, arXiv 1512.04150).

    Where the outputs are y = W' mean_ij(A) + b', as after global average pooling and a linear head, W[y] = W'[y] and
    b = 0, so that c^(y) is the map of method `cam` before any training. With `directions="two"` the channels of "no"
    get -W'. W' is read from gradients, so several linear layers in a row count as one.

    Args:
        attention: An `LCam` that `attention_for` made for this classifier; written to in place.
        classifier: Whose weights.

    Returns:
        The same attention.

    Raises:
        MethodError: No L-CAM, or a head that is not affine in the mean of its layer.
    """
    if not isinstance(attention, LCam):
        raise MethodError(
            f"only an L-CAM starts at CAM: {attention.kind or type(attention).__name__} reads features that the "
            "classifier's own weights were not made for"
        )
    if attention.maps != classifier.width * (2 if attention.directions == "two" else 1):
        raise MethodError(f"the attention has {attention.maps} maps, the classifier {classifier.width} outputs")
    W = _pooled_weights(classifier, attention.layers[0])  # (outputs, P)
    with torch.no_grad():
        full = torch.cat([W, -W]) if attention.directions == "two" else W
        attention.convolution.weight.copy_(full[:, :, None, None])
        if attention.convolution.bias is not None:
            attention.convolution.bias.zero_()
    return attention


def _pooled_weights(classifier: Classifier, layer: str) -> Tensor:
    """W' (outputs, P) of y = W' mean_ij(A) + b'.

    Raises:
        MethodError: That is not how the outputs depend on the layer.
    """
    name, kind = split_name(layer)
    draw = torch.Generator().manual_seed(0)
    size = classifier.size
    noise = torch.rand(_PROBES, classifier.channels, *size, generator=draw).to(classifier.device)
    noise *= torch.linspace(0.3, 1, _PROBES, device=noise.device).view(-1, 1, 1, 1)
    with classifier.differentiable():
        run = classifier.forward(noise[:1], layers=[name])
        A, y = run.seen[name], run.outputs
        layout = layout_of(classifier, name, kind, A, size)
        G = [run.gradients(y[0, i], [A])[0] for i in range(y.shape[1])]
    if any(g is None for g in G):
        raise LayerError(f"no gradient reaches layer {name!r}: the outputs do not depend on it")
    rows = torch.stack([layout.to_maps(g)[0].float() for g in G if g is not None])  # (outputs, P, h, w)
    W = rows.sum((2, 3))
    uneven = rows.flatten(2).amax(2) - rows.flatten(2).amin(2) > 1e-4 * rows.abs().amax()
    outputs, (features,) = tapped(classifier, noise, [layer])
    b = outputs - features.mean((2, 3)) @ W.T  # (probes, outputs), the same for every image if the head is affine
    apart = float((b - b[:1]).abs().amax()) > _TOLERANCE * float(outputs.abs().amax())
    if bool(uneven.any()) or apart:
        why = "weigh its positions differently" if bool(uneven.any()) else "are no affine function of its mean"
        raise MethodError(
            f"a warm start needs global average pooling and a linear head after layer {name!r}, but the outputs {why}; "
            "start from random weights"
        )
    return W
