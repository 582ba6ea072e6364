"""Does the relevance of one model serve another better than the other way round?"""

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.studies.generalising.statistics._drawn import (
    LEVEL,
    RESAMPLES,
    Gains,
    drawn_models,
    few,
    gains,
    interval,
    weighted,
)
from sightline.studies.generalising.statistics.areas import Curves
from sightline.studies.statistics import holm
from sightline.studies.statistics.intervals import Array, divide

_SCHEMA = {
    "factor": pl.String,
    "a": pl.String,
    "b": pl.String,
    "g_ab": pl.Float64,
    "g_ba": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "note": pl.String,
}


def asymmetry(
    curves: Curves,
    factor: str | None = None,
    *,
    permutations: int = 9999,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """G(a -> b) - G(b -> a): positive where the pixels of a serve b better than those of b serve a.

    Of two models, the interval is a bootstrap over images and p that of t = difference / se with n - 1 degrees of
    freedom, where se is from the images' own shares in the difference (the delta method: G is a ratio of means, and
    image n takes part in it by (top_n - G own_n) / mean own). It says whether *these two* models differ, on images like
    these.

    With a factor, a and b are two of its values and G(a -> b) is the mean over the pairs of a model of each. The
    interval is over images and models, and p the larger of two: that of the resamples, 2 min(P(d* <= 0), P(d* >= 0)),
    which agrees with the interval, and that of relabelling: the models of both values get their values anew, all ways
    where these are few, and |difference| is compared. Relabelling alone would hold for these images only, which may
    by chance favour what the models of one value look at; the resamples alone trust few models too far. It says
    whether *such* models differ on *such* images.

    Args:
        curves: Of one method, fill, mode and measure.
        factor: None for pairs of models, or the name of a factor.
        permutations: Relabellings to look at, where they are not all looked at.
        resamples: Of images, and models.
        level: Of the intervals.
        seed: Of resamples and relabellings.

    Returns:
        factor (null for pairs of models), a, b (a before b by name), g_ab, g_ba, difference, low, high, p, p_holm (over
        all lines; Holm, 1979), note. Null where an index is undefined.

    Raises:
        InputError: There is no control `random`, no such factor, or a setting is out of range.
    """
    found = gains(curves, resamples=resamples, level=level, seed=seed)
    if factor is None:
        lines = _of_models(found, resamples, level, seed)
    else:
        lines = _of_values(found, factor, permutations, resamples, level, seed)
    frame = pl.DataFrame(lines, schema={k: v for k, v in _SCHEMA.items() if k != "p_holm"}, orient="row")
    corrected = holm(frame["p"].cast(pl.Float64).to_numpy())
    return frame.with_columns(p_holm=pl.Series(corrected, dtype=pl.Float64).fill_nan(None)).select(*_SCHEMA)


def _of_models(found: Gains, resamples: int, level: float, seed: int) -> list[tuple[Any, ...]]:
    m, n, names = found.members, len(found.top), found.curves.targets
    G, drawn = found.index()[:m], found.drawn(resamples, seed, sources=m)
    share = divide(found.top[:, :m] - G * found.own[:, :m], found.own[:, :m].mean(0)[None])  # (N, M, M)
    lines: list[tuple[Any, ...]] = []
    for i, j in itertools.combinations(range(m), 2):
        ab, ba = float(G[i, j]), float(G[j, i])
        if math.isnan(ab) or math.isnan(ba):
            why = [names[k] for k, v in ((j, ab), (i, ba)) if math.isnan(v)]
            values = (None if math.isnan(v) else v for v in (ab, ba))
            lines.append((None, names[i], names[j], *values, *[None] * 4, f"no index for {' and '.join(why)}"))
            continue
        low, high = interval(drawn[:, i, j] - drawn[:, j, i], level)
        p = _t_test(ab - ba, share[:, i, j] - share[:, j, i], n)
        lines.append((None, names[i], names[j], ab, ba, ab - ba, low, high, p, ""))
    return lines


def _t_test(difference: float, share: Array, n: int) -> float | None:
    """Two-sided p of a difference whose images take part by `share` (N,), which adds up to 0."""
    from scipy.stats import t

    if n < 2:
        return None
    se = math.sqrt(float((share**2).sum()) / (n - 1) / n)
    if se < 1e-12:  # no image differs
        return 1.0 if abs(difference) < 1e-12 else None
    return float(2 * t.sf(abs(difference) / se, n - 1))


def _of_values(
    found: Gains, factor: str, permutations: int, resamples: int, level: float, seed: int
) -> list[tuple[Any, ...]]:
    from sightline.errors import InputError

    m, names = found.members, found.curves.targets
    if factor not in found.curves.factor_names:
        known = ", ".join(found.curves.factor_names) or "none"
        raise InputError(f"no model has the factor {factor!r}; factors are {known}")
    given = np.array([found.curves.factors[name].get(factor, "-") for name in names])
    usable = np.flatnonzero(found.defined)
    G, drawn = found.index()[:m], found.drawn(resamples, seed, sources=m)
    u = drawn_models(m, resamples, seed)
    lines: list[tuple[Any, ...]] = []
    for a, b in itertools.combinations(sorted(set(given.tolist())), 2):
        A, B = (usable[given[usable] == v] for v in (a, b))
        if not len(A) or not len(B):
            lines.append((factor, a, b, *[None] * 6, "no model of one of them has an index"))
            continue
        w = (u[:, A][:, :, None] * u[:, B][:, None]).reshape(resamples, -1)
        if len(A) == len(B) == 1:
            w = np.ones_like(w)
        gap = (drawn[:, A][:, :, B] - drawn[:, B][:, :, A].transpose(0, 2, 1)).reshape(resamples, -1)
        found_anew = weighted(gap, w)
        low, high = interval(found_anew, level)
        there, back = G[np.ix_(A, B)], G[np.ix_(B, A)].T
        both = np.concatenate([A, B])
        tests = _resampled(found_anew), _relabelled(G[np.ix_(both, both)], len(A), permutations, seed)
        p = None if tests[0] is None or tests[1] is None else max(tests[0], tests[1])
        ab, ba = float(np.nanmean(there)), float(np.nanmean(back))
        lines.append((factor, a, b, ab, ba, float(np.nanmean(there - back)), low, high, p, few(len(both))))
    return lines


def _resampled(drawn: Array) -> float | None:
    """2 min(P(d <= 0), P(d >= 0)) of resamples (r,) that have a value, one more counted for the observed."""
    there = drawn[~np.isnan(drawn)]
    if len(there) < 20:
        return None
    side = min((there <= 1e-12).sum(), (there >= -1e-12).sum())
    return float(min(1.0, 2 * (side + 1) / (len(there) + 1)))


def _relabelled(G: Array, first: int, permutations: int, seed: int) -> float | None:
    """Share of the ways to choose `first` of the models with a |mean of G_st - G_ts| at least the observed one."""
    D, n = G - G.T, len(G)
    if np.isnan(D[~np.eye(n, dtype=bool)]).any():
        return None
    np.fill_diagonal(D, 0.0)
    out = D.sum(1)  # pairs within the chosen cancel: D is antisymmetric
    exact = math.comb(n, first) <= permutations
    chosen = np.array(list(itertools.combinations(range(n), first))) if exact else _drawn(n, first, permutations, seed)
    sums = np.abs(out[chosen].sum(1))
    return float((sums >= abs(out[:first].sum()) - 1e-10).mean())


def _drawn(n: int, first: int, permutations: int, seed: int) -> NDArray[Any]:
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
    order[0] = np.arange(n)
    return order[:, :first]
