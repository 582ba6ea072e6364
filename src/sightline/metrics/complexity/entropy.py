"""Entropy."""

import math

import torch

from sightline.metrics.complexity._energy import At, energies
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "entropy",
    family="complexity",
    paper=Paper(
        title="Evaluating and Aggregating Feature-based Model Explanations",
        authors="Bhatt et al.",
        year=2020,
        arxiv="2005.00631",
    ),
    summary="How many pixels share the heat, as entropy.",
    direction="down",
    range=(0, math.inf),
)
def entropy(trial: Trial, *, at: At = "image", normalised: bool = False) -> Values:
    """-sum P log P with P = |S| / sum |S|, in nats; 0 log 0 is 0.

    Quantus' Complexity is the same but for 1e-12 inside of the logarithm.

    Args:
        trial: Rows.
        at: `image`: maps upsampled to the image; `map`: at the method's own resolution. log 49 is 3.89, log 50176 is
            10.82: compare within one resolution.
        normalised: Divide by the logarithm of the number of pixels, so that a flat map has 1.

    Returns:
        (N,) from 0 for one hot pixel to log(number of pixels) for a flat map; undefined for an empty map.
    """
    a = energies(trial, at)
    total = a.sum(1, keepdim=True)
    P = a / torch.where(total > 0, total, 1.0)
    value = -torch.special.xlogy(P, P).sum(1)
    if normalised:
        value = value / max(math.log(a.shape[1]), torch.finfo(torch.float64).tiny)
    return trial.values(value, undefined=total[:, 0] <= 0)
