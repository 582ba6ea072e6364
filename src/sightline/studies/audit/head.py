"""The bias of the head: what an affine head adds to z whatever the image shows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.errors import SightlineError
from sightline.studies.audit.engine import forward, gradients
from sightline.studies.audit.plan import AFTER, Plan

_PROBES, _TOLERANCE = 6, 1e-4


@dataclass(frozen=True)
class Head:
    """What comes after the last layer with a map.

    Attributes:
        bias: (A,) float64, b_eff of each attribute; None where the head is not affine.
        why: Why not, in words.
    """

    bias: Tensor | None
    why: str = ""


def head(plan: Plan) -> Head:
    """Find out whether z = <W, F> + b with W and b the same for every image, F the output of the layer `after`.

    Then sum_ij HiResCAM_ij = <W, F> (before any ReLU), so that b_eff = z - sum HiResCAM exactly, also for several
    linear layers in a row. Images of noise of several contrasts are tried: an affine head gives all of them one
    gradient and one bias, any other head does not.
    """
    classifier = plan.classifier
    if not isinstance(classifier, Classifier) or AFTER not in plan.named_layers:
        return Head(None, "the head is not known: the model shows no layer called 'after'")
    draw = torch.Generator().manual_seed(0)
    contrast = torch.linspace(0, 1, _PROBES)[:, None, None, None]
    noise = 0.5 + contrast * (torch.rand(_PROBES, classifier.channels, *classifier.size, generator=draw) - 0.5)
    try:
        with classifier.differentiable():
            run = forward(plan, noise.to(classifier.device), [AFTER])
            F = run.layouts[AFTER].to_maps(run.seen[AFTER].detach()).double()  # (P, K, h, w)
            biases, count = [], run.z.shape[1]
            for a in range(count):
                G = gradients(run, run.z[:, a], [AFTER], last=a == count - 1)[0].double()
                if float((G - G[:1]).abs().max()) > _TOLERANCE * float(G.abs().max()):
                    return Head(None, "the gradient at the last layer depends on the image, so the head is not affine")
                b = run.z[:, a].detach().double() - (G * F).sum((1, 2, 3))
                scale = float((G * F).abs().sum((1, 2, 3)).max()) + float(b.abs().max())
                if float(b.max() - b.min()) > _TOLERANCE * max(scale, 1e-12):
                    return Head(
                        None, "what is left of z after the evidence depends on the image: the head is not affine"
                    )
                biases.append(b.mean())
    except SightlineError as reason:
        return Head(None, str(reason))
    return Head(torch.stack(biases).cpu())
