"""M3: what is highlighted, and the target; the entropy."""

import math
from typing import Literal

import torch

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.metric import Values, metric
from sightline.metrics.segmentation._altered import PAPER, after, before, regions
from sightline.metrics.trial import Trial

_COLUMNS = {"inside": 1, "outside": 2, "all": 3}


@metric(
    "segmentation-m3-entropy",
    family="segmentation",
    paper=PAPER,
    summary="How much less sure the segmentation is when only the region and what the map marks are left.",
    direction="down",
    range=(-math.inf, math.inf),
    cost="none beside M3",
    forwards=1,
    decisions={"segmentation"},
)
def m3_entropy(
    trial: Trial,
    *,
    part: Literal["inside", "outside", "all"] = "all",
    change: Literal["relative", "difference"] = "relative",
    threshold: float = 0.4,
    area: float | None = None,
    space: Space = "pixels",
) -> Values:
    """(E' - E) / E with E the mean over pixels of -(1 / log L) sum_l P^l log P^l, E' from x * (B or T).

    P is the softmax over L classes, or {p, 1 - p} for a single output; 0 log 0 = 0. Low entropy can mean confidently
    wrong: the empty map often has the lowest one on the target's pixels. Never read it without the score, M3. The
    published code keeps only one term of the sum and averages over the ground truth.

    Args:
        trial: Rows, each a `Region`.
        part: Pixels `inside` the target T, `outside` it, or `all`.
        change: `relative` to E, or the `difference` E' - E.
        threshold: Of B, a share of the map's largest value.
        area: If given, B is the share `area` of hottest pixels instead.
        space: Where the mask multiplies.

    Returns:
        (N,), lower is better; undefined where the change is relative to E = 0, refused where T leaves nothing outside
        and this is asked. The curve (N, 6) has E and E' inside, outside and of all pixels.
    """
    if part not in _COLUMNS:
        raise MetricError(f"part must be {' or '.join(map(repr, _COLUMNS))}, not {part!r}")
    if change not in ("relative", "difference"):
        raise MetricError(f"change must be 'relative' or 'difference', not {change!r}")
    one, two = before(trial), after(trial, "highlighted and target", threshold, area, space)
    E, grown = one[:, _COLUMNS[part]], two[:, _COLUMNS[part]] - one[:, _COLUMNS[part]]
    return trial.values(
        grown / E if change == "relative" else grown,
        undefined=(E == 0) & (change == "relative"),
        refused=regions(trial).flatten(1).all(1) & (part == "outside"),
        curve=torch.stack([one[:, 1:], two[:, 1:]], 2).flatten(1),
    )
