"""Relevance rank accuracy."""

from sightline.metrics.localisation._region import area, hottest, region, senseless
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "relevance-rank",
    family="localisation",
    paper=Paper(
        title="CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network explanations",
        authors="Arras et al.",
        year=2020,
        arxiv="2003.07258",
    ),
    summary="Of as many hottest pixels as the object has, how many lie on it.",
    direction="up",
    range=(0, 1),
    needs={"regions"},
)
def relevance_rank(trial: Trial) -> Values:
    """|top |M| pixels of S in M| / |M|.

    Equally hot pixels count with the chance to be among the top: a flat map scores exactly chance. Quantus takes
    equals in the order of its sort; where no two values are equal it agrees.

    Returns:
        (N,) in [0, 1], higher is better; an empty map scores 0. Refused where M is empty or all of the image. Chance
        is the share of the image that M covers.
    """
    S, M = trial.heat(), region(trial)
    k = M.sum(1)
    value = hottest(trial, M, k) / k.clamp(min=1)
    value[S.flatten(1).amax(1) <= 0] = 0
    return trial.values(value, refused=senseless(M), chance=area(M))
