"""Is the region more than one of several equal places? An exact permutation test, and its saddlepoint approximation."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MOST = 2**17  # combinations that are counted one by one
_NEAR = 1e-3  # below this |w| the formula is 0/0, and its limit is taken
_LARGEST = 700.0  # exp of more overflows


def permuted(effects: Array) -> float:
    """Two-sided p of "the region's effect is one like those of the controls".

    Under that hypothesis each of an image's 1 + C effects e_i0 (region), e_i1 .. e_iC (controls) could as well have
    been the region's, independently between images. The statistic is T = sum_i d_i0, where
    d_ik = e_ik - mean of the image's other effects; p = 2 min(P(T >= t), P(T <= t)), at most 1.

    Several controls an image make differences that are not symmetric, so a signed-rank test would not hold. Few images
    are counted one by one; for many, P is the saddlepoint approximation of Lugannani and Rice (1980), as Robinson
    (1982) used it for permutation tests: with K(s) = sum_i log mean_k exp(s d_ik), K'(s) = t,
    w = sign(s) sqrt(2 (s t - K(s))), u = s sqrt(K''(s)):  P(T >= t) = 1 - Phi(w) + phi(w) (1 / u - 1 / w).
    It has no seed, and small p, as corrections for many tests need them, keep their relative precision.

    Args:
        effects: (n, 1 + C) float64, the region first; C >= 1.

    Returns:
        p in (0, 1]; 1 where all effects of each image are equal.
    """
    count = effects.shape[1]
    d = effects - (effects.sum(1, keepdims=True) - effects) / (count - 1)
    d = d[np.ptp(d, axis=1) > 1e-12 * max(1.0, float(np.abs(d).max(initial=0)))]  # the others move no sum
    if not len(d):
        return 1.0
    d = d / np.abs(d).max()
    t = float(d[:, 0].sum())
    upper, lower = _tail(d, t), _tail(-d, -t)
    return min(1.0, 2 * min(upper, lower))


def _tail(d: Array, t: float) -> float:
    """P(T >= t)."""
    n, count = d.shape
    if n * math.log(count) <= math.log(_MOST):
        return counted(d, t)
    top = d.max(1)
    if t >= float(top.sum()) - 1e-9 * n:
        return math.exp(float(np.log((d >= top[:, None] - 1e-12).mean(1)).sum()))
    return saddlepoint(d, t)


def counted(d: Array, t: float) -> float:
    """P(T >= t) from all (1 + C)^n combinations."""
    sums = np.zeros(1)
    for row in d:
        sums = (sums[:, None] + row[None]).ravel()
    return float((sums >= t - 1e-9 * len(d)).mean())


def saddlepoint(d: Array, t: float) -> float:
    """P(T >= t) by Lugannani and Rice's formula."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    mean = float(d.mean(1).sum())
    if t <= float(d.min(1).sum()):
        return 1.0

    def slope(s: float) -> float:
        return cumulants(d, s)[1] - t

    if abs(t - mean) > 1e-12 * len(d):
        side, reach = (1.0, 1.0) if t > mean else (-1.0, 1.0)
        while slope(side * reach) * side < 0 and reach < _LARGEST:
            reach *= 2
        s = float(brentq(slope, 0.0, side * reach, xtol=1e-12)) if slope(side * reach) * side > 0 else side * reach
    else:
        s = 0.0
    K, _, variance, third = cumulants(d, s)
    w = math.copysign(math.sqrt(max(0.0, 2 * (s * t - K))), s)
    if abs(w) < _NEAR:
        return float(norm.sf(w) + norm.pdf(w) * -third / (6 * variance**1.5))
    u = s * math.sqrt(variance)
    if abs(u) < _NEAR:  # nearly all images at their largest: Chernoff's bound exp(K(s) - s t) is never too small
        return min(1.0, max(math.exp(K - s * t), 5e-324)) if s > 0 else 1.0
    p = float(norm.sf(w) + norm.pdf(w) * (1 / u - 1 / w))
    return min(1.0, max(p, 5e-324))


def cumulants(d: Array, s: float) -> tuple[float, float, float, float]:
    """K(s) = sum_i log mean_k exp(s d_ik) and its first three derivatives."""
    x = s * d
    top = x.max(1, keepdims=True)
    e = np.exp(x - top)
    total = e.sum(1)
    q = e / total[:, None]
    m = (q * d).sum(1)
    c = d - m[:, None]
    K = float((np.log(total / d.shape[1]) + top[:, 0]).sum())
    return K, float(m.sum()), float((q * c**2).sum()), float((q * c**3).sum())
