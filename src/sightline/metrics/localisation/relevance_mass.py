"""Relevance mass accuracy."""

from sightline.metrics.localisation._region import area, region, senseless, share
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "relevance-mass",
    family="localisation",
    paper=Paper(
        title="CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network explanations",
        authors="Arras et al.",
        year=2020,
        arxiv="2003.07258",
    ),
    summary="How much of the unscaled relevance lies on the object.",
    direction="up",
    range=(0, 1),
    needs={"regions"},
)
def relevance_mass(trial: Trial) -> Values:
    """sum_M R / sum R, R the method's own reading of its raw map (positive part or absolute value), not rescaled.

    On the same non-negative maps Quantus agrees. Without its `abs` it divides by signed sums, which may be near 0.

    Returns:
        (N,) in [0, 1], higher is better; an empty map scores 0. Refused where M is empty or all of the image. Chance
        is the share of the image that M covers.
    """
    M = region(trial)
    return trial.values(share(trial.energy(), M), refused=senseless(M), chance=area(M))
