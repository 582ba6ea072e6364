"""Random logit."""

import functools

import torch

from sightline.errors import MetricError
from sightline.metrics._similarity import Reading, Similarity, check
from sightline.metrics.metric import Values, metric
from sightline.metrics.sanity._others import against, another
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "random-logit",
    family="sanity",
    paper=Paper(
        title="When Explanations Lie: Why Many Modified BP Attributions Fail",
        authors="Sixt et al.",
        year=2020,
        arxiv="1912.09818",
    ),
    summary="How alike the maps of the decision and of any other output are.",
    direction="down",
    range=(-1, 1),
    cost="1 explanation a draw",
    forwards=lambda settings, _: int(settings["draws"]),
    needs={"explainer"},
)
def random_logit(
    trial: Trial, *, draws: int = 1, similarity: Similarity = "spearman", reading: Reading = "raw"
) -> Values:
    """The mean over other outputs j of sim(E(x, t), E(x, t_j)), t_j the same question about output j.

    The outputs are drawn without repetition for the image, the same for all methods; an `Attribute` keeps its sign,
    a `Region` its pixels, a `Contrast` its b. With one draw it equals Quantus' RandomLogit for
    the same output and correlation; the window of its SSIM slides along the flattened map, here over the plane.

    Args:
        trial: Rows.
        draws: How many other outputs.
        similarity: `spearman`, `pearson`, or `ssim` (of heat maps).
        reading: `raw` maps, or their `energy`.

    Returns:
        (N,), lower is better; undefined where a map is constant; refused where there is no other output (a single
        logit: see `class-swap`) and for `Similarity`. The curve (N, draws) has each output's value.
    """
    check(similarity, reading)
    if not isinstance(draws, int) or isinstance(draws, bool) or draws < 1:
        raise MetricError(f"draws is a number of other outputs from 1, not {draws!r}")
    found = [against(trial, functools.partial(another, trial, draw=draw), similarity, reading) for draw in range(draws)]
    curve = torch.stack([values for values, _ in found], 1)
    return trial.values(curve.mean(1), undefined=curve.isnan().any(1), refused=found[0][1], curve=curve)
