"""The generalisation index: how much of what a model's own pixels are worth to it another source's pixels are worth."""

from typing import Any

import numpy as np
import polars as pl

from sightline.studies.generalising.statistics._drawn import LEVEL, RESAMPLES, Gains, differs, gains
from sightline.studies.generalising.statistics.areas import Curves
from sightline.studies.statistics.intervals import Array, divide, ends, none

_SCHEMA = {
    "source": pl.String,
    "kind": pl.String,
    "target": pl.String,
    "area": pl.Float64,
    "area_random": pl.Float64,
    "area_own": pl.Float64,
    "g": pl.Float64,
    "g_low": pl.Float64,
    "g_high": pl.Float64,
    "n": pl.Int64,
    "defined": pl.Boolean,
    "note": pl.String,
    "differs": pl.String,
}


def index(curves: Curves, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0) -> pl.DataFrame:
    """How much of what its own pixels are worth to a model those of another source are worth to it.

        G(s -> t) = [A(s, t) - A(random, t)] / [A(t, t) - A(random, t)]

    A(s, t) is the area under the curve of target t on images masked by source s; see `areas`. 1: the pixels of s serve
    t as well as its own; 0: no better than random ones; below 0: worse; above 1: better than its own. A control's G is
    how much of the gain needs no model at all. The same images count above and below the line; the interval is a
    percentile bootstrap over images. G is undefined where the model's own pixels gain less than 0.01 in area, or a
    gain whose interval reaches 0.

    The index is ours; that pixels which are relevant to one network be shown to another is the question of Crawford,
    Margalit, Grill-Spector and Poltoratski (2020, arXiv 2006.16795).

    Args:
        curves: Of one method, fill, mode and measure, with the control `random`.
        resamples: Of the images.
        level: Of the intervals.
        seed: Of the resamples.

    Returns:
        One row a source and target, by name: source, kind ("model" | "control"), target, area, area_random, area_own
        (each over the images that count), g, g_low, g_high (null where undefined), n (images), defined, note, differs
        (the factors in which the two models differ, "nothing" where there is none, "" for the model itself, null for a
        control).

    Raises:
        InputError: There is no control `random`, or a setting is out of range.
    """
    found = gains(curves, resamples=resamples, level=level, seed=seed)
    g = found.index()
    low, high = ends(found.drawn(resamples, seed).reshape(resamples, -1), level)
    low, high = low.reshape(g.shape), high.reshape(g.shape)
    count = found.there.sum(0)
    sums = np.where(found.there, found.areas, 0.0).sum(0), found.top.sum(0), found.own.sum(0)
    A, top, own = (divide(v, count.astype(np.float64)) for v in sums)
    random = A - top
    lines = [
        _line(found, s, t, (A[s, t], random[s, t], random[s, t] + own[s, t]), (g[s, t], low[s, t], high[s, t]))
        for s in range(g.shape[0])
        for t in range(g.shape[1])
    ]
    return pl.DataFrame(lines, schema=_SCHEMA, orient="row")


def _line(found: Gains, s: int, t: int, under: tuple[Any, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    curves, count = found.curves, int(found.there[:, s, t].sum())
    source, target = curves.sources[s], curves.targets[t]
    note = found.notes[t]
    if not note and count < 2:
        note = "no image has a value for both" if not count else "one image alone has no interval"
    defined = not found.notes[t] and count > 0
    g, low, high = (none(v) if defined else None for v in values)
    if count < 2:
        low, high = None, None
    kind = "model" if s < found.members else "control"
    what = "" if s == t else differs(curves.factors[source], curves.factors[target]) if kind == "model" else None
    areas = tuple(none(v) for v in under)
    return source, kind, target, *areas, g, low, high, count, defined, note, what


def matrix(curves: Curves, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0) -> Array:
    """G between the members, (M, M) by name, source in lines and target in columns; NaN where undefined."""
    found = gains(curves, resamples=resamples, level=level, seed=seed)
    return found.index()[: found.members]
