"""Mean curves with their intervals, for plots."""

from typing import Any

import numpy as np
import polars as pl

from sightline.studies.generalising.statistics._drawn import LEVEL, RESAMPLES, check
from sightline.studies.generalising.statistics.areas import Curves
from sightline.studies.statistics import wilson
from sightline.studies.statistics.intervals import Array, divide, draws, ends, none

_SCHEMA = {
    "source": pl.String,
    "target": pl.String,
    "level": pl.Float64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
}


def curve_table(curves: Curves, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0) -> pl.DataFrame:
    """Mean of the measure at each level, as it was asked (not turned where pixels are removed).

    Intervals are Wilson's where all values are 0 or 1, as accuracy is, else a percentile bootstrap over images.

    Returns:
        source, target, level (percent of the pixels), value, low, high (null where no image, or for a bootstrap one
        image, has a value), n (images).

    Raises:
        InputError: A setting is out of range.
    """
    check(resamples, level)
    c = curves.canonical()
    y = c.values.reshape(len(c.images), -1)
    there = ~np.isnan(y)
    total, n = np.where(there, y, 0.0), there.sum(0)
    if np.isin(y[there], (0.0, 1.0)).all():
        low, high = _wilson(total.sum(0), n, level)
    else:
        w = there.astype(np.float64)
        low, high = ends(np.concatenate([divide(d @ total, d @ w) for d in draws(len(total), resamples, seed)]), level)
        low, high = (np.where(n > 1, v, np.nan) for v in (low, high))
    value = divide(total.sum(0), n.astype(np.float64))
    cells = [(s, t, float(q)) for s in c.sources for t in c.targets for q in c.levels]
    lines: list[tuple[Any, ...]] = [
        (*cell, none(value[k]), none(low[k]), none(high[k]), int(n[k])) for k, cell in enumerate(cells)
    ]
    return pl.DataFrame(lines, schema=_SCHEMA, orient="row")


def _wilson(successes: Array, trials: Array, level: float) -> tuple[Array, Array]:
    known: dict[tuple[float, int], tuple[float, float]] = {}
    out = np.full((2, len(trials)), np.nan)
    for k, key in enumerate(zip(successes.tolist(), trials.tolist(), strict=True)):
        if key[1]:
            if key not in known:
                known[key] = wilson(*key, level=level)
            out[:, k] = known[key]
    return out[0], out[1]
