"""M1: the background alone."""

import math

from sightline.explainers.masking._options import Space
from sightline.metrics.metric import Values, metric
from sightline.metrics.segmentation._altered import PAPER, drop
from sightline.metrics.trial import Trial


@metric(
    "segmentation-m1",
    family="segmentation",
    paper=PAPER,
    summary="How much of the region's probability goes when what the map marks is taken away.",
    direction="up",
    range=(-math.inf, 1),
    cost="1 forward pass",
    forwards=1,
    decisions={"segmentation"},
)
def m1(trial: Trial, *, threshold: float = 0.4, area: float | None = None, space: Space = "pixels") -> Values:
    """M1 = (Y - Y') / Y, Y' from x * (1 - B): the background alone is left.

    Y is the mean probability of the class over the target's pixels T, B = [S >= threshold], S the map divided by its
    largest value. All ones and a copy of T win: read it beside these, a random map, M2, and with `area`.

    Args:
        trial: Rows, each a `Region`.
        threshold: Of B, a share of the map's largest value.
        area: If given, B is the share `area` of hottest pixels instead, so that large maps have no advantage.
        space: Where the mask multiplies.

    Returns:
        (N,) at most 1, higher is better, below 0 where the probability rises; undefined where Y is 0.
    """
    value, undefined = drop(trial, "background", threshold, area, space)
    return trial.values(value, undefined=undefined)
