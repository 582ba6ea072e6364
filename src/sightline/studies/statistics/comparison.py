"""Which method is better, and is it more than chance? Paired tests, critical differences, resamples won.

All methods see the same images, so differences are taken image by image: this removes the spread between images, which
is usually larger than that between methods.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from sightline.errors import InputError
from sightline.studies.statistics.means import LEVEL, RESAMPLES, Array, sums

_LEAST = 6  # images from which on a signed-rank test can reach p < 0.05
_CHUNK = 2**22  # entries of the matrix of weights that are held at a time


def matrices(rows: pl.DataFrame, statuses: Sequence[str] = ("ok",)) -> dict[tuple[str, str], tuple[list[str], Array]]:
    """(model, metric) -> methods, and mean values an image (images, methods); NaN where nothing counts."""
    found = sums(rows, statuses)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = found.total / found.count
    grouped: dict[tuple[str, str], list[int]] = {}
    for j, (model, _, metric) in enumerate(found.cells):
        grouped.setdefault((model, metric), []).append(j)
    return {key: ([found.cells[j][1] for j in js], values[:, js]) for key, js in grouped.items()}


def compare(
    rows: pl.DataFrame,
    *,
    against: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """Paired comparison of methods on the images on which both have a value.

    The difference is mean(a - b) over images, with a bootstrap interval over images. The test is McNemar's exact one
    where all values are 0 or 1, else Wilcoxon's signed rank (with Pratt's treatment of equal values). `p_holm` is
    corrected for all lines of the result (Holm, 1979).

    Args:
        rows: Tidy rows.
        against: Only pairs whose second method is one of these; by default all pairs.
        resamples: Of the bootstrap.
        level: Of the interval of the difference.
        seed: Of the bootstrap.

    Returns:
        model, metric, a, b, images, difference, low, high, test, p, p_holm. p is null where no test is possible.

    Raises:
        InputError: No rows, or `against` names an unknown method.
    """
    known = set(rows["method"].unique())
    if against is not None and (unknown := sorted(set(against) - known)):
        raise InputError(f"no row is of {unknown[0]!r}; methods are {', '.join(sorted(known))}")
    lines = []
    for (model, metric), (methods, values) in matrices(rows).items():
        pairs = _pairs(methods, against)
        ends = _differences(values, [(methods.index(a), methods.index(b)) for a, b in pairs], resamples, level, seed)
        for (a, b), (low, high) in zip(pairs, ends, strict=True):
            x, y = values[:, methods.index(a)], values[:, methods.index(b)]
            both = ~np.isnan(x) & ~np.isnan(y)
            test, p = _test(x[both], y[both])
            n = int(both.sum())
            difference = float((x[both] - y[both]).mean()) if n else None
            lines.append((model, metric, a, b, n, difference, low, high, test, p))
    names = ("model", "metric", "a", "b", "images", "difference", "low", "high", "test", "p")
    kinds = [pl.String] * 4 + [pl.Int64] + [pl.Float64] * 3 + [pl.String, pl.Float64]
    frame = pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row")
    corrected = holm(frame["p"].to_numpy())
    return frame.with_columns(p_holm=pl.Series(corrected, dtype=pl.Float64).fill_nan(None))


def _pairs(methods: Sequence[str], against: Sequence[str] | None) -> list[tuple[str, str]]:
    if against is None:
        return list(itertools.combinations(methods, 2))
    return [(a, b) for a in methods for b in against if a != b and b in methods and a not in against]


def _differences(
    values: Array, pairs: Sequence[tuple[int, int]], resamples: int, level: float, seed: int
) -> list[tuple[float | None, float | None]]:
    """Intervals of mean differences, each over the images on which both methods have a value."""
    ends = [(1 - level) / 2, (1 + level) / 2]
    alike: dict[int, list[tuple[int, Array]]] = {}
    for place, (i, j) in enumerate(pairs):
        d = values[:, i] - values[:, j]
        alike.setdefault(int((~np.isnan(d)).sum()), []).append((place, d[~np.isnan(d)]))
    found: list[tuple[float | None, float | None]] = [(None, None)] * len(pairs)
    for n, group in alike.items():  # pairs of as many images meet the same resamples
        if n < 2:
            continue
        d, generator = np.stack([d for _, d in group], axis=1), np.random.default_rng(seed)
        step = max(1, _CHUNK // n)
        sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
        draws = [generator.multinomial(n, np.full(n, 1 / n), size=size) @ d / n for size in sizes]
        for (place, _), (low, high) in zip(group, np.quantile(np.concatenate(draws), ends, axis=0).T, strict=True):
            found[place] = (float(low), float(high))
    return found


def _test(x: Array, y: Array) -> tuple[str, float | None]:
    from scipy.stats import wilcoxon

    if len(x) and np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all():
        return "mcnemar", mcnemar(int((x > y).sum()), int((x < y).sum()))
    if len(x) < _LEAST:
        return "none", None
    d = x - y
    if not d.any():
        return "wilcoxon", 1.0
    return "wilcoxon", float(wilcoxon(d, zero_method="pratt").pvalue)


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided McNemar test: of b + c images on which two rates disagree, b favour the first.

    p = min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2); 1 where they never disagree. McNemar (1947).
    """
    from scipy.stats import binom

    return 1.0 if b + c == 0 else min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5)))


def holm(p: Sequence[float] | Array) -> Array:
    """Holm's step-down correction; NaN (no test) stays NaN and is not counted. Holm (1979)."""
    values = np.asarray(p, dtype=np.float64)
    out = np.full(len(values), np.nan)
    good = np.flatnonzero(~np.isnan(values))
    order = good[np.argsort(values[good], kind="stable")]
    scaled = values[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(1, np.maximum.accumulate(scaled)) if len(order) else scaled
    return out


def against_controls(
    rows: pl.DataFrame, controls: Sequence[str], directions: Mapping[str, str], **settings: Any
) -> pl.DataFrame:
    """Whether each method beats each control beyond the interval of the paired difference.

    Args:
        rows: Tidy rows.
        controls: Labels of the controls.
        directions: Metric -> `up` or `down`.
        settings: Those of `compare`.

    Returns:
        model, metric, method, beaten (controls that it beats), not_beaten, and `beats`: whether it beats all of those
        that have a value.
    """
    there = [c for c in controls if c in set(rows["method"].unique())]
    found = compare(rows, against=there, **settings).filter(pl.col("low").is_not_null())
    better = [
        low > 0 if directions[metric] == "up" else high < 0
        for metric, low, high in found.select("metric", "low", "high").iter_rows()
    ]
    marked = found.with_columns(better=pl.Series(better, dtype=pl.Boolean))
    return (
        marked.group_by("model", "metric", method=pl.col("a"), maintain_order=True)
        .agg(beaten=pl.col("b").filter(pl.col("better")), not_beaten=pl.col("b").filter(~pl.col("better")))
        .with_columns(beats=pl.col("not_beaten").list.len() == 0)
        .sort("model", "metric", "method")
    )


def _complete(values: Array, direction: str) -> Array:
    """Images on which every method has a value, turned so that more is better: (images, methods)."""
    whole = values[~np.isnan(values).any(1)]
    return whole if direction == "up" else -whole


def ranking(rows: pl.DataFrame, directions: Mapping[str, str], *, alpha: float = 0.05) -> pl.DataFrame:
    """Average ranks with Nemenyi's critical difference, after Demsar (2006), JMLR 7, section 3.2.

    On each image on which all methods have a value they are ranked, 1 for the best, ties shared. Two methods differ if
    their average ranks do by more than CD = q_alpha sqrt(k (k + 1) / (6 N)), q from the studentised range / sqrt(2).

    Returns:
        model, metric, method, rank, images (N), cd, p (Friedman's test that all are equal), `group` (methods that share
        a letter do not differ). Metrics without two such images or two methods are left out.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    lines = []
    for (model, metric), (methods, values) in matrices(rows).items():
        turned = _complete(values, directions[metric])
        n, k = turned.shape
        if n < 2 or k < 2:
            continue
        ranks = rankdata(-turned, axis=1).mean(0)
        cd = float(studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
        tied = bool((turned == turned[:, :1]).all())
        p = 1.0 if tied else float(friedmanchisquare(*turned.T).pvalue) if k > 2 else _test(*turned.T)[1]
        groups = _groups(ranks, cd)
        lines += [(model, metric, m, float(r), n, cd, p, g) for m, r, g in zip(methods, ranks, groups, strict=True)]
    names = ("model", "metric", "method", "rank", "images", "cd", "p", "group")
    kinds = [pl.String] * 3 + [pl.Float64, pl.Int64, pl.Float64, pl.Float64, pl.String]
    return pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row").sort(
        "model", "metric", "rank", "method"
    )


def _groups(ranks: Array, cd: float) -> list[str]:
    """Letters: the longest runs of methods, in order of rank, whose ends are within the critical difference."""
    order = np.argsort(ranks, kind="stable")
    sorted_ranks, letters = ranks[order], [""] * len(ranks)
    reached, letter = -1, 0
    for first in range(len(order)):
        last = int(np.searchsorted(sorted_ranks, sorted_ranks[first] + cd, side="right")) - 1
        if last > reached:
            for place in order[first : last + 1]:
                letters[place] += _letter(letter)
            reached, letter = last, letter + 1
    return letters


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"({number})"


def wins(
    rows: pl.DataFrame, directions: Mapping[str, str], *, resamples: int = RESAMPLES, seed: int = 0
) -> pl.DataFrame:
    """In which share of bootstrap resamples of the images each method has the best mean; ties share.

    Means are over images on which all methods have a value. A share of 0.6 says that the first place is a toss-up.

    Returns:
        model, metric, method, mean, first (shares, 1 in sum for each model and metric), images.
    """
    lines = []
    for (model, metric), (methods, values) in matrices(rows).items():
        turned = _complete(values, directions[metric])
        n = len(turned)
        if not n:
            continue
        first, generator = np.zeros(len(methods)), np.random.default_rng(seed)
        step = max(1, _CHUNK // n)
        for start in range(0, resamples, step):
            size = min(step, resamples - start)
            means = generator.multinomial(n, np.full(n, 1 / n), size=size) @ turned / n
            best = np.isclose(means, means.max(1, keepdims=True), rtol=1e-12, atol=0)
            first += (best / best.sum(1, keepdims=True)).sum(0)
        means = turned.mean(0) * (1 if directions[metric] == "up" else -1)
        lines += [
            (model, metric, m, float(v), float(s) / resamples, n) for m, v, s in zip(methods, means, first, strict=True)
        ]
    names = ("model", "metric", "method", "mean", "first", "images")
    kinds = [pl.String] * 3 + [pl.Float64, pl.Float64, pl.Int64]
    return pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row").sort(
        "model", "metric", "first", "method", descending=[False, False, True, False]
    )


def agreement(table: pl.DataFrame, directions: Mapping[str, str]) -> pl.DataFrame:
    """Kendall's tau-b between the orders in which two metrics put the methods: what one metric says of another.

    Args:
        table: Of `statistics.table`.
        directions: Metric -> `up` or `down`.

    Returns:
        model, a, b (metrics), tau in [-1, 1] (null where one of them ties all methods), methods (how many).
    """
    from scipy.stats import kendalltau

    lines = []
    for (model,), group in table.group_by("model", maintain_order=True):
        means = group.pivot("metric", index="method", values="mean")
        names = [c for c in means.columns if c != "method"]
        for a, b in itertools.combinations(names, 2):
            both = means.select(a, b).drop_nulls()
            x, y = (both[c].to_numpy() * (1 if directions[c] == "up" else -1) for c in (a, b))
            tau = float(kendalltau(x, y).statistic) if len(both) > 1 else math.nan
            lines.append((model, a, b, tau, len(both)))
    kinds = {"model": pl.String, "a": pl.String, "b": pl.String, "tau": pl.Float64, "methods": pl.Int64}
    return pl.DataFrame(lines, schema=kinds, orient="row").with_columns(pl.col("tau").fill_nan(None))
