"""Energy-based pointing game against chance."""

import math

import torch

from sightline.metrics.localisation._region import area, region, senseless, share
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "energy-pointing-lift",
    family="localisation",
    paper=Paper(
        title="Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        authors="Wang et al.",
        year=2020,
        arxiv="1910.01279",
    ),
    summary="How many times more heat lies on the object than an even map would put there.",
    direction="up",
    range=(0, math.inf),
    needs={"regions"},
)
def energy_pointing_lift(trial: Trial) -> Values:
    """PE / a with PE = sum_M S / sum S and a the share of the image that M covers.

    Objects of all sizes count on one scale. S is min-max scaled at the method's resolution.

    Returns:
        (N,) in [0, 1 / a], higher is better; 1 is chance. An empty map scores 0. Refused where M is empty or all of
        the image.
    """
    M = region(trial)
    a, refused = area(M), senseless(M)
    value = share(trial.heat(), M) / torch.where(refused, 1.0, a)
    return trial.values(value, refused=refused, chance=torch.ones_like(a))
