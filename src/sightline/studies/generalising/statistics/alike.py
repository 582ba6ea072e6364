"""How alike the maps of two models are, by pair and by what differs, from the rows of `similarity`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sightline.errors import InputError
from sightline.studies.generalising.similarity import MEASURES
from sightline.studies.generalising.statistics._drawn import (
    LEVEL,
    RESAMPLES,
    check,
    differs,
    drawn_models,
    few,
    interval,
    pairs_by_difference,
    weighted,
)
from sightline.studies.statistics.intervals import Array, divide, draws, ends, none

Factors = Mapping[str, Mapping[str, str]]

_PAIRS = {
    "method": pl.String,
    "measure": pl.String,
    "a": pl.String,
    "b": pl.String,
    "differs": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "raw": pl.Float64,
    "raw_low": pl.Float64,
    "raw_high": pl.Float64,
    "chance": pl.Float64,
    "n": pl.Int64,
}
_GROUPS = {
    "method": pl.String,
    "measure": pl.String,
    "differs": pl.String,
    "pairs": pl.Int64,
    "models": pl.Int64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "raw": pl.Float64,
    "raw_low": pl.Float64,
    "raw_high": pl.Float64,
    "chance": pl.Float64,
    "note": pl.String,
}


@dataclass(frozen=True, eq=False)
class Alike:
    """One column of similarity rows as an array.

    Attributes:
        names: (M,) models, by name.
        values: (N, M, M) symmetric, NaN on the diagonal and where there is no value; images by number.
        images: (N,) their numbers.
    """

    names: tuple[str, ...]
    values: Array
    images: tuple[int, ...]

    def mean(self) -> Array:
        """(M, M) means over the images that have a value."""
        return divide(np.nansum(self.values, 0), (~np.isnan(self.values)).sum(0).astype(np.float64))

    def drawn(self, resamples: int, seed: int) -> Array:
        """(r, M, M) the same of bootstrap resamples of the images."""
        n = len(self.values)
        there = (~np.isnan(self.values)).reshape(n, -1)
        total, count = np.where(there, self.values.reshape(n, -1), 0.0), there.astype(np.float64)
        found = np.concatenate([divide(w @ total, w @ count) for w in draws(n, resamples, seed)])
        return found.reshape(-1, *self.values.shape[1:])


def alike(rows: pl.DataFrame, column: str, names: Sequence[str], images: Sequence[int]) -> Alike:
    """The similarity rows of one method and column, for these models and images.

    Raises:
        InputError: A column is missing.
    """
    wanted = {"model_a", "model_b", "image_index", column}
    if missing := sorted(wanted - set(rows.columns)):
        raise InputError(f"rows of similarity have no column {', '.join(missing)}")
    names, images = sorted(names), sorted(images)
    values = np.full((len(images), len(names), len(names)), np.nan)
    model, image = {m: i for i, m in enumerate(names)}, {n: i for i, n in enumerate(images)}
    found = rows.select(
        *(pl.col(c).replace_strict(model, default=None, return_dtype=pl.Int64) for c in ("model_a", "model_b")),
        pl.col("image_index").replace_strict(image, default=None, return_dtype=pl.Int64),
        pl.col(column).cast(pl.Float64),
    ).drop_nulls()
    a, b, n, v = (found[c].to_numpy() for c in found.columns)
    values[n, a, b] = values[n, b, a] = v
    return Alike(tuple(names), values, tuple(images))


def similarity_pairs(
    rows: pl.DataFrame, factors: Factors, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> pl.DataFrame:
    """Mean similarity over images of the maps of two models, for each method and measure.

    Args:
        rows: Of `similarity.rows`.
        factors: Model -> factor -> value.
        resamples: Of the images.
        level: Of the intervals.
        seed: Of the resamples.

    Returns:
        method, measure, a, b (a before b by name), differs, value, low, high (after removing the mean map), raw,
        raw_low, raw_high (before), chance (between different images, after removing it; null for a measure without),
        n (images). Null where no image has a value; no interval for one image.

    Raises:
        InputError: A column is missing, a model has no factors, or a setting is out of range.
    """
    lines: list[tuple[Any, ...]] = []
    for method, measure, own, raw, chance in _columns(rows, factors, resamples, level):
        n = (~np.isnan(own.values)).sum(0)
        parts = [_with_ends(v, resamples, level, seed) for v in (own, raw)]
        by_chance = None if chance is None else chance.mean()
        for i, j in zip(*np.triu_indices(len(own.names), 1), strict=True):
            a, b = own.names[i], own.names[j]
            numbers = [none(v[i, j]) for part in parts for v in part]
            last = None if by_chance is None else none(by_chance[i, j])
            lines.append((method, measure, a, b, differs(factors[a], factors[b]), *numbers, last, int(n[i, j])))
    return pl.DataFrame(lines, schema=_PAIRS, orient="row")


def similarity_groups(
    rows: pl.DataFrame,
    factors: Factors,
    factor: str | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """Mean similarity of the pairs of models that differ in the same factors; intervals over images and models.

    Args:
        rows: Of `similarity.rows`.
        factors: Model -> factor -> value.
        factor: None: a row for each set of factors that differ. A factor: "same" and "different" in it.
        resamples: Of images and models, as in `groups`.
        level: Of the intervals.
        seed: Of the resamples.

    Returns:
        method, measure, differs, pairs (unordered), models, value, low, high, raw, raw_low, raw_high, chance, note.

    Raises:
        InputError: A column is missing, a model has no factors, no such factor, or a setting is out of range.
    """
    lines: list[tuple[Any, ...]] = []
    for method, measure, own, raw, chance in _columns(rows, factors, resamples, level):
        m = len(own.names)
        u = drawn_models(m, resamples, seed)
        means = [v.mean() for v in (own, raw)]
        drawn = [v.drawn(resamples, seed) for v in (own, raw)]
        by_chance = None if chance is None else chance.mean()
        for group, ordered in pairs_by_difference(own.names, factors, factor).items():
            i, j = ordered[ordered[:, 0] < ordered[:, 1]].T
            good = ~np.isnan(means[0][i, j])
            i, j = i[good], j[good]
            models = len(set(i) | set(j))
            if not len(i):
                lines.append((method, measure, group, 0, 0, *[None] * 7, "no pair of these has a value"))
                continue
            w = u[:, i] * u[:, j] if models > 2 else np.ones((resamples, len(i)))
            numbers: list[float | None] = []
            for mean, found in zip(means, drawn, strict=True):
                ends = interval(weighted(found[:, i, j], w), level) if len(own.images) > 1 else (None, None)
                numbers += [none(_mean(mean[i, j])), *ends]
            last = None if by_chance is None else none(_mean(by_chance[i, j]))
            lines.append((method, measure, group, len(i), models, *numbers, last, few(models)))
    return pl.DataFrame(lines, schema=_GROUPS, orient="row")


def _columns(
    rows: pl.DataFrame, factors: Factors, resamples: int, level: float
) -> list[tuple[str, str, Alike, Alike, Alike | None]]:
    """(method, measure, without the mean map, with it, chance) for every method and measure of the rows."""
    check(resamples, level)
    if "method" not in rows.columns:
        raise InputError("rows of similarity have no column method")
    found = []
    for method in sorted(rows["method"].unique()):
        of_it = rows.filter(pl.col("method") == method)
        names = sorted({*of_it["model_a"], *of_it["model_b"]})
        if unknown := [name for name in names if name not in factors]:
            raise InputError(f"no factors are given for {unknown[0]!r}; an empty mapping will do")
        images = of_it["image_index"].unique().to_list()
        for measure in MEASURES:
            own, raw = (alike(of_it, c, names, images) for c in (measure, f"{measure}_raw"))
            other = f"{measure}_other"
            found.append((method, measure, own, raw, _or_none(of_it, other, names, images)))
    return found


def _or_none(rows: pl.DataFrame, column: str, names: Sequence[str], images: Sequence[int]) -> Alike | None:
    return alike(rows, column, names, images) if column in rows.columns else None


def _with_ends(values: Alike, resamples: int, level: float, seed: int) -> tuple[Array, Array, Array]:
    mean = values.mean()
    low, high = ends(values.drawn(resamples, seed).reshape(resamples, -1), level)
    one = (~np.isnan(values.values)).sum(0) < 2
    low, high = (np.where(one, np.nan, v.reshape(mean.shape)) for v in (low, high))
    return mean, low, high


def _mean(values: Array) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
