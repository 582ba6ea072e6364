"""M3: what is highlighted, and the target; the score."""

import math

from sightline.explainers.masking._options import Space
from sightline.metrics.metric import Values, metric
from sightline.metrics.segmentation._altered import PAPER, drop
from sightline.metrics.trial import Trial


@metric(
    "segmentation-m3",
    family="segmentation",
    paper=PAPER,
    summary="How much of the region's probability goes when only the region and what the map marks are left.",
    direction="down",
    range=(-math.inf, 1),
    cost="1 forward pass",
    forwards=1,
    decisions={"segmentation"},
)
def m3(trial: Trial, *, threshold: float = 0.4, area: float | None = None, space: Space = "pixels") -> Values:
    """M3 = (Y - Y') / Y, Y' from x * (B or T): what is highlighted and the target's pixels are left.

    It asks whether the map marks the context that the target needs. Read it beside `segmentation-m3-entropy`.

    Args:
        trial: Rows, each a `Region`.
        threshold: Of B, a share of the map's largest value.
        area: If given, B is the share `area` of hottest pixels instead.
        space: Where the mask multiplies.

    Returns:
        (N,) at most 1, lower is better, below 0 where the probability rises; undefined where Y is 0.
    """
    value, undefined = drop(trial, "highlighted and target", threshold, area, space)
    return trial.values(value, undefined=undefined)
