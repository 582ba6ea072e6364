"""The bias of the head: what an affine head adds to z whatever the image shows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.errors import SightlineError
from sightline.studies.audit.forward import Forward, forward
from sightline.studies.audit.readout import Readout

_PROBES, _TOLERANCE = 6, 1e-4
_AT = "after"


@dataclass(frozen=True)
class Head:
    """What comes after the last layer with a map.

    Attributes:
        bias: (A,) float64, b_eff of each attribute; None where the head is not affine.
        why: Why not, in words.
    """

    bias: Tensor | None
    why: str = ""


def head(classifier: Classifier | BlackBox, readout: Readout, layer: str | None) -> Head:
    """Find out whether z = <W, F> + b with W and b the same for every image, F the output of a layer.

    Then sum_ij HiResCAM_ij = <W, F> (before any ReLU), so that b_eff = z - sum HiResCAM exactly, also for several
    linear layers in a row. Images of noise of several contrasts are tried: an affine head gives all of them one
    gradient and one bias, any other head does not.

    Args:
        classifier: Whose head.
        readout: How z is read.
        layer: The last layer with a map.
    """
    if not isinstance(classifier, Classifier) or layer is None:
        return Head(None, "no layer is labelled 'after', so the head is not known")
    draw = torch.Generator().manual_seed(0)
    contrast = torch.linspace(0, 1, _PROBES)[:, None, None, None]
    noise = 0.5 + contrast * (torch.rand(_PROBES, classifier.channels, *classifier.size, generator=draw) - 0.5)
    try:
        with classifier.differentiable():
            run = forward(classifier, readout, {_AT: layer}, noise.to(classifier.device))
            return _tried(run)
    except SightlineError as reason:
        return Head(None, str(reason))


def _tried(run: Forward) -> Head:
    F = run.activations(_AT).double()  # (P, K, h, w)
    biases, A = [], run.z.shape[1]
    for a in range(A):
        W = run.gradients(run.z[:, a], [_AT], last=a == A - 1)[0].double()
        if float((W - W[:1]).abs().max()) > _TOLERANCE * float(W.abs().max()):
            return Head(None, "the gradient at the last layer depends on the image, so the head is not affine")
        b = run.z[:, a].detach().double() - (W * F).sum((1, 2, 3))
        scale = float((W * F).abs().sum((1, 2, 3)).max()) + float(b.abs().max())
        if float(b.max() - b.min()) > _TOLERANCE * max(scale, 1e-12):
            return Head(None, "what is left of z besides the evidence depends on the image: the head is not affine")
        biases.append(b.mean())
    return Head(torch.stack(biases).cpu())
