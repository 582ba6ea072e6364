"""ROAD."""

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._road import NOISE, PERCENTAGES, Order, road_forwards, road_margins
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


def _forwards(settings: Mapping[str, Any], _: tuple[int, int]) -> int:
    return road_forwards(settings["percentages"])


@metric(
    "road",
    family="faithfulness",
    paper=Paper(
        title="A Consistent and Efficient Evaluation Strategy for Attribution Methods",
        authors="Rong et al.",
        year=2022,
        arxiv="2202.00449",
    ),
    summary="The probability that is left when the hottest pixels are filled from their neighbours.",
    direction="down",
    reversed_by={"order": "lerf"},
    range=(0, 1),
    cost="1 forward pass and 1 imputation a percentage",
    forwards=_forwards,
)
def road(
    trial: Trial,
    *,
    order: Order = "morf",
    percentages: Sequence[float] = PERCENTAGES,
    noise: float = NOISE,
    space: Space = "pixels",
) -> Values:
    """ROAD = mean over q of p(x without q %), where each removed pixel is the weighted mean of its neighbours.

    A pixel beside weighs 1/6, one across a corner 1/12; neighbours outside the image drop out. Removed pixels depend
    on each other, so this is a linear system an image and percentage; it is solved to 1e-3, a quarter of a step of 8
    bits and a tenth of the noise. Noise is added to what was filled, drawn by image and percentage, the same for all
    methods. The paper reports accuracies over a data set where this is the probability of one row's target.

    Args:
        trial: Rows.
        order: `morf` removes the hottest pixels first (lower is better), `lerf` the coldest (higher is better).
        percentages: q, from 0 (the unaltered image, exactly) to below 100. T-TAME (arXiv 2403.04523) has 10, 20, 30,
            40, 50, 70, 90.
        noise: Standard deviation of the noise, in units of `space`.
        space: `pixels`, or the `normalised` tensor (pytorch-grad-cam), where the same noise is about a quarter.

    Returns:
        (N,) in [0, 1], and p at each percentage (N, P).
    """
    p = road_margins(trial, order, percentages, noise, space).sigmoid()
    return trial.values(p.mean(1), curve=p)
