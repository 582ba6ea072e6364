"""ARCC."""

from collections.abc import Sequence

import torch

from sightline.explainers.masking._options import Space
from sightline.metrics.composite._harmonic import Protocol, counted, harmonic
from sightline.metrics.composite.coherency import coherence
from sightline.metrics.faithfulness._road import NOISE, PERCENTAGES, both_orders, road_margins
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "arcc",
    family="composite",
    paper=Paper(
        title="How to Evaluate and Refine your CAM", authors="Domeniconi et al.", year=2026, arxiv="2605.14641"
    ),
    summary="Harmonic mean of coherency, simplicity, and what ROAD says.",
    direction="up",
    range=(0, 1),
    cost="1 explanation + 2 forward passes and imputations a percentage, shared with road and coherency",
    forwards=lambda settings, size: 1 + both_orders(settings, size),
    needs={"explainer"},
)
def arcc(
    trial: Trial,
    *,
    percentages: Sequence[float] = PERCENTAGES,
    noise: float = NOISE,
    space: Space = "pixels",
    protocol: Protocol = "strict",
) -> Values:
    """ARCC = 3 / (1 / Coh + 1 / (1 - Com) + 1 / R), R = max(0, mean over q of LeRF(q) - MoRF(q)); 0 where a part is 0.

    pytorch-grad-cam's text calls it a geometric mean; its code, like this one, takes the harmonic mean.

    Args:
        trial: Rows.
        percentages: q of ROAD.
        noise: Standard deviation of ROAD's noise, in units of `space`.
        space: Where the mask multiplies and the noise is added: `pixels`, or the `normalised` tensor.
        protocol: What an undefined coherency is. `strict`: 0 where the map itself is constant, else ARCC is
            undefined. `as-published`: always 0.

    Returns:
        (N,) in [0, 1], higher is better, and the parts Coh, 1 - Com, R (N, 3).
    """
    lerf, morf = (road_margins(trial, order, percentages, noise, space).sigmoid() for order in ("lerf", "morf"))
    road = (lerf - morf).mean(1).clamp(0, 1)
    coh = counted(trial, coherence(trial, space), protocol).to(road)
    simple = 1 - trial.heat().double().mean((1, 2)).to(road)
    parts = torch.stack([coh, simple, road], 1)
    found = harmonic(parts)
    return trial.values(found, undefined=found.isnan(), curve=parts)
