"""Effective complexity."""

import math

from sightline.errors import MetricError
from sightline.metrics.complexity._energy import At, energies
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "effective-complexity",
    family="complexity",
    paper=Paper(
        title="On quantitative aspects of model interpretability",
        authors="Nguyen and Martinez",
        year=2020,
        arxiv="2007.07584",
    ),
    summary="How many pixels are more than a little hot.",
    direction="down",
    range=(0, math.inf),
)
def effective_complexity(trial: Trial, *, at: At = "image", eps: float = 0.01, share: bool = False) -> Values:
    """#[|S| > eps * max |S|].

    The paper ranks features and counts those that are needed to keep the prediction; this is Quantus' reading of it,
    whose eps is absolute and so depends on the maps' scale.

    Args:
        trial: Rows.
        at: `image`: maps upsampled to the image; `map`: at the method's own resolution.
        eps: Share of the hottest value, in [0, 1), above which a pixel counts.
        share: Divide by the number of pixels.

    Returns:
        (N,) from 0 for an empty map to the number of pixels for a flat one, lower is better.
    """
    if not 0 <= eps < 1:
        raise MetricError(f"eps is a share of the hottest value, from 0 to below 1, not {eps!r}")
    a = energies(trial, at)
    value = (a > eps * a.amax(1, keepdim=True)).double().sum(1)
    return trial.values(value / a.shape[1] if share else value)
