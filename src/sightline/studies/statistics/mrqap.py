"""Regression of a matrix of pairs on other matrices of pairs, tested by relabelling the items."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.studies.statistics.mantel import orders

Array = NDArray[np.float64]

_NOTHING_LEFT = 1e-9  # of a predictor's length: what remains of it is rounding


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one predictor says of the response, the others held.

    Attributes:
        beta: The least-squares coefficient; None where it is not defined.
        p: Two-sided, of the permutation test; None where there is none.
        least: The smallest p that any response could have with this design; None without a test.
        permutations: How many relabellings were looked at, the identity among them.
        exact: Whether these were all there are.
        note: Why something is None.
    """

    beta: float | None
    p: float | None
    least: float | None = None
    permutations: int = 0
    exact: bool = False
    note: str = ""


def mrqap(y: Array, predictors: Mapping[str, Array], *, permutations: int = 9999, seed: int = 0) -> dict[str, Effect]:
    """y_ij = a + sum_k b_k X^k_ij + e_ij over ordered pairs i != j, each b_k tested by double semi-partialling.

    Pairs that share an item depend on each other, so no test of pairs holds. For X = X^k and Z, the constant and the
    other predictors: e_X = X - its regression on Z is relabelled, lines and columns alike, to pi(e_X); y is regressed
    on pi(e_X) and Z; p is the share of relabellings pi, the identity among them, whose |t| of pi(e_X) is at least the
    observed one. |t| = |r| sqrt(d / (1 - r^2)) rises with the partial correlation r, which is what is compared. This is
    the permutation that holds its level when predictors are correlated and the response has effects of lines and
    columns (Dekker, Krackhardt and Snijders 2007, Psychometrika 72, 563-581). Where n! is up to five times
    `permutations`, all relabellings are looked at and p is exact.

    Args:
        y: (n, n) response; the diagonal is not read.
        predictors: Name -> (n, n).
        permutations: Relabellings to look at, where they are not all looked at.
        seed: Of the relabellings.

    Returns:
        An `Effect` for each predictor.

    Raises:
        InputError: Matrices of different sizes, or a value off the diagonal that is not finite.
    """
    n = len(y)
    off = ~np.eye(n, dtype=bool)
    for name, values in (("the response", y), *predictors.items()):
        if values.shape != (n, n):
            raise InputError(f"{name} is {values.shape}, not {(n, n)}: all matrices are over the same items")
        if not np.isfinite(values[off]).all():
            raise InputError(f"{name} holds a value that is not finite; leave its items out")
    if permutations < 1:
        raise InputError(f"permutations must be 1 or more, not {permutations}")
    return {name: _effect(y, name, predictors, permutations, seed) for name in predictors}


def _effect(y: Array, name: str, predictors: Mapping[str, Array], permutations: int, seed: int) -> Effect:
    n = len(y)
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    x = predictors[name][i, j]
    others = {k: v[i, j] for k, v in predictors.items() if k != name}
    if not len(x) or (x == x[0]).all():
        return Effect(beta=None, p=None, note="the same in all pairs")
    Q = basis(np.stack([np.ones(len(x)), *others.values()], axis=1))  # (p, k) orthonormal
    e = x - Q @ (Q.T @ x)
    if (e**2).sum() <= _NOTHING_LEFT * ((x - x.mean()) ** 2).sum():
        return Effect(beta=None, p=None, note=f"cannot be told apart from {_alias(x, others)}")
    rest = y[i, j] - Q @ (Q.T @ y[i, j])
    beta = float(e @ rest / (e @ e))
    if n * (n - 1) // 2 <= Q.shape[1] + 1:
        return Effect(beta=beta, p=None, note="too few items for as many predictors: no test")
    if (rest**2).sum() <= 1e-24 * (y[i, j] ** 2).sum():
        return Effect(beta=beta, p=1.0, note="nothing is left that the predictor could say")
    E = np.zeros((n, n))
    E[i, j] = e
    observed, exact = _partial(e[None], rest, Q)[0], math.factorial(min(n, 20)) <= 5 * permutations
    extreme = same = count = 0
    for order in orders(n, permutations, seed, exact, len(i)):
        moved = E[order[:, i], order[:, j]]  # (r, p)
        extreme += int((_partial(moved, rest, Q) >= observed - 1e-10).sum())
        # Relabellings that leave the residual as it is, or turn its sign, cannot be told from the observed.
        same += int((np.minimum(np.abs(moved - e).max(1), np.abs(moved + e).max(1)) < 1e-9).sum())
        count += len(order)
    return Effect(beta=beta, p=extreme / count, least=same / count, permutations=count, exact=exact)


def basis(columns: Array) -> Array:
    """An orthonormal basis (p, k) of the span of columns (p, c), k <= c."""
    u, size, _ = np.linalg.svd(columns, full_matrices=False)
    found: Array = u[:, size > 1e-9 * size[0]]
    return found


def _partial(moved: Array, rest: Array, Q: Array) -> Array:
    """|r| (r,) of lines (r, p) and `rest`, both without Q; 0 where nothing of a line is left."""
    left = moved - (moved @ Q) @ Q.T
    length = np.sqrt((left**2).sum(1))
    there = length > 1e-6 * np.sqrt((moved**2).sum(1))
    out: Array = np.zeros(len(moved))
    np.divide(np.abs(left @ rest), length * np.sqrt((rest**2).sum()), out=out, where=there)
    return out


def _alias(x: Array, others: Mapping[str, Array]) -> str:
    """Which of the others say the same alone, or all of them together."""
    alike = [k for k, v in others.items() if len(v) and abs(_correlation(x, v)) > 1 - 1e-9]
    return " and ".join(alike or others)


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0
