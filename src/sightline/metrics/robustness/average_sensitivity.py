"""Average sensitivity."""

import math

from sightline.explainers.masking._options import Space
from sightline.metrics.metric import Values, metric
from sightline.metrics.robustness._distance import distances
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "average-sensitivity",
    family="robustness",
    paper=Paper(
        title="Evaluating and Aggregating Feature-based Model Explanations",
        authors="Bhatt et al.",
        year=2020,
        arxiv="2005.00631",
    ),
    summary="How far the map goes, on average, when noise is added that hardly changes the image.",
    direction="down",
    range=(0, math.inf),
    cost="none beside max-sensitivity",
    forwards=lambda settings, _: int(settings["samples"]),
    needs={"explainer"},
)
def average_sensitivity(
    trial: Trial, *, radius: float = 0.02, samples: int = 10, space: Space = "pixels", scaled: bool = True
) -> Values:
    """The mean over d of |E(x + d) - E(x)| / |E(x)|, d uniform in [-radius, radius], x + d cut off at 0 and 1.

    A mean does not grow with the number of samples, as a maximum does.

    Args:
        trial: Rows.
        radius: Largest change of a value of the image.
        samples: How many d are drawn; the same as for `max-sensitivity`, whose explanations it shares.
        space: Where `radius` counts, `pixels` or `normalised`.
        scaled: Give both maps unit length first; the value then lies in [0, 2].

    Returns:
        (N,), lower is better; undefined where the map is 0 everywhere. The curve (N, samples) has each d's value.
    """
    found = distances(trial, radius, samples, space, scaled)
    zero = trial.explanation.maps.flatten(1).abs().amax(1) == 0
    return trial.values(found.mean(1), undefined=zero, curve=found)
