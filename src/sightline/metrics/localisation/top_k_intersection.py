"""Top-k intersection."""

import math

import torch

from sightline.errors import MetricError
from sightline.metrics.localisation._region import area, hottest, region, senseless
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "top-k-intersection",
    family="localisation",
    paper=Paper(
        title="Interpretable Semantic Photo Geolocation", authors="Theiner et al.", year=2021, arxiv="2104.14995"
    ),
    summary="How many of the k hottest pixels lie on the object.",
    direction="up",
    range=(0, 1),
    needs={"regions"},
)
def top_k_intersection(trial: Trial, *, k: int | None = None) -> Values:
    """|top k pixels of S in M| / k.

    Equally hot pixels count with the chance to be among the top k.

    Args:
        trial: Rows.
        k: By default a fiftieth of the image, which is 1004 pixels at 224 px (Quantus has 1000 for all sizes).

    Returns:
        (N,) in [0, 1], higher is better; at most |M| / k where the object is smaller than k. An empty map scores 0.
        Refused where M is empty or all of the image. Chance is the share of the image that M covers.
    """
    S, M = trial.heat(), region(trial)
    pixels = math.prod(trial.session.size)
    k = math.ceil(pixels / 50) if k is None else k
    if not isinstance(k, int) or not 1 <= k <= pixels:
        raise MetricError(f"k is a number of pixels from 1 to {pixels}, not {k!r}")
    value = hottest(trial, M, torch.full((len(S),), k)) / k
    value[S.flatten(1).amax(1) <= 0] = 0
    return trial.values(value, refused=senseless(M), chance=area(M))
