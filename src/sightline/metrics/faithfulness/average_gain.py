"""Average gain."""

import torch.nn.functional as F

from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._soft import masked, odds_ratio
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "average-gain",
    family="faithfulness",
    paper=Paper(
        title="Opti-CAM: Optimizing saliency maps for interpretability",
        authors="Zhang et al.",
        year=2023,
        arxiv="2301.07002",
    ),
    summary="How much of the missing probability comes when the image is multiplied by its map.",
    direction="up",
    range=(0, 1),
    cost="none beside average drop",
    forwards=1,
)
def average_gain(trial: Trial, *, keep: float = 1.0, space: Space = "pixels") -> Values:
    """AG = max(0, p - o) / (1 - o) with o = p(x), p = p(x * S).

    From log-odds m, 1 - p = sigmoid(-m): nothing is divided by a rounded 1 - o.

    Args:
        trial: Rows.
        keep: Share of the hottest pixels that stay.
        space: Where the mask multiplies.

    Returns:
        (N,) in [0, 1], higher is better; undefined where 1 - o is 0 (a classifier with one category).
    """
    o, p = trial.margin(), masked(trial, keep, space)
    return trial.values(odds_ratio(-p, -o), undefined=F.logsigmoid(-o).isneginf())
