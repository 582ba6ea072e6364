"""The cycles of `_multigrid`, compiled by Numba: the grids of one image after another stay in the cache of a core.

PyTorch's operators go through memory once each, and take three times as long. Every grid has a border of zeros, so that
no point is a special one. It is compiled once, in seconds, and kept on disk, beside this file or where
`NUMBA_CACHE_DIR` says; Numba does not see a change of `_banded` there.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sightline.metrics.faithfulness._banded import OPTIONS, Array, compiled, factorise, solve
from sightline.metrics.faithfulness._multigrid import BEND, COARSEST, FEWEST, FLOOR, LEFT, MOST, PLAIN, SLOW

_in_any_order = njit(**OPTIONS, fastmath={"contract", "reassoc"})  # sums: as suits vectors
_of_finite = njit(**OPTIONS, fastmath={"nnan", "nsz"})  # maxima: the same
_inlined = njit(inline="always")

_G, _OVER_G, _OVER_D, _OVER_GD, _K, _S, _Z, _T = range(8)  # of a grid, in the letters of `_multigrid`; T under way
_0, _QUARTER, _HALF, _1, _2 = (np.float32(value) for value in (0, 0.25, 0.5, 1, 2))
_BENDS = np.array((BEND, PLAIN), np.float32)
_FLOOR = FLOOR * np.finfo(np.float32).eps


def _kept(function: Callable[..., bool]) -> Callable[..., bool]:
    """Compiled and, with all that it calls, kept on disk; without a folder that can be written, for this process."""
    try:
        return njit(**OPTIONS, fastmath={"contract"}, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        return compiled(function)  # type: ignore[no-any-return]


def fill(images: Tensor, holes: Tensor, accuracy: float, out: Tensor) -> bool:
    """`_imputation.fill` of float32 images on a CPU; False if the cycles of an image do not come to an end.

    Images are shared out to as many threads as PyTorch may use; no figure depends on how many these are.
    """
    M, _, H, W = images.shape
    arrays = images.contiguous().numpy(), holes.contiguous().numpy(), out.numpy()
    sides, threads = _sides(H, W), max(1, min(M, torch.get_num_threads()))
    with suppress(OSError):  # compiled once, with nothing to do; it may be that the disk has no room to keep it
        _fill_some(*(a[:0] for a in arrays), sides, accuracy, 0, threads)
    with ThreadPoolExecutor(threads) as pool:
        return all(pool.map(lambda first: _fill_some(*arrays, sides, accuracy, first, threads), range(threads)))


def _sides(H: int, W: int) -> Array:
    """(grids, 2) height and width of each: odd ones, so that outer points of a coarse grid lie on outer fine ones."""
    sides = [(H + 1 - H % 2, W + 1 - W % 2)]
    while len(sides) == 1 or max(sides[-1]) > COARSEST:
        h, w = sides[-1][0] // 2 + 1, sides[-1][1] // 2 + 1
        sides.append((h, w) if max(h, w) <= COARSEST else (h + 1 - h % 2, w + 1 - w % 2))
    return np.array(sides)


@_kept
def _fill_some(images: Array, holes: Array, out: Array, sides: Array, accuracy: float, first: int, step: int) -> bool:
    """Every step-th image, from the first on."""
    M, C, H, W = images.shape
    (h, w), (hc, wc) = sides[0], sides[-1]
    D, fine, row = _diagonals(W, w), np.zeros((3, h + 2, w + 2), np.float32), np.zeros(w + 2, np.float32)
    grids = [np.zeros((8, side[0] + 2, side[1] + 2), np.float32) for side in sides]
    band = np.zeros((hc * wc, wc + 2))
    done = True
    for n in range(first, M, step):
        for y in range(H):
            for x in range(W):
                grids[0][_G, y + 1, x + 1] = holes[n, y, x]
        filled = False
        for attempt in range(2):
            if not filled:
                filled, slowest = True, SLOW if attempt == 0 else 1.0
                _set_up(grids, D, H, _BENDS[attempt], band, row)
                for c in range(C):
                    filled &= _fill_one(images[n, c], out[n, c], fine, grids, D, band, row, accuracy, slowest)
        done &= filled
    return done


@compiled
def _fill_one(
    image: Array,
    out: Array,
    fine: Array,
    grids: list[Array],
    D: Array,
    band: Array,
    row: Array,
    accuracy: float,
    slowest: float,
) -> bool:
    """One channel: from the mean of the known pixels, corrected twice on the coarse grids, cycle by cycle."""
    H, W = image.shape
    m, u, v, r = grids[0][_G], fine[0], fine[1], fine[2]
    mean = _mean(image, m)
    if not np.isfinite(mean):
        return False
    for y in range(H):
        for x in range(W):
            u[y + 1, x + 1] = mean if m[y + 1, x + 1] else image[y, x]
    _residual(u, m, D, H, r)
    _add_correction(u, m, _correction(r, grids, band, row, True), row, u)
    v[:] = 0
    floor, change = _FLOOR * _change(u, v), 0.0
    for cycle in range(1, MOST + 1):
        _sweep(u, m, D, H, v)
        _residual(v, m, D, H, r)
        _add_correction(v, m, _correction(r, grids, band, row, False), row, r)
        _sweep(r, m, D, H, v)
        if cycle >= FEWEST - 1:
            last, change = change, _change(u, v)
            if cycle >= FEWEST:
                left = min(max(change / last, LEFT), 1.0) if last > 0 else LEFT
                if change * left <= accuracy * (1 - left) or change <= floor:
                    for y in range(H):
                        for x in range(W):
                            out[y, x] = v[y + 1, x + 1] if m[y + 1, x + 1] else image[y, x]
                    return True
                if left > slowest:
                    return False
        u, v = v, u
    return False


@compiled
def _set_up(grids: list[Array], D: Array, H: int, bends: Array, band: Array, row: Array) -> None:
    """All grids of an image from the holes, g of the finest."""
    g, k = grids[0][_G], grids[0][_K]
    for y in range(1, len(g) - 1):
        d = D[(y > 1) + (y < H)]
        for x in range(1, g.shape[1] - 1):
            weight = g[y, x] * (d[x] - _neighbours(g, y, x))
            k[y, x] = weight - bends[0] * weight * weight / d[x]
    for level in range(1, len(grids)):
        a = grids[level]
        _restrict(grids[level - 1][_G], row, a[_G])
        _restrict(grids[level - 1][_K], row, a[_K])
        h, w = g.shape[0] // 2, g.shape[1] // 2  # more points than these are zeros
        for y in range(h):
            for x in range(w):
                a[_G, y + 1, x + 1] /= _whole(y, h) * _whole(x, w)
        _diagonal(a, bends[1])
        g = a[_G]
    factorise(grids[-1][_G], grids[-1][_T], band)


@compiled
def _diagonal(a: Array, bend: float) -> None:
    """d and what is divided by it, of a grid that has g and k; k is bent for the next one."""
    for y in range(1, a.shape[1] - 1):
        for x in range(1, a.shape[2] - 1):
            g, k = a[_G, y, x], a[_K, y, x]
            d = g * _neighbours(a[_G], y, x) + k
            over = _1 / d if d > _0 else _0
            a[_T, y, x] = d
            a[_OVER_G, y, x] = _1 / g if g > _0 else _0
            a[_OVER_GD, y, x] = g * over
            a[_OVER_D, y, x] = g * g * over
            a[_K, y, x] = k - bend * k * k * over


@compiled
def _correction(r: Array, grids: list[Array], band: Array, row: Array, twice: bool) -> Array:
    """z, about A^-1 P^T r on the first coarse grid: one V-cycle or two."""
    a = grids[1]
    _restrict_scaled(r, row, a, len(grids) > 2)
    _v_cycle(grids, band, row)
    if twice and len(grids) > 2:
        kept = a[_Z].copy()
        for y in range(1, a.shape[1] - 1):
            for x in range(1, a.shape[2] - 1):
                a[_T, y, x] = a[_G, y, x] * kept[y, x] - a[_T, y, x]  # what the last sweep changed
        for y in range(1, a.shape[1] - 1):
            for x in range(1, a.shape[2] - 1):
                a[_S, y, x] = a[_OVER_D, y, x] * _neighbours(a[_T], y, x)
        _v_cycle(grids, band, row)
        for y in range(1, a.shape[1] - 1):
            for x in range(1, a.shape[2] - 1):
                a[_Z, y, x] += kept[y, x]
    z: Array = a[_Z]
    return z


@compiled
def _v_cycle(grids: list[Array], band: Array, row: Array) -> None:
    """From s of the first coarse grid to its z."""
    last = len(grids) - 1
    for level in range(1, last):
        a = grids[level]
        for y in range(1, a.shape[1] - 1):
            for x in range(1, a.shape[2] - 1):
                a[_T, y, x] = a[_G, y, x] * _neighbours(a[_S], y, x)
        _restrict_scaled(a[_T], row, grids[level + 1], level + 1 < last)
    solve(band, grids[last][_S], grids[last][_Z])
    for level in range(last - 1, 0, -1):
        a = grids[level]
        _add_correction(a[_S], a[_G], grids[level + 1][_Z], row, a[_T])
        for y in range(1, a.shape[1] - 1):
            for x in range(1, a.shape[2] - 1):
                swept = a[_S, y, x] + a[_OVER_D, y, x] * _neighbours(a[_T], y, x)
                a[_Z, y, x] = swept * a[_OVER_G, y, x]


@_inlined
def _neighbours(u: Array, y: int, x: int) -> Any:
    """K u at a point."""
    corners = (u[y - 1, x - 1] + u[y - 1, x + 1]) + (u[y + 1, x - 1] + u[y + 1, x + 1])
    return corners + _2 * ((u[y - 1, x] + u[y + 1, x]) + (u[y, x - 1] + u[y, x + 1]))


@compiled
def _sweep(u: Array, m: Array, D: Array, H: int, v: Array) -> None:
    """v = K u / D in the holes, as a change of u: what 1 / D is rounded by would add up over large holes."""
    for y in range(1, len(u) - 1):
        d, over = D[(y > 1) + (y < H)], D[3 + (y > 1) + (y < H)]
        for x in range(1, u.shape[1] - 1):
            v[y, x] = u[y, x] + m[y, x] * over[x] * (_neighbours(u, y, x) - d[x] * u[y, x])


@compiled
def _residual(u: Array, m: Array, D: Array, H: int, r: Array) -> None:
    """r = K u - D u in the holes."""
    for y in range(1, len(u) - 1):
        d = D[(y > 1) + (y < H)]
        for x in range(1, u.shape[1] - 1):
            r[y, x] = m[y, x] * (_neighbours(u, y, x) - d[x] * u[y, x])


@compiled
def _restrict(r: Array, row: Array, s: Array) -> None:
    """s = P^T r, P bilinear interpolation."""
    for y in range(r.shape[0] // 2):
        for x in range(r.shape[1]):
            row[x] = _HALF * (r[2 * y, x] + r[2 * y + 2, x]) + r[2 * y + 1, x]
        for x in range(r.shape[1] // 2):
            s[y + 1, x + 1] = _HALF * (row[2 * x] + row[2 * x + 2]) + row[2 * x + 1]


@compiled
def _restrict_scaled(r: Array, row: Array, a: Array, scaled: bool) -> None:
    """s = P^T r of a grid, over g d unless it is the last."""
    _restrict(r, row, a[_S])
    if scaled:
        for y in range(1, a.shape[1] - 1):
            for x in range(1, a.shape[2] - 1):
                a[_S, y, x] *= a[_OVER_GD, y, x]


@compiled
def _add_correction(u: Array, g: Array, z: Array, row: Array, out: Array) -> None:
    """out = u + g P z."""
    last = u.shape[1] // 2
    for y in range(1, len(u) - 1):
        a, b = (y + 1) // 2, (y + 2) // 2  # the same row where a coarse one lies on this
        for x in range(1, last):
            here, after = z[a, x] + z[b, x], z[a, x + 1] + z[b, x + 1]
            row[2 * x - 1], row[2 * x] = _HALF * here, _QUARTER * (here + after)
        row[2 * last - 1] = _HALF * (z[a, last] + z[b, last])
        for x in range(1, u.shape[1] - 1):
            out[y, x] = u[y, x] + g[y, x] * row[x]


@compiled
def _diagonals(W: int, w: int) -> Array:
    """(6, w + 2) D of rows with none, one and two of the rows beside them inside the image, then 1 / D."""
    D = np.ones((6, w + 2), np.float32)
    for x in range(W):
        beside = (x > 0) + (x < W - 1)
        for rows in range(3):
            D[rows, x + 1] = max(1, 2 * beside + rows * (2 + beside))
            D[3 + rows, x + 1] = _1 / D[rows, x + 1]
    return D


@_inlined
def _whole(x: int, n: int) -> Any:
    """P^T 1 along a side."""
    return _1 if n == 1 else _2 if 0 < x < n - 1 else _1 + _HALF


@_in_any_order
def _mean(image: Array, m: Array) -> np.floating[Any]:
    """The mean of the known pixels."""
    total, known = np.float64(0), np.float64(0)
    for y in range(len(image)):
        some, count = _0, _0
        for x in range(image.shape[1]):
            some += _0 if m[y + 1, x + 1] else image[y, x]
            count += _1 - m[y + 1, x + 1]
        total, known = total + some, known + count
    return np.float32(total / known)


@_of_finite
def _change(u: Array, v: Array) -> np.floating[Any]:
    """The largest in every second row: errors after two sweeps are smooth."""
    largest = _0
    for y in range(1, len(u) - 1, 2):
        for x in range(1, u.shape[1] - 1):
            largest = max(largest, abs(v[y, x] - u[y, x]))
    return largest
