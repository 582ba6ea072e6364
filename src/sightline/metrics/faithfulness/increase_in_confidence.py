"""Increase in confidence."""

from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._soft import masked
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "increase-in-confidence",
    family="faithfulness",
    paper=Paper(
        title="Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks",
        authors="Chattopadhay et al.",
        year=2018,
        arxiv="1710.11063",
    ),
    summary="Whether the probability rises when the image is multiplied by its map.",
    direction="up",
    range=(0, 1),
    cost="none beside average drop",
    forwards=1,
)
def increase_in_confidence(trial: Trial, *, keep: float = 1.0, space: Space = "pixels") -> Values:
    """IC = [p > o] with o = p(x), p = p(x * S); compared as log-odds, which do not round to 1.

    Args:
        trial: Rows.
        keep: Share of the hottest pixels that stay.
        space: Where the mask multiplies.

    Returns:
        (N,) 0 or 1, higher is better.
    """
    return trial.values((masked(trial, keep, space) > trial.margin()).double())
