"""M2: what is highlighted alone."""

import math

from sightline.explainers.masking._options import Space
from sightline.metrics.metric import Values, metric
from sightline.metrics.segmentation._altered import PAPER, drop
from sightline.metrics.trial import Trial


@metric(
    "segmentation-m2",
    family="segmentation",
    paper=PAPER,
    summary="How much of the region's probability goes when only what the map marks is left.",
    direction="down",
    range=(-math.inf, 1),
    cost="1 forward pass",
    forwards=1,
    decisions={"segmentation"},
)
def m2(trial: Trial, *, threshold: float = 0.4, area: float | None = None, space: Space = "pixels") -> Values:
    """M2 = (Y - Y') / Y, Y' from x * B: what is highlighted alone is left.

    All ones score 0, the best that does not rise: read it beside M1 and with `area`. The function of this name in the
    published code computes M3.

    Args:
        trial: Rows, each a `Region`.
        threshold: Of B, a share of the map's largest value.
        area: If given, B is the share `area` of hottest pixels instead.
        space: Where the mask multiplies.

    Returns:
        (N,) at most 1, lower is better, below 0 where the probability rises; undefined where Y is 0.
    """
    value, undefined = drop(trial, "highlighted", threshold, area, space)
    return trial.values(value, undefined=undefined)
