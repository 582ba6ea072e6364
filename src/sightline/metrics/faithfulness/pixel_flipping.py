"""Pixel flipping."""

import math
from collections.abc import Mapping
from typing import Any

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._curves import Fill, area
from sightline.metrics.faithfulness._regions import region_count, region_margins
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


def _steps(steps: int | None, region: int, size: tuple[int, int]) -> int:
    return steps or min(region_count(region, size), -(-size[0] // region))


def _forwards(settings: Mapping[str, Any], size: tuple[int, int]) -> int:
    return _steps(settings["steps"], settings["region"], size)


@metric(
    "pixel-flipping",
    family="faithfulness",
    paper=Paper(
        title="On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
        authors="Bach et al.",
        year=2015,
        venue="PLOS ONE 10(7)",
    ),
    summary="Area under the probability while squares of pixels are replaced, hottest first.",
    direction="down",
    range=(0, 1),
    cost="1 forward pass a step",
    forwards=_forwards,
)
def pixel_flipping(
    trial: Trial, *, region: int = 8, steps: int | None = None, fill: Fill = "mean", space: Space = "pixels"
) -> Values:
    """AUC = (sum_t h_t - (h_0 + h_L) / 2) / L, h_t = p once the hottest t / L of the regions are replaced.

    Regions do not overlap; those at the right and at the bottom may be smaller. One is as hot as its pixels are on
    average. h_0 is the unaltered image, in h_L nothing of it is left. With `region=1` this is deletion. The paper
    inverts the pixels of digits. Quantus agrees point by point for single pixels and a fill given as a number. It takes
    the softmax, always 1 for a single logit, leaves h_0 out, does not divide by L, and its "black" is the smallest
    value of the images.

    Args:
        trial: Rows.
        region: Side of a region in pixels.
        steps: L, steps of (nearly) equal numbers of regions; by default as many as there are regions in a column.
        fill: What replaces a region: `black`, `blur`, the image's `mean` colour, or uniform `noise`.
        space: `pixels`, or the `normalised` tensor.

    Returns:
        (N,) in [0, 1], lower is better, and the curve (N, L + 1).
    """
    size = trial.session.size
    count = region_count(region, size)
    L = _steps(steps, region, size)
    if not isinstance(L, int) or not 1 <= L <= count:
        raise MetricError(f"steps is a number from 1 to the number of regions, {count}, not {steps!r}")
    counts = [math.ceil(count * t / L) for t in range(1, L + 1)]
    h = region_margins(trial, region, counts, fill, space).sigmoid()
    return trial.values(area(h), curve=h)
