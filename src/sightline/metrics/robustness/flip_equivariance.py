"""Equivariance to mirroring."""

import dataclasses
from typing import Literal

from sightline.errors import MetricError
from sightline.metrics._again import explain_again
from sightline.metrics._similarity import Reading, Similarity, check, compare
from sightline.metrics.metric import Values, metric
from sightline.metrics.robustness._altered import moved
from sightline.metrics.trial import Trial


@metric(
    "flip-equivariance",
    family="robustness",
    paper=None,
    summary="How alike the mirrored map and the map of the mirrored image are.",
    direction="up",
    range=(-1, 1),
    cost="1 explanation",
    forwards=1,
    needs={"explainer"},
)
def flip_equivariance(
    trial: Trial,
    *,
    axis: Literal["horizontal", "vertical"] = "horizontal",
    similarity: Similarity = "spearman",
    reading: Reading = "raw",
) -> Values:
    """sim(flip E(x), E(flip x)) for the target that was resolved on x; a `Region` is mirrored with its image.

    Args:
        trial: Rows.
        axis: `horizontal` swaps left and right, `vertical` top and bottom.
        similarity: `spearman`, `pearson`, or `ssim` (of heat maps).
        reading: `raw` maps, or their `energy`.

    Returns:
        (N,), 1 is best; undefined where a map is constant. A network is no more equivariant than its training and its
        strides made it, so that no method needs to reach 1.
    """
    if axis not in ("horizontal", "vertical"):
        raise MetricError(f"axis must be 'horizontal' or 'vertical', not {axis!r}")
    check(similarity, reading)
    dim = -1 if axis == "horizontal" else -2
    targets, _ = moved(trial, lambda mask: mask.flip(dim))
    again = explain_again(trial, pixels=trial.session.pixels.flip(dim), targets=targets)
    mirrored = dataclasses.replace(trial.explanation, maps=trial.explanation.maps.flip(dim))
    found = compare(mirrored, again, similarity, reading)
    return trial.values(found, undefined=found.isnan())
