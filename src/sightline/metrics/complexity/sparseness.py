"""Sparseness."""

import torch

from sightline.metrics.complexity._energy import At, energies
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "sparseness",
    family="complexity",
    paper=Paper(
        title="Concise Explanations of Neural Networks using Adversarial Training",
        authors="Chalasani et al.",
        year=2020,
        arxiv="1810.06583",
    ),
    summary="How unevenly the heat is spread: the Gini index of the map.",
    direction="up",
    range=(0, 1),
)
def sparseness(trial: Trial, *, at: At = "image") -> Values:
    """Gini = sum_i (2 i - P - 1) a_(i) / (P sum a), a = |S| in rising order, P pixels.

    Quantus adds 1e-7 to each a, which moves maps of small values; on maps of size 1 it agrees.

    Args:
        trial: Rows.
        at: `image`: maps upsampled to the image, as they are shown; `map`: at the method's own resolution. Upsampling
            spreads heat: compare within one resolution.

    Returns:
        (N,) in [0, 1 - 1 / P]: 0 for a flat map, 1 - 1 / P for one hot pixel; undefined for an empty map. It says
        nothing of whether the map is right.
    """
    a = energies(trial, at).sort(1).values
    P = a.shape[1]
    i = torch.arange(1, P + 1, device=a.device, dtype=a.dtype)
    total = a.sum(1)
    value = ((2 * i - P - 1) * a).sum(1) / (P * torch.where(total > 0, total, 1.0))
    return trial.values(value, undefined=total <= 0)
