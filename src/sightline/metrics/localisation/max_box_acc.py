"""MaxBoxAcc."""

import numpy as np
import torch
from scipy.ndimage import label as components
from torch import Tensor

from sightline.data.boxes import overlaps
from sightline.errors import MetricError
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "max-box-acc",
    family="localisation",
    paper=Paper(
        title="Evaluating Weakly Supervised Object Localization Methods Right",
        authors="Choe et al.",
        year=2020,
        arxiv="2001.07437",
    ),
    summary="Whether the box around the largest hot part overlaps an object's box.",
    direction="up",
    range=(0, 1),
    needs={"boxes"},
)
def max_box_acc(trial: Trial, *, threshold: float | None = 0.2, overlap: float = 0.5, steps: int = 100) -> Values:
    """BoxAcc(t) = [max over true boxes of IoU(box_t, box) >= overlap], box_t around the largest part of {S >= t max S}.

    MaxBoxAcc is the largest mean of BoxAcc(t) over a *data set*, with one t for all images, which no row can know. So
    the value is BoxAcc at one given t, and its mean is never more than MaxBoxAcc; the curve (N, steps + 1) holds
    IoU(box_t, box) at t = 0, 1 / steps, ..., 1, and from the curves of all rows `best_threshold` finds MaxBoxAcc and
    its t. Find t on other images than those that are reported, or say that you did not.

    A part is a set of pixels that touch, also at corners. The largest one has most pixels, of several it is the first
    from the top; an empty map has no box and the overlap 0. The published code differs in details: it rounds maps to
    256 levels, takes S > t max S, compares areas within outlines, where lines one pixel wide have none, and measures
    boxes one pixel larger.

    Args:
        trial: Rows.
        threshold: t of the value, in [0, 1]; 0.2 is that of Zhou et al. (2016, arXiv 1512.04150). None takes the t
            that suits each row best: more than MaxBoxAcc.
        overlap: IoU from which on a box counts.
        steps: How many thresholds the curve has, less one; the paper has 1000.

    Returns:
        (N,) 0 or 1, higher is better, and the curve. Refused where there is no box.
    """
    if not isinstance(steps, int) or steps < 1 or not 0 < overlap <= 1:
        raise MetricError(f"steps is 1 or more and overlap in (0, 1], not {steps!r} and {overlap!r}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise MetricError(f"threshold is a share of the hottest value, from 0 to 1, not {threshold!r}")
    levels = [step / steps for step in range(steps + 1)]
    curve = trial.once(("box overlaps", steps), lambda: overlap_curves(trial, levels))
    if threshold is None:
        best = curve.amax(1)
    else:
        best = trial.once(("box overlap", threshold), lambda: overlap_curves(trial, [threshold]))[:, 0]
    known = torch.tensor([len(boxes) > 0 for boxes in trial.boxes or ()], dtype=torch.bool)
    return trial.values((best >= overlap).double(), refused=~known, curve=curve)


def best_threshold(curve: Tensor, *, overlap: float = 0.5) -> tuple[float, float]:
    """MaxBoxAcc of a data set, and the threshold in [0, 1] at which it is reached (the lowest, if there are several).

    Args:
        curve: (N, P) IoU of all rows at P evenly spaced thresholds.
        overlap: IoU from which on a box counts.

    Raises:
        MetricError: There are no rows.
    """
    if curve.ndim != 2 or 0 in curve.shape:
        raise MetricError(f"best_threshold takes the curves (N, P) of one row or more, not {tuple(curve.shape)}")
    share = (curve >= overlap).double().mean(0)
    place = int(share.argmax())
    return float(share[place]), place / max(1, curve.shape[1] - 1)


def overlap_curves(trial: Trial, levels: list[float]) -> Tensor:
    """(N, P) float64: the best IoU of the box at each threshold with the row's true boxes; 0 where there is none."""
    found = torch.zeros(len(trial), len(levels), dtype=torch.float64)
    for n, (heat, boxes) in enumerate(zip(trial.heat().cpu().numpy(), trial.boxes or (), strict=True)):
        if len(boxes) and heat.max() > 0:
            guessed = [_largest(heat >= level * heat.max()) for level in levels]
            real = [p for p, box in enumerate(guessed) if box is not None]
            at = torch.tensor([box for box in guessed if box is not None], dtype=torch.float64).reshape(-1, 4)
            found[n, real] = overlaps(at, boxes).amax(1)
    return found


def _largest(hot: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> tuple[int, int, int, int] | None:
    """The box around the largest part of a mask (H, W)."""
    parts, count = components(hot, structure=np.ones((3, 3)))
    if count == 0:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest = parts == sizes.argmax()
    rows, columns = largest.any(1).nonzero()[0], largest.any(0).nonzero()[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
