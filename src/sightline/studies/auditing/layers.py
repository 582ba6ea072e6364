"""The bias of every layer: FullGrad's account of a decision, summed up layer by layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.explainers.cam.full_grad import full_gradient
from sightline.explainers.question import Question
from sightline.studies.auditing.bias import UNEXPLAINED
from sightline.studies.auditing.plan import Plan
from sightline.studies.auditing.readout import signs
from sightline.target import each

HEAD = "layers without a map"
_TOGETHER = 8


def layer_biases(plan: Plan, pixels: Tensor, z: Tensor) -> dict[str, Tensor]:
    """For each layer with a bias (n, A): how much of |z| its biases make.

    |z| = sum x' d|z|/dx' + sum_l b_l d|z|/df_l (Srinivas and Fleuret 2019, arXiv 1905.00780), complete for networks of
    ReLUs and max-pooling; what is missing for others stands under `unexplained`. One backward pass through all layers
    an attribute.

    Args:
        plan: What is asked.
        pixels: (n, 3, H, W) checked.
        z: (n, A) their answers.
    """
    classifier, A = plan.classifier, z.shape[1]
    assert isinstance(classifier, Classifier)  # noqa: S101 - the plan asks no black box
    s, parts = signs(z), []
    for start in range(0, len(pixels), _TOGETHER):
        rows = range(start, min(start + _TOGETHER, len(pixels)))
        asked = [each(plan.readout.target(a, int(s[b, a])) for a in range(A)) for b in rows]
        question = Question(classifier, pixels[rows.start : rows.stop], asked)
        parts.append(_account(question, len(rows), A))
    names: Sequence[str] = list(dict.fromkeys(name for part in parts for name in part))
    sizes = [next(iter(part.values())) for part in parts]
    return {
        name: torch.cat([part.get(name, torch.zeros_like(like)) for part, like in zip(parts, sizes, strict=True)])
        for name in names
    }


def _account(question: Question, n: int, A: int) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for terms in full_gradient(question):
        rows = terms.turn.rows
        told = {name: term.double().sum((1, 2, 3)) for name, term in terms.biases.items()}
        told[HEAD] = terms.rest.double()
        told[UNEXPLAINED] = question.score[rows].double() - terms.total().double()
        for name, value in told.items():
            found.setdefault(name, torch.zeros(n * A, dtype=torch.float64))[rows.cpu()] = value.detach().cpu()
    return {name: value.reshape(n, A) for name, value in found.items()}
