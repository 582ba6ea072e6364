"""Average drop in deletion."""

import torch

from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._soft import masked, odds_ratio
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "average-drop-deletion",
    family="faithfulness",
    paper=Paper(
        title="LIFT-CAM: Towards Better Explanations of Class Activation Mapping",
        authors="Jung and Oh",
        year=2021,
        arxiv="2102.05228",
    ),
    summary="How much of the probability goes when what the map marks is taken away.",
    direction="up",
    range=(0, 1),
    cost="1 forward pass",
    forwards=1,
)
def average_drop_deletion(trial: Trial, *, keep: float = 1.0, space: Space = "pixels") -> Values:
    """ADD = max(0, o - p) / o with p = p(x * (1 - S)).

    Args:
        trial: Rows.
        keep: Share of the hottest pixels of which the map is made; the others are 0 in S.
        space: Where the mask multiplies.

    Returns:
        (N,) in [0, 1], higher is better; undefined where o is 0.
    """
    o, p = trial.margin(), masked(trial, keep, space, "removed")
    return trial.values(odds_ratio(p, o), undefined=torch.isneginf(o))
