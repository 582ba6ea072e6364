"""Max-sensitivity."""

import math

from sightline.explainers.masking._options import Space
from sightline.metrics.metric import Values, metric
from sightline.metrics.robustness._distance import distances
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "max-sensitivity",
    family="robustness",
    paper=Paper(
        title="On the (In)fidelity and Sensitivity of Explanations", authors="Yeh et al.", year=2019, arxiv="1901.09392"
    ),
    summary="How far the map goes, at most, when noise is added that hardly changes the image.",
    direction="down",
    range=(0, math.inf),
    cost="1 explanation a sample",
    forwards=lambda settings, _: int(settings["samples"]),
    needs={"explainer"},
)
def max_sensitivity(
    trial: Trial, *, radius: float = 0.02, samples: int = 10, space: Space = "pixels", scaled: bool = True
) -> Values:
    """SENS = max over d of |E(x + d) - E(x)| / |E(x)|, d uniform in [-radius, radius], x + d cut off at 0 and 1.

    E is the raw map for the target that was resolved on x, |.| the Euclidean norm. A maximum grows with the number of
    samples: compare at one count only. Quantus takes 200 samples at radius 0.2 of the normalised tensor, does not cut
    off and does not scale; on the same noise and with `scaled=False` the values agree.

    Args:
        trial: Rows.
        radius: Largest change of a value of the image.
        samples: How many d are tried.
        space: Where `radius` counts: `pixels` in [0, 1], or the `normalised` tensor (d is then multiplied by the
            standard deviations that the classifier divides by).
        scaled: Give both maps unit length first, so that only their shape counts and the value lies in [0, 2]. A map
            that vanishes under noise then counts 1.

    Returns:
        (N,), lower is better; undefined where the map is 0 everywhere. The curve (N, samples) has each d's value.
        An explanation should change where the answer does: read it beside `probability-shift`. Methods that draw
        random masks for each image draw others for x + d, so that their value holds their own noise as well.
    """
    found = distances(trial, radius, samples, space, scaled)
    zero = trial.explanation.maps.flatten(1).abs().amax(1) == 0
    return trial.values(found.amax(1), undefined=zero, curve=found)
