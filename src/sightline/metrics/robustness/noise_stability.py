"""Stability under noise."""

from sightline.explainers.masking._options import Space
from sightline.metrics._similarity import Reading, Similarity
from sightline.metrics.metric import Values, metric
from sightline.metrics.robustness._altered import Noise
from sightline.metrics.robustness._distance import agreements
from sightline.metrics.trial import Trial


@metric(
    "noise-stability",
    family="robustness",
    paper=None,
    summary="How alike the maps of an image and of the image with noise are.",
    direction="up",
    range=(-1, 1),
    cost="1 explanation a sample",
    forwards=lambda settings, _: int(settings["samples"]),
    needs={"explainer"},
)
def noise_stability(
    trial: Trial,
    *,
    level: float = 0.05,
    samples: int = 5,
    noise: Noise = "gaussian",
    space: Space = "pixels",
    similarity: Similarity = "spearman",
    reading: Reading = "raw",
) -> Values:
    """The mean over d of sim(E(x), E(x + d)), x + d cut off at 0 and 1, for the target that was resolved on x.

    Args:
        trial: Rows.
        level: Standard deviation of Gaussian noise, or largest value of uniform noise.
        samples: How many d are drawn.
        noise: `gaussian` or `uniform`.
        space: Where `level` counts, `pixels` or `normalised`.
        similarity: `spearman`, `pearson`, or `ssim` (of heat maps).
        reading: `raw` maps, or their `energy`.

    Returns:
        (N,), 1 is best; undefined where a map is constant, which no correlation knows. The curve (N, samples) has each
        d's value, NaN where undefined.
    """
    found = agreements(trial, noise, level, samples, space, similarity, reading)
    return trial.values(found.mean(1), undefined=found.isnan().any(1), curve=found)
