"""Do models whose maps are alike also serve each other? Similarity against generalisation, over pairs of models."""

from typing import Any

import numpy as np
import polars as pl

from sightline.errors import InputError
from sightline.studies.generalising.similarity import MEASURES
from sightline.studies.generalising.statistics._drawn import LEVEL, RESAMPLES, drawn_models, few, gains, interval
from sightline.studies.generalising.statistics.alike import alike
from sightline.studies.generalising.statistics.areas import Curves
from sightline.studies.statistics.intervals import Array
from sightline.studies.statistics.mantel import mantel

_SCHEMA = {
    "measure": pl.String,
    "rho": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "permutations": pl.Int64,
    "exact": pl.Boolean,
    "pairs": pl.Int64,
    "models": pl.Int64,
    "note": pl.String,
}


def agreement(
    curves: Curves,
    rows: pl.DataFrame,
    method: str | None = None,
    *,
    permutations: int = 10_000,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """Spearman's rho over pairs of models between the similarity of their maps and (G(a -> b) + G(b -> a)) / 2.

    p is two-sided, of a permutation of models (Mantel 1967, Cancer Research 27, 209-220; see `mantel`). The interval is
    over images and models: a resample draws images for both the similarity and the index, and models with weights u,
    in which a pair counts u_a u_b times.

    Args:
        curves: Of one method, fill, mode and measure.
        rows: Of `similarity.rows`.
        method: Label of the method whose rows count; not needed where there is one.
        permutations: Of the models, where they are not all looked at.
        resamples: Of images and models.
        level: Of the intervals.
        seed: Of resamples and permutations.

    Returns:
        measure (with "_raw" where the mean map was not removed), rho, low, high, p, permutations, exact, pairs, models,
        note. Null with a note where fewer than three pairs have both.

    Raises:
        InputError: No such method, a column is missing, or a setting is out of range.
    """
    rows = _of_method(rows, method)
    found = gains(curves, resamples=resamples, level=level, seed=seed)
    m, c = found.members, found.curves
    G, drawn = found.index()[:m], found.drawn(resamples, seed, sources=m)
    u, (i, j) = drawn_models(m, resamples, seed), np.triu_indices(m, 1)
    both_ways, both_drawn = (G + G.T) / 2, ((drawn + drawn.transpose(0, 2, 1)) / 2)[:, i, j]
    has = np.flatnonzero((~np.isnan(both_ways) & ~np.eye(m, dtype=bool)).any(1))  # a model without an index has no pair
    lines: list[tuple[Any, ...]] = []
    for measure in (*MEASURES, *(f"{name}_raw" for name in MEASURES)):
        kept = alike(rows, measure, c.targets, c.images)
        S = kept.mean()
        some = (values[np.ix_(has, has)] for values in (S, both_ways))
        test = mantel(*some, permutations=permutations, seed=seed, alternative="two-sided")
        there = ~np.isnan(S[i, j]) & ~np.isnan(both_ways[i, j])
        low, high, models = None, None, len(set(i[there]) | set(j[there]))
        if test.rho is not None:
            moved = kept.drawn(resamples, seed)[:, i, j][:, there]
            low, high = interval(_rho(moved, both_drawn[:, there], (u[:, i] * u[:, j])[:, there]), level)
        note = test.note or few(models)
        lines.append(
            (measure, test.rho, low, high, test.p, test.permutations or None, test.exact, test.pairs, models, note)
        )
    return pl.DataFrame(lines, schema=_SCHEMA, orient="row")


def _of_method(rows: pl.DataFrame, method: str | None) -> pl.DataFrame:
    if "method" not in rows.columns:
        raise InputError("rows of similarity have no column method")
    known = sorted(rows["method"].unique())
    if method is None and len(known) > 1:
        raise InputError(f"rows are of several methods; say which: {', '.join(known)}")
    if method is not None and method not in known:
        raise InputError(f"no row is of {method!r}; methods are {', '.join(known) or 'none'}")
    return rows if method is None else rows.filter(pl.col("method") == method)


def _rho(a: Array, b: Array, weights: Array) -> Array:
    """Spearman's rho (r,) of a and b (r, p) under weights; NaN where fewer than three pairs are left."""
    w = np.where(np.isnan(a) | np.isnan(b), 0.0, weights)
    x, y = (_ranks(np.nan_to_num(v), w) for v in (a, b))
    total = np.maximum(w.sum(1, keepdims=True), 1e-300)
    x, y = (v - (w * v).sum(1, keepdims=True) / total for v in (x, y))
    scale = np.sqrt((w * x * x).sum(1) * (w * y * y).sum(1))
    out: Array = np.full(len(a), np.nan)
    np.divide((w * x * y).sum(1), scale, out=out, where=(scale > 0) & ((w > 0).sum(1) >= 3))
    return np.clip(out, -1, 1)


def _ranks(values: Array, weights: Array) -> Array:
    """Ranks (r, p) as if each value were there as often as its weight says: the weight below it, and half its own."""
    from scipy.stats import rankdata

    r, p = values.shape
    place = rankdata(values, method="dense", axis=1).astype(int) - 1 + p * np.arange(r)[:, None]
    own = np.bincount(place.ravel(), weights.ravel(), minlength=r * p).reshape(r, p)
    ranks: Array = (own.cumsum(1) - own / 2).ravel()[place]
    return ranks
