"""Complexity of ADCC."""

from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "complexity",
    family="complexity",
    paper=Paper(
        title="Revisiting The Evaluation of Class Activation Mapping for Explainability",
        authors="Poppi et al.",
        year=2021,
        arxiv="2104.10252",
    ),
    summary="The mean of the heat map: how much of the image is marked.",
    direction="down",
    range=(0, 1),
)
def complexity(trial: Trial) -> Values:
    """Com = |S|_1 / (H W), S the heat map in [0, 1] at the image's size.

    Args:
        trial: Rows.

    Returns:
        (N,) in [0, 1], lower is better. An empty map has 0, the best value, and a map of ones 1: read it beside a
        metric of faithfulness, as `adcc` does, never alone.
    """
    return trial.values(trial.heat().double().mean((1, 2)))
