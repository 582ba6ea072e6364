"""AOPC."""

from collections.abc import Mapping
from typing import Any

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._curves import Fill, Score, read
from sightline.metrics.faithfulness._regions import region_count, region_margins
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper

_STEPS = 100


def _forwards(settings: Mapping[str, Any], size: tuple[int, int]) -> int:
    return int(settings["steps"] or min(_STEPS, region_count(settings["region"], size)))


@metric(
    "aopc",
    family="faithfulness",
    paper=Paper(
        title="Evaluating the visualization of what a Deep Neural Network has learned",
        authors="Samek et al.",
        year=2015,
        arxiv="1509.06321",
    ),
    summary="Mean drop of the probability while the hottest squares of pixels are replaced one after the other.",
    direction="up",
    range=(-1, 1),
    cost="1 forward pass a step",
    forwards=_forwards,
)
def aopc(
    trial: Trial,
    *,
    region: int = 9,
    steps: int | None = None,
    fill: Fill = "noise",
    score: Score = "probability",
    space: Space = "pixels",
) -> Values:
    """AOPC = 1 / (L + 1) sum_k (f(x_0) - f(x_k)), k = 0 ... L, x_k after the k hottest regions are replaced.

    The term of k = 0 is 0 and stays in the mean. Regions do not overlap; those at the right and at the bottom may be
    smaller. One is as hot as its pixels are on average, where the paper adds up.

    Args:
        trial: Rows.
        region: Side of a region in pixels. The paper has 9, Opti-CAM (arXiv 2301.07002) 14.
        steps: L; by default 100 as in the paper, or as many as there are regions. Opti-CAM has 10.
        fill: What replaces a region: uniform `noise` as in the paper (drawn by image), `black`, `blur` or `mean`.
        score: f, `probability` or `log-odds`; the range then has no end.
        space: `pixels`, or the `normalised` tensor.

    Returns:
        (N,) in [-1, 1] for probabilities, higher is better, and f(x_k) (N, L + 1).
    """
    count = region_count(region, trial.session.size)
    L = steps or min(_STEPS, count)
    if not isinstance(L, int) or not 1 <= L <= count:
        raise MetricError(f"steps is a number from 1 to the number of regions, {count}, not {steps!r}")
    f = read(region_margins(trial, region, range(1, L + 1), fill, space), score)
    return trial.values((f[:, :1] - f).mean(1), curve=f)
