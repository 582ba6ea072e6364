"""Deletion."""

from collections.abc import Mapping
from typing import Any

from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._curves import Fill, area, curve
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


def _forwards(settings: Mapping[str, Any], size: tuple[int, int]) -> int:
    return int(settings["steps"] or size[0])


@metric(
    "deletion",
    family="faithfulness",
    paper=Paper(
        title="RISE: Randomized Input Sampling for Explanation of Black-box Models",
        authors="Petsiuk et al.",
        year=2018,
        arxiv="1806.07421",
    ),
    summary="Area under the probability while pixels are taken away, hottest first.",
    direction="down",
    range=(0, 1),
    cost="1 forward pass a step",
    forwards=_forwards,
)
def deletion(trial: Trial, *, fill: Fill = "black", steps: int | None = None, space: Space = "pixels") -> Values:
    """AUC = (sum_t h_t - (h_0 + h_L) / 2) / L, h_t = p of the image without its hottest t / L of pixels.

    h_0 is the unaltered image, h_L the substrate. Equally hot pixels go in a random order that belongs to the image,
    so an empty map scores like a random one.

    Args:
        trial: Rows.
        fill: What removed pixels become: `black`, `blur` or `mean`.
        steps: L; by default as many as the image has rows, so 224 steps of 224 pixels for images of 224 px.
        space: `pixels`, or `normalised`, where black is the mean colour of the training set (RISE's own script).

    Returns:
        (N,) in [0, 1], lower is better, and the curve (N, L + 1).
    """
    h = curve(trial, "deletion", fill, steps or trial.session.size[0], space).sigmoid()
    return trial.values(area(h), curve=h)
