"""The bias of the head: what an affine head adds to z whatever the image shows."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sightline import layers as layering
from sightline import replica
from sightline.capture import INPUT, module_of
from sightline.classifier import BlackBox, Classifier
from sightline.errors import SightlineError
from sightline.layout import first_tensor, replace_first
from sightline.studies.auditing.forward import Forward, forward
from sightline.studies.auditing.readout import Readout

_PROBES, _TOLERANCE = 8, 1e-4
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
    linear layers in a row. A copy of the network gets activations that were shuffled and scaled in place of its own: an
    affine head has one gradient and one bias for all of them, any other head does not.

    Args:
        classifier: Whose head.
        readout: How z is read.
        layer: The last layer with a map.
    """
    if not isinstance(classifier, Classifier) or layer is None:
        return Head(None, "no layer is labelled 'after', so the head is not known")
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(_PROBES, classifier.channels, *classifier.size, generator=draw).to(classifier.device)
    try:
        with classifier.differentiable():
            # What a single forward pass says first: where it fails, or the layer has no map, there is nothing to probe.
            run = forward(classifier, readout, {_AT: layer}, noise)
            leaf, outputs = _probed(classifier, layer, noise, draw)
            return _told(Forward(readout.z(outputs), {_AT: leaf}, run.layouts))
    except SightlineError as reason:
        return Head(None, str(reason))


def _probed(classifier: Classifier, layer: str, noise: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Altered activations of a layer as a leaf, and the outputs that they lead to, on a throw-away copy."""
    name, _ = layering.split_name(layer)
    copy = replica.replicate(classifier.twin(untouched=(name,)))
    leaves: list[Tensor] = []

    def alter(output: Any) -> Any:
        value = first_tensor(output)
        if value is None:
            return None
        order = torch.randperm(value[0].numel(), generator=draw).to(value.device)
        scale = torch.linspace(0, 3, len(value), device=value.device).reshape(-1, *[1] * (value.ndim - 1))
        leaf = (value.detach().flatten(1)[:, order].reshape(value.shape) * scale.to(value)).requires_grad_()
        leaves.append(leaf)
        return replace_first(output, value, leaf.clone())

    module = module_of(copy, name)
    if name.endswith(INPUT):
        module.register_forward_pre_hook(lambda _, args: alter(args))
    else:
        module.register_forward_hook(lambda _, __, output: alter(output))
    outputs = classifier.run(copy, noise)
    return leaves[-1], outputs


def _told(run: Forward) -> Head:
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
        biases.append(b[0])  # of activations that are all 0: no rounding
    return Head(torch.stack(biases).cpu())
