"""Stability under compression."""

from sightline.metrics._again import explain_again
from sightline.metrics._similarity import Reading, Similarity, check, compare
from sightline.metrics.metric import Values, metric
from sightline.metrics.robustness._altered import jpeg
from sightline.metrics.trial import Trial


@metric(
    "jpeg-stability",
    family="robustness",
    paper=None,
    summary="How alike the maps of an image and of its JPEG are.",
    direction="up",
    range=(-1, 1),
    cost="1 explanation",
    forwards=1,
    needs={"explainer"},
)
def jpeg_stability(
    trial: Trial, *, quality: int = 50, similarity: Similarity = "spearman", reading: Reading = "raw"
) -> Values:
    """sim(E(x), E(jpeg(x))) for the target that was resolved on x.

    Args:
        trial: Rows.
        quality: Of the JPEG, from 1 to 95; colours at half the resolution.
        similarity: `spearman`, `pearson`, or `ssim` (of heat maps).
        reading: `raw` maps, or their `energy`.

    Returns:
        (N,), 1 is best; undefined where a map is constant.
    """
    check(similarity, reading)
    again = explain_again(trial, pixels=jpeg(trial.session, quality))
    found = compare(trial.explanation, again, similarity, reading)
    return trial.values(found, undefined=found.isnan())
