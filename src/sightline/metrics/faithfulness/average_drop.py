"""Average drop."""

import torch

from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._soft import masked, odds_ratio
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "average-drop",
    family="faithfulness",
    paper=Paper(
        title="Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks",
        authors="Chattopadhay et al.",
        year=2018,
        arxiv="1710.11063",
    ),
    summary="How much of the probability goes when the image is multiplied by its map.",
    direction="down",
    range=(0, 1),
    cost="1 forward pass a share kept, shared with increase and gain",
    forwards=1,
)
def average_drop(trial: Trial, *, keep: float = 1.0, space: Space = "pixels") -> Values:
    """AD = max(0, o - p) / o with o = p(x), p = p(x * S), the target's probability both times.

    Args:
        trial: Rows.
        keep: Share of the hottest pixels that stay (soft); the others become 0. L-CAM (arXiv 2209.11189) has 1, 0.5
            and 0.15.
        space: Where the mask multiplies: `pixels`, then normalise (L-CAM, Score-CAM), or the `normalised` tensor
            (ADCC, Opti-CAM). It moves the figure a lot.

    Returns:
        (N,) in [0, 1], lower is better; undefined where o is 0. All ones score 0: never rank by it alone.
    """
    o, p = trial.margin(), masked(trial, keep, space)
    return trial.values(odds_ratio(p, o), undefined=torch.isneginf(o))
