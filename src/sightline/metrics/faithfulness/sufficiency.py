"""Sufficiency."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._curves import Fill, substrate
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


def _forwards(settings: Mapping[str, Any], _: tuple[int, int]) -> int:
    return len(settings["percentages"])


@metric(
    "sufficiency",
    family="faithfulness",
    paper=Paper(
        title="ERASER: A Benchmark to Evaluate Rationalized NLP Models",
        authors="DeYoung et al.",
        year=2020,
        arxiv="1911.03429",
    ),
    summary="How much of the probability is missing when only the hottest pixels are left.",
    direction="down",
    range=(-1, 1),
    cost="1 forward pass a percentage",
    forwards=_forwards,
)
def sufficiency(
    trial: Trial,
    *,
    percentages: Sequence[float] = (1, 5, 10, 20, 50),
    fill: Fill = "blur",
    space: Space = "pixels",
) -> Values:
    """Mean over q of o - p(only the hottest q % of the pixels), the rest replaced (ERASER, equation 2, over its bins).

    What is kept stays as it is: no soft mask. Below 0 where the kept part convinces more than the whole. This is not
    Quantus' Sufficiency (Dasgupta et al. 2022, arXiv 2202.00734), the share of images with a like explanation that
    are classified alike: that one belongs to a data set, not to a row.

    Args:
        trial: Rows.
        percentages: q, above 0 and up to 100.
        fill: What the other pixels become: `blur`, `black`, `mean` or `noise`.
        space: `pixels`, or the `normalised` tensor.

    Returns:
        (N,) in [-1, 1], lower is better, and its terms (N, P).
    """
    if not percentages or not all(0 < q <= 100 for q in percentages):
        raise MetricError(f"percentages are numbers above 0 and up to 100, not {percentages!r}")
    x, other, images = trial.session.inputs(space), substrate(trial.session, fill, space), trial.image
    ranks = trial.ranks()
    kept = torch.tensor([math.ceil(ranks[0].numel() * q / 100) for q in percentages], device=x.device)

    def make(rows: Tensor, points: Tensor) -> Tensor:
        rows = rows.to(x.device)
        where = ranks[rows] < kept[points.to(x.device)][:, None, None]
        return torch.where(where[:, None], x[images[rows]], other[images[rows]])

    p = trial.margins(len(percentages), make, space=space).sigmoid()
    terms = trial.margin().sigmoid()[:, None] - p
    return trial.values(terms.mean(1), curve=terms)
