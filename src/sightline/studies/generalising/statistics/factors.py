"""Which factor matters: what it costs the index that two models differ in it, the other factors held."""

from typing import Any

import numpy as np
import polars as pl

from sightline.studies.generalising.statistics._drawn import (
    LEVEL,
    RESAMPLES,
    drawn_models,
    few,
    gains,
    interval,
)
from sightline.studies.generalising.statistics.areas import Curves
from sightline.studies.statistics import holm
from sightline.studies.statistics.intervals import Array
from sightline.studies.statistics.mrqap import mrqap

PERMUTATIONS = 9999
_SCHEMA = {
    "factor": pl.String,
    "effect": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "same": pl.Float64,
    "different": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "permutations": pl.Int64,
    "exact": pl.Boolean,
    "p_least": pl.Float64,
    "rank": pl.Int64,
    "first": pl.Float64,
    "models": pl.Int64,
    "note": pl.String,
}


def factor_effects(
    curves: Curves,
    *,
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pl.DataFrame:
    """What differing in each factor takes off the index.

    A regression over the ordered pairs of models:

        G(s -> t) = a - sum_f effect_f [s and t differ in f] + e

    p is that of a permutation of models (MRQAP with double semi-partialling; see `mrqap`), p_holm corrected for all
    factors that were tested (Holm, 1979). The interval is over images and models, as in `groups`. A model without an
    index is left out as a source too, and the note names it.

    Args:
        curves: Of one method, fill, mode and measure.
        permutations: Of the models, where they are not all looked at.
        resamples: Of images and models.
        level: Of the intervals.
        seed: Of resamples and permutations.

    Returns:
        factor, effect (positive: differing lowers the index), low, high, same and different (plain means of G over
        pairs that are alike in the factor or not), p, p_holm, permutations, exact (all of them), p_least (the least p
        that this family could give, whatever its index: a design of few models cannot give a small one), rank (1: the
        largest |effect|), first (share of resamples in which it is the largest), models, note. Null with a note where
        a factor is the same in all pairs or cannot be told apart from others.

    Raises:
        InputError: There is no control `random`, or a setting is out of range.
    """
    found = gains(curves, resamples=resamples, level=level, seed=seed)
    names, m, whole = found.curves.factor_names, found.members, found.index()
    kept = _complete(whole[:m])
    out = [found.curves.targets[k] for k in range(m) if k not in kept]
    left_out = f"without {', '.join(out)}, which has no index" if out else ""
    factors = [found.curves.factors[found.curves.targets[k]] for k in kept]
    X = {f: np.array([[float(a.get(f) != b.get(f)) for b in factors] for a in factors]) for f in names}
    if len(kept) < 3:
        note = "; ".join(t for t in ("fewer than three models have an index", left_out) if t)
        return pl.DataFrame([(f, *[None] * 12, len(kept), note) for f in names], schema=_SCHEMA, orient="row")
    G = whole[np.ix_(kept, kept)]
    tested = mrqap(G, X, permutations=permutations, seed=seed)
    u = drawn_models(m, resamples, seed)[:, kept]
    drawn = _drawn_effects(found.drawn(resamples, seed, sources=m)[:, kept][:, :, kept], u, X)
    usable = [f for f in names if tested[f].beta is not None]
    ranks, first = _order({f: tested[f].beta or 0.0 for f in usable}, {f: drawn[f] for f in usable})
    corrected = holm([np.nan if (p := tested[f].p) is None else p for f in names])
    lines: list[tuple[Any, ...]] = []
    for k, f in enumerate(names):
        e = tested[f]
        effect = None if e.beta is None else -e.beta
        low, high = interval(drawn[f], level) if effect is not None else (None, None)
        test = (e.p, None if e.p is None else float(corrected[k]), e.permutations or None, e.exact, e.least)
        note = "; ".join(t for t in (e.note, few(len(kept)), left_out) if t)
        place = (ranks.get(f), first.get(f), len(kept), note)
        lines.append((f, effect, low, high, *_means(G, X[f]), *test, *place))
    return pl.DataFrame(lines, schema=_SCHEMA, orient="row")


def _complete(G: Array) -> list[int]:
    """Models to keep so that no pair of them lacks an index; the one with the most gaps goes first."""
    kept = list(range(len(G)))
    missing = np.isnan(G)
    while (gaps := missing[np.ix_(kept, kept)]).any():
        # A target without an index has a column of gaps; it is that model which goes, not its sources.
        worst = np.argmax(gaps.sum(0) + gaps.sum(1) / (len(kept) + 1))
        kept.pop(int(worst))
    return kept


def _means(G: Array, X: Array) -> tuple[float | None, float | None]:
    """Mean of G where X is 0, and where it is 1, off the diagonal; None where there is no such pair."""
    off = ~np.eye(len(G), dtype=bool)
    return tuple(float(G[w].mean()) if (w := off & (x == X)).any() else None for x in (0.0, 1.0))  # type: ignore[return-value]


def _drawn_effects(G: Array, u: Array, X: dict[str, Array]) -> dict[str, Array]:
    """Effects (r,) of each factor in each resample, weighted least squares with u_s u_t; NaN where not defined."""
    n = G.shape[1]
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    D = np.stack([np.ones(len(i)), *(x[i, j] for x in X.values())], axis=1)  # (p, 1 + f)
    y, w = G[:, i, j], u[:, i] * u[:, j]  # (r, p)
    w = np.where(np.isnan(y), 0.0, w)
    y = np.where(w > 0, y, 0.0)
    A = np.einsum("rp,pa,pb->rab", w, D, D, optimize=True)
    inverse = np.linalg.pinv(A, rcond=1e-9, hermitian=True)
    b = np.einsum("rab,pb,rp->ra", inverse, D, w * y, optimize=True)
    certain = inverse @ A  # the line of a coefficient that can be told is that of the identity
    whole = np.abs(certain - np.eye(D.shape[1])).max(2) < 1e-6
    return {f: np.where(whole[:, k], -b[:, k], np.nan) for k, f in enumerate(X, 1)}


def _order(effects: dict[str, float], drawn: dict[str, Array]) -> tuple[dict[str, int], dict[str, float | None]]:
    """Ranks of |effect|, and how often each is the largest in the resamples that have all of them; ties share."""
    if not effects:
        return {}, {}
    size = {f: abs(v) for f, v in effects.items()}
    ranks = {f: 1 + sum(other > v + 1e-12 for other in size.values()) for f, v in size.items()}
    found = np.abs(np.stack(list(drawn.values()), axis=1))  # (r, f)
    found = found[~np.isnan(found).any(1)]
    if not len(found):
        return ranks, dict.fromkeys(effects)
    best = found >= found.max(1, keepdims=True) - 1e-12
    share = (best / best.sum(1, keepdims=True)).mean(0)
    return ranks, dict(zip(effects, map(float, share), strict=True))
