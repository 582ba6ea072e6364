"""Intersection over union of a thresholded map with the object."""

from typing import Literal

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.localisation._region import falling, region
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial


@metric(
    "iou",
    family="localisation",
    paper=None,
    summary="Overlap of the hot part of the map with the object.",
    direction="up",
    range=(0, 1),
    needs={"regions"},
)
def iou(trial: Trial, *, rule: Literal["fixed", "area", "best"] = "fixed", threshold: float = 0.5) -> Values:
    """|B and M| / |B or M| (Jaccard 1912) with B = {S >= t max S}.

    Args:
        trial: Rows.
        rule: How B is found. `fixed`: t is `threshold`. `area`: the |M| hottest pixels, of equal ones those that come
            first in the image's random order, so that maps of all contrasts are compared at one size. `best`: the t
            that suits this image best, an upper bound, since it looks at M.
        threshold: t of the rule `fixed`, in (0, 1].

    Returns:
        (N,) in [0, 1], higher is better; an empty map scores 0. Refused where M is empty.
    """
    if not 0 < threshold <= 1:
        raise MetricError(f"threshold is a share of the hottest value, above 0 and at most 1, not {threshold!r}")
    S, M = trial.heat().flatten(1), region(trial)
    if rule == "fixed":
        value = _overlap(threshold * S.amax(1, keepdim=True) <= S, M)
    elif rule == "area":
        value = _overlap(trial.ranks().flatten(1) < M.sum(1, keepdim=True), M)
    elif rule == "best":
        value = _best(*falling(trial), M)
    else:
        raise MetricError(f"rule must be 'fixed', 'area' or 'best', not {rule!r}")
    value[S.amax(1) <= 0] = 0
    return trial.values(value, refused=~M.any(1))


def _overlap(B: Tensor, M: Tensor) -> Tensor:
    return (B & M).sum(1).double() / (B | M).sum(1).clamp(min=1)


def _best(values: Tensor, order: Tensor, M: Tensor) -> Tensor:
    """The largest overlap over all thresholds: B grows by one value of S at a time."""
    inside = M.gather(1, order).cumsum(1).double()
    size = torch.arange(1, M.shape[1] + 1, device=M.device, dtype=torch.float64)
    found = inside / (size + M.sum(1, keepdim=True) - inside)
    whole = torch.ones_like(M)
    whole[:, :-1] = values[:, 1:] < values[:, :-1]  # equally hot pixels come together
    return torch.where(whole, found, 0.0).amax(1)
