"""ROAD in both orders."""

from collections.abc import Sequence

from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._road import NOISE, PERCENTAGES, both_orders, road_margins
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "road-combined",
    family="faithfulness",
    paper=Paper(
        title="A Consistent and Efficient Evaluation Strategy for Attribution Methods",
        authors="Rong et al.",
        year=2022,
        arxiv="2202.00449",
    ),
    summary="How much more the hottest pixels matter than the coldest, filled from their neighbours.",
    direction="up",
    range=(-0.5, 0.5),
    cost="2 forward passes and 2 imputations a percentage, shared with road",
    forwards=both_orders,
)
def road_combined(
    trial: Trial,
    *,
    percentages: Sequence[float] = PERCENTAGES,
    noise: float = NOISE,
    space: Space = "pixels",
) -> Values:
    """Mean over q of (LeRF(q) - MoRF(q)) / 2, the probabilities without the coldest and without the hottest q %.

    The form is pytorch-grad-cam's. A map of random numbers scores 0 on average.

    Args:
        trial: Rows.
        percentages: q, from 0 to below 100.
        noise: Standard deviation of the noise, in units of `space`.
        space: `pixels`, or the `normalised` tensor.

    Returns:
        (N,) in [-1/2, 1/2], higher is better, and its terms (N, P).
    """
    lerf, morf = (road_margins(trial, order, percentages, noise, space).sigmoid() for order in ("lerf", "morf"))
    terms = (lerf - morf) / 2
    return trial.values(terms.mean(1), curve=terms)
