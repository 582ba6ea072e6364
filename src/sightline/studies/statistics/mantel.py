"""Do two matrices of pairs agree, beyond what relabelling their items would give by chance?"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError

Array = NDArray[np.float64]
Alternative = Literal["greater", "two-sided"]

_LEAST_PAIRS, _CHUNK = 3, 2**22


@dataclass(frozen=True, kw_only=True)
class Mantel:
    """Agreement of two matrices over the same items.

    Attributes:
        rho: Spearman's correlation over pairs, in [-1, 1]; None where it is not defined.
        p: Of the permutation test; None where there is none.
        pairs: Unordered pairs of items for which both matrices have a value.
        permutations: How many relabellings were looked at, the identity among them.
        exact: Whether these were all there are.
        note: Why something is None.
    """

    rho: float | None
    p: float | None
    pairs: int
    permutations: int = 0
    exact: bool = False
    note: str = ""


def mantel(
    a: Array,
    b: Array,
    *,
    permutations: int = 10_000,
    seed: int = 0,
    alternative: Alternative = "greater",
) -> Mantel:
    """Spearman's rho over the pairs i < j of two square matrices, tested by relabelling the items of one of them.

    Pairs that share an item depend on each other, so items are permuted, never pairs: p is the share of relabellings
    pi, the identity among them, with rho(a_ij, b_pi(i)pi(j)) >= rho(a_ij, b_ij) (of absolute values where two-sided).
    Where n! <= permutations all of them are looked at and p is exact. Mantel (1967), Cancer Research 27, 209-220; the
    identity counts because it is as likely as any other (Phipson and Smyth 2010, arXiv 1603.05766).

    Args:
        a: (n, n); a pair's value is the mean of its two entries, or the one that is there. The diagonal is not
            read; NaN is a pair without a value.
        b: (n, n), the same.
        permutations: Relabellings to look at.
        seed: Of the relabellings.
        alternative: `greater`: they agree; `two-sided`: they agree or are opposed.

    Raises:
        InputError: Not two square matrices of one size, an infinite value, or settings out of range.
    """
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.shape != b.shape:
        raise InputError(f"two square matrices of one size are needed, not {a.shape} and {b.shape}")
    if permutations < 1 or alternative not in get_args(Alternative):
        raise InputError(f"permutations must be 1 or more and alternative one of {', '.join(get_args(Alternative))}")
    x, y = symmetric(a), symmetric(b)
    n, (i, j) = len(x), np.triu_indices(len(x), 1)
    both = ~np.isnan(x[i, j]) & ~np.isnan(y[i, j])
    pairs = int(both.sum())
    if pairs < _LEAST_PAIRS:
        return Mantel(rho=None, p=None, pairs=pairs, note=f"fewer than {_LEAST_PAIRS} pairs have a value in both")
    observed = float(rows_rho(x[i, j][None, both], y[i, j][None, both])[0])
    if math.isnan(observed):
        return Mantel(rho=None, p=None, pairs=pairs, note="all pairs have the same value in one of them")
    exact = math.factorial(min(n, 20)) <= permutations
    found = np.concatenate([_drawn(x, y, orders) for orders in orders(n, permutations, seed, exact, len(i))])
    found = np.where(np.isnan(found), 0.0, found)  # a relabelling that leaves nothing to compare says nothing
    least = observed - 1e-12
    extreme = found >= least if alternative == "greater" else np.abs(found) >= abs(observed) - 1e-12
    return Mantel(rho=observed, p=float(extreme.mean()), pairs=pairs, permutations=len(found), exact=exact)


def symmetric(values: Array) -> Array:
    """The mean of a pair's two entries (n, n); where one is NaN, the other one."""
    v: Array = np.asarray(values, dtype=np.float64)
    if np.isinf(v).any():
        raise InputError("a matrix of pairs holds an infinite value; leave the pair out (NaN) instead")
    turned = v.T
    found: Array = np.where(np.isnan(v), turned, np.where(np.isnan(turned), v, (v + turned) / 2))
    return found


def rows_rho(x: Array, y: Array) -> Array:
    """Spearman's correlation (r,) of rows (r, m) or (1, m); equal values share a rank, NaN where a row is constant."""
    from scipy.stats import rankdata

    u, v = (rankdata(values, axis=1) for values in (x, y))
    u, v = (values - values.mean(1, keepdims=True) for values in (u, v))
    scale = np.sqrt((u * u).sum(1) * (v * v).sum(1))
    out: Array = np.full(np.broadcast_shapes(scale.shape, (len(x),)), np.nan)
    np.divide((u * v).sum(1), scale, out=out, where=scale > 0)
    return np.clip(out, -1, 1)


def orders(n: int, permutations: int, seed: int, exact: bool, pairs: int) -> Iterator[NDArray[Any]]:
    """Relabellings (r, n), chunk by chunk; the identity is the first of all."""
    step = max(1, _CHUNK // max(1, pairs))
    if exact:
        everything = itertools.permutations(range(n))
        while chunk := list(itertools.islice(everything, step)):
            yield np.array(chunk)
        return
    generator = np.random.default_rng(seed)
    for start in range(0, permutations, step):
        size = min(step, permutations - start)
        orders = generator.permuted(np.tile(np.arange(n), (size, 1)), axis=1)
        if start == 0:
            orders[0] = np.arange(n)
        yield orders


def _drawn(x: Array, y: Array, orders: NDArray[Any]) -> Array:
    """rho of each relabelling (r,), over the pairs that have a value in both then."""
    i, j = np.triu_indices(len(x), 1)
    values = x[i, j]
    there = ~np.isnan(values)
    moved = y[orders[:, i[there]], orders[:, j[there]]]  # (r, pairs)
    if not np.isnan(moved).any():
        return rows_rho(values[None, there], moved)
    found: Array = np.full(len(orders), np.nan)
    for k, row in enumerate(moved):
        kept = ~np.isnan(row)
        if kept.sum() >= _LEAST_PAIRS:
            found[k] = rows_rho(values[there][None, kept], row[None, kept])[0]
    return found
