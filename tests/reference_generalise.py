"""Slow references of the generalisation study: loops in float64, one formula after the other, nothing shared."""

import itertools
import math

import numpy as np
from scipy.stats import rankdata


def area(y, levels, mode):
    """Trapezoid over the levels, of 1 - y where pixels are removed."""
    y = [1 - v for v in y] if mode == "remove" else list(y)
    if len(levels) == 1:
        return y[0]
    total = sum((y[k] + y[k + 1]) / 2 * (levels[k + 1] - levels[k]) for k in range(len(levels) - 1))
    return total / (levels[-1] - levels[0])


def index(curves, source, target, times=None):
    """G(s -> t) of the images that have all three areas, image n counted times[n] times."""
    names = list(curves.sources)
    s, t, r = names.index(source), list(curves.targets).index(target), names.index("random")
    o = names.index(target)
    top = own = 0.0
    for n in range(len(curves.images)):
        a, b, c = (area(curves.values[n, k, t], curves.levels, curves.mode) for k in (s, o, r))
        if any(math.isnan(v) for v in (a, b, c)):
            continue
        w = 1.0 if times is None else times[n]
        top, own = top + w * (a - c), own + w * (b - c)
    return top / own if own else math.nan


def pairs_that_differ(curves, what):
    """Ordered pairs of different members that differ in exactly these factors."""
    return [
        (a, b)
        for a in sorted(curves.targets)
        for b in sorted(curves.targets)
        if a != b and {f for f in curves.factors[a] if curves.factors[a][f] != curves.factors[b][f]} == set(what)
    ]


def least_squares(y, columns):
    """Coefficients, and the t value of the last one."""
    X = np.stack(columns, axis=1)
    b, _, rank, _ = np.linalg.lstsq(X, y, rcond=None)
    rest = y - X @ b
    variance = rest @ rest / (len(y) - rank)
    error = math.sqrt(variance * np.linalg.pinv(X.T @ X)[-1, -1])
    return b, b[-1] / error


def semi_partialling(y, x, others):
    """Coefficient and two-sided p of x in a regression of y on x and others, over all relabellings of the items."""
    n = len(y)
    off = [(i, j) for i in range(n) for j in range(n) if i != j]
    flat = lambda m: np.array([m[i, j] for i, j in off])  # noqa: E731
    Z = [np.ones(len(off)), *(flat(z) for z in others)]
    b, _ = least_squares(flat(x), [*Z[1:], Z[0]])
    e = flat(x) - np.stack([*Z[1:], Z[0]], axis=1) @ b
    E = np.zeros((n, n))
    for (i, j), v in zip(off, e, strict=True):
        E[i, j] = v
    beta, observed = least_squares(flat(y), [*Z, e])
    extreme = []
    for order in itertools.permutations(range(n)):
        moved = np.array([E[order[i], order[j]] for i, j in off])
        if np.linalg.matrix_rank(np.stack([*Z, moved], axis=1)) <= len(Z):
            extreme.append(False)
            continue
        extreme.append(abs(least_squares(flat(y), [*Z, moved])[1]) >= abs(observed) - 1e-9)
    return beta[-1], float(np.mean(extreme))


def pooled(m, grid):
    """Mean of a map in each cell of a grid, from 1/(grid h) steps, over its length."""
    h, w = m.shape
    out = np.zeros((grid, grid))
    for i in range(grid):
        for j in range(grid):
            total = weight = 0.0
            for y in range(h):
                for x in range(w):
                    dy = max(0.0, min((i + 1) * h / grid, y + 1) - max(i * h / grid, y))
                    dx = max(0.0, min((j + 1) * w / grid, x + 1) - max(j * w / grid, x))
                    total, weight = total + dy * dx * m[y, x], weight + dy * dx
            out[i, j] = total / weight
    return out / math.sqrt((out**2).sum())


def pearson(a, b):
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def spearman(a, b):
    return pearson(rankdata(a.ravel()), rankdata(b.ravel()))


def overlap(a, b, share):
    """Intersection over union of the cells at least as high as the k-th."""
    sets = []
    for m in (a, b):
        k = math.ceil(share / 100 * m.size - 1e-9)
        least = sorted(m.ravel(), reverse=True)[k - 1]
        sets.append({i for i, v in enumerate(m.ravel()) if v >= least})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def ssim(a, b):
    """Mean over windows of 7 x 7, of maps brought to [0, 1] with nothing at a half."""
    a, b = ((m / np.abs(m).max() + 1) / 2 for m in (a, b))
    found = []
    for y in range(a.shape[0] - 6):
        for x in range(a.shape[1] - 6):
            u, v = a[y : y + 7, x : x + 7].ravel(), b[y : y + 7, x : x + 7].ravel()
            c = np.cov(u, v)
            top = (2 * u.mean() * v.mean() + 0.01**2) * (2 * c[0, 1] + 0.03**2)
            found.append(top / ((u.mean() ** 2 + v.mean() ** 2 + 0.01**2) * (c[0, 0] + c[1, 1] + 0.03**2)))
    return float(np.mean(found))
