"""Insertion."""

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
    "insertion",
    family="faithfulness",
    paper=Paper(
        title="RISE: Randomized Input Sampling for Explanation of Black-box Models",
        authors="Petsiuk et al.",
        year=2018,
        arxiv="1806.07421",
    ),
    summary="Area under the probability while pixels are put onto a blurred image, hottest first.",
    direction="up",
    range=(0, 1),
    cost="1 forward pass a step",
    forwards=_forwards,
)
def insertion(trial: Trial, *, fill: Fill = "blur", steps: int | None = None, space: Space = "pixels") -> Values:
    """AUC = (sum_t h_t - (h_0 + h_L) / 2) / L, h_t = p of the substrate with the image's hottest t / L of pixels.

    h_0 is the substrate (a Gaussian blur, kernel 11, sigma 5), h_L the unaltered image.

    Args:
        trial: Rows.
        fill: What pixels are put onto: `blur`, `black` or `mean`.
        steps: L; by default as many as the image has rows.
        space: `pixels`, or `normalised`, where black is the mean colour of the training set (RISE's own script).

    Returns:
        (N,) in [0, 1], higher is better, and the curve (N, L + 1).
    """
    h = curve(trial, "insertion", fill, steps or trial.session.size[0], space).sigmoid()
    return trial.values(area(h), curve=h)
