"""Equivariance to shifts."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MetricError
from sightline.explanation import Explanation
from sightline.metrics._again import explain_again
from sightline.metrics._similarity import Reading, Similarity, check, correlation, ssim
from sightline.metrics.metric import Values, metric
from sightline.metrics.robustness._altered import moved, shifted
from sightline.metrics.trial import Trial


@metric(
    "shift-equivariance",
    family="robustness",
    paper=None,
    summary="How alike the shifted map and the map of the shifted image are.",
    direction="up",
    range=(-1, 1),
    cost="4 explanations",
    forwards=4,
    needs={"explainer"},
)
def shift_equivariance(
    trial: Trial, *, shift: int = 8, similarity: Similarity = "spearman", reading: Reading = "raw"
) -> Values:
    """The mean over four directions of sim(shift E(x), E(shift x)) where the two images overlap.

    The target is the one that was resolved on x; a `Region` moves with its image, and a row whose region leaves the
    image is refused. What comes into view is the mirror image of the edge. Maps are compared at the size of the
    images: those of a coarse layer cannot follow a shift below the layer's stride.

    Args:
        trial: Rows.
        shift: By how many pixels: up, down, left and right.
        similarity: `spearman`, `pearson`, or `ssim` (of heat maps).
        reading: `raw` maps, or their `energy`.

    Returns:
        (N,), 1 is best; undefined where a map is constant. The curve (N, 4) has the directions.
    """
    check(similarity, reading)
    H, W = trial.session.size
    if not isinstance(shift, int) or not 1 <= shift < min(H, W) // 2:
        raise MetricError(
            f"shift is a number of pixels from 1 to below half the image, {min(H, W) // 2}, not {shift!r}"
        )
    before, found = _large(trial.explanation, reading), []
    refused = torch.zeros(len(trial), dtype=torch.bool)
    for down, right in ((-shift, 0), (shift, 0), (0, -shift), (0, shift)):
        targets, gone = moved(trial, lambda mask, by=(down, right): _emptied(mask, *by))  # type: ignore[misc]
        again = explain_again(trial, pixels=shifted(trial.session.pixels, down, right), targets=targets)
        a, b = _overlap(before, -down, -right), _overlap(_large(again, reading), down, right)
        found.append(ssim(a, b) if similarity == "ssim" else correlation(a, b, similarity))
        refused |= gone
    curve = torch.stack(found, 1)
    return trial.values(curve.mean(1), undefined=curve.isnan().any(1), refused=refused, curve=curve)


def _large(explanation: Explanation, reading: Reading) -> Tensor:
    """Maps (N, H, W) at the size of the images."""
    if reading == "energy":
        return explanation.heatmaps()
    return F.interpolate(explanation.maps[:, None], size=explanation.size, mode="bilinear", align_corners=False)[:, 0]


def _overlap(maps: Tensor, down: int, right: int) -> Tensor:
    """What is left of maps (..., H, W) of a shifted image where it shows the unshifted one."""
    H, W = maps.shape[-2:]
    return maps[..., max(down, 0) : H + min(down, 0), max(right, 0) : W + min(right, 0)]


def _emptied(mask: Tensor, down: int, right: int) -> Tensor:
    """A shifted mask, False where something comes into view."""
    out = torch.zeros_like(mask)
    _overlap(out, down, right).copy_(_overlap(mask, -down, -right))
    return out
