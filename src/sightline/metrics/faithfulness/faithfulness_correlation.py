"""Faithfulness correlation."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics._similarity import pearson
from sightline.metrics.faithfulness._curves import Fill, Score, read, substrate
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


def _forwards(settings: Mapping[str, Any], _: tuple[int, int]) -> int:
    return int(settings["sets"])


@metric(
    "faithfulness-correlation",
    family="faithfulness",
    paper=Paper(
        title="Evaluating and Aggregating Feature-based Model Explanations",
        authors="Bhatt et al.",
        year=2020,
        arxiv="2005.00631",
    ),
    summary="Whether the map's sum over random sets of pixels tells what their removal costs.",
    direction="up",
    range=(-1, 1),
    cost="1 forward pass a set",
    forwards=_forwards,
)
def faithfulness_correlation(
    trial: Trial,
    *,
    sets: int = 100,
    count: int | None = None,
    fill: Fill = "black",
    score: Score = "log-odds",
    space: Space = "pixels",
) -> Values:
    """Pearson over random pixel sets of (sum of the raw map in the set, f(x) - f(x without the set)).

    The sets are drawn by image and are the same for all methods. With 100 sets the standard error of a correlation
    near 0 is about 0.1: average over many images. It asks that sums of the map mean something, as relevance and
    gradient x input do; for class activation maps it is a diagnosis only.

    Args:
        trial: Rows.
        sets: How many sets.
        count: Pixels in a set; by default as many as the image has rows (224 of 224 x 224 px, as in Quantus).
        fill: What removed pixels become: `black`, `blur`, `mean` or `noise`.
        score: f; `log-odds` do not saturate and are the logit itself for attributes, or `probability`.
        space: `pixels`, or the `normalised` tensor.

    Returns:
        (N,) in [-1, 1], higher is better. Undefined (not 0) where the map or the drops are constant.
    """
    H, W = trial.session.size
    many = count or H
    if not isinstance(many, int) or not 1 <= many < H * W:
        raise MetricError(f"count is a number of pixels from 1 to {H * W - 1}, not {count!r}")
    if not isinstance(sets, int) or sets < 3:
        raise MetricError(f"sets is 3 or more, for a correlation, not {sets!r}")
    x, other, images = trial.session.inputs(space), substrate(trial.session, fill, space), trial.image
    places = {i: _places(trial, i, sets, many) for i in sorted(set(images.tolist()))}  # (sets, count)

    def make(rows: Tensor, points: Tensor) -> Tensor:
        mine = images[rows.to(images.device)]
        chosen = torch.stack([places[i][p] for i, p in zip(mine.tolist(), points.tolist(), strict=True)])
        gone = torch.zeros(len(rows), H * W, dtype=torch.bool, device=x.device).scatter_(1, chosen.to(x.device), True)
        return torch.where(gone.reshape(-1, 1, H, W), other[mine.to(x.device)], x[mine.to(x.device)])

    odds = trial.margins(sets, make, space=space)
    drops = read(trial.margin(), score)[:, None] - read(odds, score)
    raw = trial.raw().flatten(1).double().cpu()
    sums = torch.stack([raw[n][places[i]].sum(1) for n, i in enumerate(images.tolist())]).to(drops)
    maps = trial.explanation.maps.flatten(1)
    r = pearson(sums, drops).masked_fill((maps.amax(1) == maps.amin(1)).to(drops.device), torch.nan)
    return trial.values(r, undefined=r.isnan())


def _places(trial: Trial, image: int, sets: int, count: int) -> Tensor:
    """(sets, count) pixels of each set of an image."""

    def draw() -> Tensor:
        generator, pixels = trial.session.generator(image, 53), trial.session.size[0] * trial.session.size[1]
        return torch.stack([torch.randperm(pixels, generator=generator)[:count].clone() for _ in range(sets)])

    return trial.session.once(("sets", image, sets, count), draw)
