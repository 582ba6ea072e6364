"""The smallest grid of the multigrid solved directly: Cholesky's factors of a banded matrix, compiled by Numba."""

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
compiled = njit(**OPTIONS, fastmath={"contract"})


@compiled
def factorise(g: Array, d: Array, band: Array) -> None:
    """The factor of A z = d z - g K (g z) of a grid (h + 2, w + 2) with a border of zeros.

    Into `band` (h w, w + 2): what is at (i, j) of the lower triangle at (i, i - j), and 1 / the diagonal at (i, 0).
    Points where d is 0 stand alone.
    """
    h, w = g.shape[0] - 2, g.shape[1] - 2
    band[:] = 0
    for y in range(h):
        for x in range(w):
            i, here = y * w + x, g[y + 1, x + 1]
            band[i, 0] = d[y + 1, x + 1] if d[y + 1, x + 1] > 0 else 1.0
            if x > 0:
                band[i, 1] = -2 * here * g[y + 1, x]
            if y > 0:
                band[i, w] = -2 * here * g[y, x + 1]
            if y > 0 and x > 0:
                band[i, w + 1] = -here * g[y, x]
            if y > 0 and x < w - 1:
                band[i, w - 1] = -here * g[y, x + 2]
    for i in range(h * w):
        begin = max(0, i - w - 1)
        for j in range(begin, i):
            for n in range(max(begin, j - w - 1), j):
                band[i, i - j] -= band[i, i - n] * band[j, j - n]
            band[i, i - j] *= band[j, 0]
        for n in range(begin, i):
            band[i, 0] -= band[i, i - n] ** 2
        band[i, 0] = 1 / np.sqrt(band[i, 0])


@compiled
def solve(band: Array, s: Array, z: Array) -> None:
    """z = A^-1 s of the grid."""
    w, points = s.shape[1] - 2, len(band)
    t = np.empty(points)
    for i in range(points):
        t[i] = s[i // w + 1, i % w + 1]
        for j in range(max(0, i - w - 1), i):
            t[i] -= band[i, i - j] * t[j]
        t[i] *= band[i, 0]
    for i in range(points - 1, -1, -1):
        for j in range(i + 1, min(points, i + w + 2)):
            t[i] -= band[j, j - i] * t[j]
        t[i] *= band[i, 0]
        z[i // w + 1, i % w + 1] = t[i]
