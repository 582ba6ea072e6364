"""Opti-CAM."""

from collections.abc import Callable

import torch
from torch import Tensor

from sightline import target as targets
from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import activations
from sightline.explainers.masking._masker import Masker
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._plan import upsample
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


def _scaled(S: Tensor) -> Tensor:
    """mm with a gradient: (n, H, W) to [0, 1]; a map that is constant up to rounding becomes 0, without a gradient."""
    low, high = S.flatten(1).amin(1)[:, None, None], S.flatten(1).amax(1)[:, None, None]
    span, rounding = high - low, 8 * torch.finfo(S.dtype).eps * torch.maximum(high.abs(), low.abs())
    varies = span > rounding
    return torch.where(varies, (S - low) / torch.where(varies, span, 1.0), 0.0)


@masked(
    "opti-cam",
    paper=Paper(
        title="Opti-CAM: Optimizing saliency maps for interpretability",
        authors="Zhang, Torres, Sicre, Avrithis and Ayache",
        year=2023,
        arxiv="2301.07002",
        venue="CVIU 2024",
    ),
    summary="Finds the mixture of channels that, as a mask, keeps the score highest: the optimum of average drop.",
    cost="1 forward + 100 forwards and backwards of the whole model",
    forwards=101,
    needs={"features", "gradients"},
    signed=False,
    options={"space": "normalised"},
    anytime=False,
)
def opti_cam(question: Question, engine: Engine, *, iterations: int = 100, rate: float = 0.1) -> Maps:
    """S = mm(up(sum_k softmax(u)_k A_k)), with u the maximum of f_c(x * S), found by Adam from u = 0.

    It optimises what average drop and increase in confidence measure, so these do not rank it fairly. Each row has its
    own u: a batch gives what a loop gives.

    Args:
        question: What is asked.
        engine: How masked images are made; the normalised tensor is masked as in the paper's main tables.
        iterations: Steps of Adam, at most; 100 in the paper.
        rate: Its learning rate, 0.1 in the paper.

    Returns:
        (N, H, W) in [0, 1]: the mask itself, for the sum before mm has a scale that nothing determines.

    Raises:
        MethodError: More than one layer, `iterations` below 1, or `rate` not positive.
    """
    if iterations < 1 or not rate > 0:
        raise MethodError(f"opti-cam needs iterations >= 1 and rate > 0, not {iterations} and {rate}")
    if len(question.layers) != 1:
        raise MethodError("opti-cam mixes the channels of one layer; name one")
    (A,) = activations(question).values()
    masker = Masker(question, engine.options, [engine.generator(b) for b in range(len(question.pixels))])
    chunk = engine.options.chunk or 4
    every = torch.arange(len(question.targets))
    parts = [every[start : start + chunk] for start in range(0, len(every), chunk)]
    with engine.steps(len(parts) * iterations, len(question.targets) * iterations) as step:
        S = [_optimised(question, engine, masker, A, rows, iterations, rate, step) for rows in parts]
    return Maps(torch.cat(S))


def _optimised(
    question: Question,
    engine: Engine,
    masker: Masker,
    A: Tensor,
    rows: Tensor,
    iterations: int,
    rate: float,
    step: Callable[[int], None],
) -> Tensor:
    image, part = question.image[rows], [question.targets[r] for r in rows.tolist()]
    base, change, _ = masker.form(True)
    twin, precision = question.model.twin(), engine.options.precision
    u = torch.zeros(len(rows), A.shape[1], device=A.device, requires_grad=True)
    adam = torch.optim.Adam([u], lr=rate)
    with question.model.differentiable():
        for _ in range(iterations):
            if engine.stopped is not None:
                break
            S = torch.einsum("nk,nkhw->nhw", u.softmax(1), A[image])
            x = base[image] + _scaled(upsample(S, question.size))[:, None].to(base) * change[image]
            score = targets.scores(part, question.model.scores(twin, x, precision))
            adam.zero_grad()
            (u.grad,) = torch.autograd.grad(-score.sum(), u)
            adam.step()
            step(len(rows))
        return _scaled(upsample(torch.einsum("nk,nkhw->nhw", u.detach().softmax(1), A[image]), question.size))
