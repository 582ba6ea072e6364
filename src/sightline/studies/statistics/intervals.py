"""Intervals of studies: closed forms for rates, a bootstrap over images for means."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.studies.statistics.means import LEVEL, wilson

Array = NDArray[np.float64]
Interval = tuple[float | None, float | None]

_CHUNK = 2**22
_Z = 1.959963984540054


def rate(wrong: int, n: int) -> tuple[float | None, float | None, float | None]:
    """k / n with Wilson's interval; three times None where n = 0."""
    return (wrong / n, *wilson(wrong, n)) if n else (None, None, None)


def mean_of_rates(first: tuple[int, int], second: tuple[int, int]) -> tuple[float | None, float | None, float | None]:
    """(k1 / n1 + k2 / n2) / 2 of two independent rates, such as a balanced error, with its interval.

    The distances of the ends are those of Wilson's intervals, combined in quadrature (the square-and-add method of
    Newcombe 1998; for linear combinations Zou and Donner 2008). So 0 of 24 is no point, as a bootstrap would have it.
    """
    if not first[1] or not second[1]:
        return None, None, None
    (p, p_low, p_high), (q, q_low, q_high) = (rate(*first), rate(*second))
    assert p is not None and p_low is not None and p_high is not None  # noqa: S101, PT018
    assert q is not None and q_low is not None and q_high is not None  # noqa: S101, PT018
    mean = (p + q) / 2
    down, up = math.hypot(p - p_low, q - q_low) / 2, math.hypot(p_high - p, q_high - q) / 2
    return mean, max(0.0, mean - down), min(1.0, mean + up)


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """The interval of an area under the ROC curve that is no point at 0 or 1: method 5 of Newcombe 2006.

    All t with |auc - t| <= z sqrt(t (1 - t) (1 + (N - 1) (1 - t) / (2 - t) + (N - 1) t / (1 + t)) / (P Q)), where P and
    Q are the counts and N = (P + Q) / 2 (Statistics in Medicine 25, 559-573; the variance is Hanley and McNeil's).
    """
    n = (positives + negatives) / 2

    def outside(t: float) -> bool:
        spread = 1 + (n - 1) * (1 - t) / (2 - t) + (n - 1) * t / (1 + t)
        return abs(auc - t) > _Z * math.sqrt(t * (1 - t) * spread / (positives * negatives))

    def end(far: float) -> float:
        near = auc
        for _ in range(60):
            middle = (far + near) / 2
            far, near = (middle, near) if outside(middle) else (far, middle)
        return near

    return end(0.0), end(1.0)


def draws(n: int, resamples: int, seed: int, strata: "NDArray[Any] | None" = None) -> Iterator[Array]:
    """How often each of n images is in each bootstrap resample, (r, n), chunk by chunk.

    Args:
        n: Images.
        resamples: In all.
        seed: Of the draws.
        strata: (n,) resample within equal values, so that no class or group is lost.
    """
    generator = np.random.default_rng(seed)
    parts = [np.arange(n)] if strata is None else [np.flatnonzero(strata == value) for value in np.unique(strata)]
    step = max(1, _CHUNK // max(1, n))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        found = np.zeros((size, n))
        for part in parts:
            drawn = generator.integers(len(part), size=(size, len(part))) + len(part) * np.arange(size)[:, None]
            times = np.bincount(drawn.ravel(), minlength=size * len(part))  # much faster than a multinomial
            found[:, part] = times.reshape(size, len(part))
        yield found


def divide(a: Array, b: Array) -> Array:
    """a / b, NaN where b is 0."""
    out: Array = np.full(np.broadcast_shapes(a.shape, b.shape), np.nan)
    np.divide(a, b, out=out, where=b != 0)
    return out


def ends(values: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """Lower and upper percentile over those of the resamples (r, c) that have a value; NaN where none has."""
    ranked = np.sort(values, axis=0)  # NaN comes last
    count = (~np.isnan(values)).sum(0)
    found = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        place = share * np.maximum(count - 1, 0)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        pick = np.arange(values.shape[1])
        found.append(ranked[below, pick] + (place - below) * (ranked[above, pick] - ranked[below, pick]))
    return found[0], found[1]


def drawn_ratios(top: Array, bottom: Array, *, resamples: int, seed: int) -> tuple[Array, Array]:
    """Ratios of sums over images: of all of them (c,), and of each bootstrap resample (r, c).

    Args:
        top: (n, c) what is summed over the images above the line.
        bottom: (n, c) and below it.
        resamples: Of the images.
        seed: Of the draws; the same seed and number of images give the same resamples.
    """
    found = np.concatenate([divide(w @ top, w @ bottom) for w in draws(len(top), resamples, seed)])
    return divide(top.sum(0), bottom.sum(0)), found


def ratios(top: Array, bottom: Array, *, resamples: int, seed: int) -> tuple[Array, Array, Array]:
    """Ratios of sums over images with percentile intervals: a mean over a selection is one. See `drawn_ratios`.

    Returns:
        (c,) each: ratio, low, high; NaN where there is nothing below the line, no interval for one image.
    """
    whole, found = drawn_ratios(top, bottom, resamples=resamples, seed=seed)
    low, high = ends(found)
    few = (bottom != 0).sum(0) < 2
    low[few], high[few] = np.nan, np.nan
    return whole, low, high


def paired_difference(first: "NDArray[np.bool_]", second: "NDArray[np.bool_]") -> tuple[float | None, ...]:
    """second - first of two rates on the same n images, with its interval: method 10 of Newcombe 1998.

    From Wilson's intervals of both rates and the correlation phi of the pairs (with his continuity correction); no
    point where no pair differs (Statistics in Medicine 17, 2635-2650).
    """
    n = len(first)
    if not n:
        return None, None, None
    x, y = int(first.sum()), int(second.sum())
    (p, p_low, p_high), (q, q_low, q_high) = ((k / n, *wilson(k, n)) for k in (x, y))
    both = int((first & second).sum())
    only_x, only_y = x - both, y - both
    neither = n - both - only_x - only_y
    product = x * (n - x) * y * (n - y)
    excess = float(both * neither - only_x * only_y)
    if excess > 0:
        excess = max(excess - n / 2, 0)
    phi = excess / math.sqrt(product) if product else 0.0

    def side(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    return q - p, q - p - side(q - q_low, p_high - p), q - p + side(q_high - q, p - p_low)


def none(value: float) -> float | None:
    """NaN as null."""
    return None if math.isnan(value) else float(value)
