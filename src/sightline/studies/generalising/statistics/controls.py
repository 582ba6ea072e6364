"""A model's own pixels against those that need no model: is there anything to generalise at all?"""

from typing import Any

import numpy as np
import polars as pl

from sightline.studies.generalising.statistics._drawn import (
    LEVEL,
    RESAMPLES,
    check,
    drawn_models,
    few,
    interval,
    weighted,
)
from sightline.studies.generalising.statistics.areas import Curves, areas
from sightline.studies.statistics.intervals import divide, draws, none

_SCHEMA = {
    "target": pl.String,
    "control": pl.String,
    "area": pl.Float64,
    "area_own": pl.Float64,
    "excess": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "note": pl.String,
}


def control_table(curves: Curves, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0) -> pl.DataFrame:
    """Area of a model's own masks minus that of each control, on the same images.

    An excess whose interval reaches 0 means that the map tells no more than the control: than the middle of the image,
    than the mean map, than the map of another image or of a random network.

    Args:
        curves: Of one method, fill, mode and measure.
        resamples: Of the images; for the mean over models, of images and models.
        level: Of the intervals.
        seed: Of the resamples.

    Returns:
        target (null: the mean over models), control, area, area_own, excess, low, high (null for one image), n (images,
        or models in the mean), note.

    Raises:
        InputError: A setting is out of range.
    """
    check(resamples, level)
    c = curves.canonical()
    A, m, t = areas(c), len(c.targets), np.arange(len(c.targets))
    own = A[:, t, t]  # (N, T)
    u = drawn_models(m, resamples, seed)
    lines: list[tuple[Any, ...]] = []
    for k, control in enumerate(c.controls, m):
        there = ~np.isnan(own) & ~np.isnan(A[:, k])
        n = there.astype(np.float64)
        first, second = (np.where(there, v, 0.0) for v in (own, A[:, k]))
        excess = divide((first - second).sum(0), n.sum(0))  # (T,)
        drawn = np.concatenate([divide(w @ (first - second), w @ n) for w in draws(len(n), resamples, seed)])
        above, under = (divide(v.sum(0), n.sum(0)) for v in (first, second))
        for j, target in enumerate(c.targets):
            count = int(n[:, j].sum())
            ends = interval(drawn[:, j], level) if count > 1 else (None, None)
            note = "" if count else "no image has a value for both"
            lines.append((target, control, none(under[j]), none(above[j]), none(excess[j]), *ends, count, note))
        good = ~np.isnan(excess)
        if not good.any():
            lines.append((None, control, *[None] * 5, 0, "no model has a value"))
            continue
        ends = interval(weighted(drawn[:, good], u[:, good]), level) if len(c.images) > 1 else (None, None)
        means = (float(v[good].mean()) for v in (under, above, excess))
        lines.append((None, control, *means, *ends, int(good.sum()), few(int(good.sum()))))
    return pl.DataFrame(lines, schema=_SCHEMA, orient="row").sort("target", "control", nulls_last=True)
