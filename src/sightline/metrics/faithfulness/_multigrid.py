"""Holes filled so that every missing pixel is the weighted mean of its neighbours: batched multigrid on the device.

The system is a discrete Laplace equation with the known pixels as its boundary: (D - K) u = 0 in the holes, K the
stencil [1 2 1; 2 0 2; 1 2 1] and D its sum over the neighbours inside the image. A sweep of Jacobi, u = K u / D, leaves
a third of what oscillates; the rest is corrected on a grid of half the size, where the same is done, down to a grid
that is solved directly. Such a V-cycle leaves a sixth to a third of the error, whatever the mask: three are enough.

A coarse grid keeps two numbers a point, both averaged from the finer one: g, the share of missing pixels around, and
k, the weight with which these hang on known ones. Its operator is A z = k z + sum_j g_i g_j K_ij (z_i - z_j), and g = 1
in holes and 0 elsewhere makes it the fine one. In y = g z all levels are one stencil and one diagonal:
(d - K) y = r / g, d = (k + g K g) / g^2. So isolated pixels, stripes and large holes need no cases of their own.
Corrections bend towards known pixels before they reach them, so they hang on them less than k says; a share of k / d is
taken off. Without it a V-cycle leaves half of the error in large holes. Where a hole at an edge of the image begins
on points of all grids, though, such corrections are nearly twice too large, and hardly anything is gained: an image of
which more than SLOW of the change before is left begins anew on grids from which nothing is taken off.

What this costs is memory traffic: images lie in the channel dimension, innermost in memory, where a stencil costs
little more than a copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_AT_ONCE = 16 * 224 * 224  # pixels filled at once on a CPU
_LANES = 16  # channels that a vector of a CPU holds
FEWEST, MOST = 3, 50  # cycles; what was seen is at most 6, and on plain grids 13
LEFT, SLOW = 1 / 3, 0.6  # of a change after the next cycle: at least as is reckoned with, and at most
FLOOR = 8  # roundings of the largest known value: a change that is no change
BEND, PLAIN = (0.3, 0.5), (0.0, 0.0)  # of k / d taken off k: from the image to the next grid, and from there on
COARSEST = 9  # points a side that are solved directly
_ROWS = 2**17  # values that are laid out at once
_K = ((1.0, 2.0, 1.0), (2.0, 0.0, 2.0), (1.0, 2.0, 1.0))
_P = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))


def fill(images: Tensor, holes: Tensor, accuracy: float, out: Tensor) -> bool:
    """`_imputation.fill`; False if the cycles of an image do not come to an end."""
    slow = _tried(images, holes, accuracy, out, BEND)
    if not bool(slow.any()):
        return True
    some = torch.empty_like(out[slow])
    failed = _tried(images[slow], holes[slow], accuracy, some, PLAIN)
    out[slow] = some
    return not bool(failed.any())


def _tried(images: Tensor, holes: Tensor, accuracy: float, out: Tensor, bend: tuple[float, float]) -> Tensor:
    """(M,) the images that were given up."""
    few = max(1, _AT_ONCE // holes[0].numel())
    few = len(images) if images.is_cuda else max(few - few % _LANES, min(few, _LANES))
    parts = [slice(start, start + few) for start in range(0, len(images), few)]
    return torch.cat([_fill(images[some], holes[some], accuracy, out[some], bend) for some in parts])


def _fill(images: Tensor, holes: Tensor, accuracy: float, out: Tensor, bend: tuple[float, float]) -> Tensor:
    """`_tried` of images that go at once; where they fill a vector, channel by channel: caches hold more."""
    M, C, H, W = images.shape
    copies = 1 if M % _LANES == 0 else C  # of every mask
    grids, given_up = _Grids(holes, copies, images.dtype, bend), torch.zeros(M, dtype=torch.bool, device=out.device)
    rows = H if out.is_cuda else max(1, _ROWS // (W * M * copies))  # blocks that a cache holds: they are transposed
    for some, target in zip(torch.split(images, copies, 1), torch.split(out, copies, 1), strict=True):
        known = _stored(some.transpose(0, 1).reshape(1, copies * M, H, W)).mul_(grids.known)
        filled, slow = _cycles(grids, _start(grids, known), known, accuracy, 1 if bend == PLAIN else SLOW)
        given_up |= slow
        u = filled[..., :H, :W].view(copies, M, H, W).transpose(0, 1)
        for row in range(0, H, rows):
            block = slice(row, min(row + rows, H))
            target[:, :, block] = u[:, :, block]
    return given_up


def _start(grids: "_Grids", known: Tensor) -> Tensor:
    """The mean of the known pixels in the holes, corrected on the coarse grids.

    From the mean on, not from 0: what is left to do is then exactly 0 within holes, where roundings would add up.
    """
    mean = known.sum((2, 3), keepdim=True) / grids.known.sum((2, 3), keepdim=True)
    r = grids.neighbours(torch.addcmul(known, grids.known, mean, value=-1)).mul_(grids.m)
    e = grids.coarse(grids.restricted(r), twice=True)
    u = torch.addcmul(known, grids.m, mean, out=r)
    return u.addcmul_(grids.m, grids.prolonged(e, u))


def _cycles(grids: "_Grids", u: Tensor, known: Tensor, accuracy: float, slowest: float) -> tuple[Tensor, Tensor]:
    """V-cycles until what is left is below the accuracy; an image that is done stays as it is.

    Told by the change, and by how much smaller it is than the one before.

    Returns:
        u, and (M,) the images that were given up: more than `slowest` of a change was left, or they went on for ever.
    """
    floor = FLOOR * torch.finfo(u.dtype).eps * grids.of_image(known.abs().amax((2, 3))[0])
    running = slow = torch.zeros_like(floor, dtype=torch.bool)
    change: Tensor | None = None
    for cycle in range(1, MOST + 1):
        before, u = u, grids.cycle(u, known)
        if cycle > FEWEST:
            u = torch.where(running.repeat(grids.copies)[:, None, None], u, before)
        if cycle < FEWEST - 1:
            continue
        last, change = change, grids.of_image(_largest(u, before))
        if last is None:
            continue
        left = (change / last).clamp(LEFT, 1)
        done = (change * left <= accuracy * (1 - left)) | (change <= floor)
        slow = slow | ~(done | (left <= slowest))  # not finite: slow
        running = ~(done | slow) if cycle == FEWEST else running & ~(done | slow)
        if not bool(running.any()):
            return u, slow
    return u, slow | running


def _stored(images: Tensor) -> Tensor:
    """(N, K, h, w) with channels innermost; one more row or column of zeros where their number is even.

    So the points of a coarse grid lie on the first and on the last point of the finer one.
    """
    N, K, h, w = images.shape
    size = (N, K, h + 1 - h % 2, w + 1 - w % 2)
    out = torch.empty(size, dtype=images.dtype, device=images.device, memory_format=torch.channels_last)
    out[..., h:, :], out[..., w:] = 0, 0
    out[..., :h, :w] = images
    return out


def _odd(u: Tensor) -> Tensor:
    """Of odd height and width, by zeros."""
    return u if u.shape[2] % 2 and u.shape[3] % 2 else _stored(u)


def _kernels(K: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Both stencils for each of K channels, (K, 1, 3, 3)."""
    both = torch.tensor((_K, _P), dtype=like.dtype, device=like.device)[:, None, None].repeat(1, K, 1, 1, 1)
    return both[0], both[1]


def _largest(new: Tensor, old: Tensor) -> Tensor:
    """(K,) the largest change of (1, K, h, w) in every second row: errors after two sweeps are smooth.

    In halves, as reductions over outer dimensions are slow.
    """
    t = (new[:, :, ::2] - old[:, :, ::2])[0].permute(1, 2, 0).abs_()
    while len(t) > 1:
        half = (len(t) + 1) // 2
        t = torch.maximum(t[:half], t[-half:])
    return t[0].amax(0)


@dataclass(frozen=True)
class _Level:
    """One grid (1, K, h, w): g, 1 / g, 1 / d and 1 / (g d), in the letters above; 0 at points that no hole touches."""

    g: Tensor
    over_g: Tensor
    over_d: Tensor
    over_gd: Tensor


class _Grids:
    """The grids of M images: their masks are the same for all channels."""

    def __init__(self, holes: Tensor, copies: int, dtype: torch.dtype, bends: tuple[float, float]) -> None:
        self.M, self.copies = len(holes), copies
        m = _stored(holes[None].to(dtype))
        inside = _stored(torch.ones_like(holes[None, :1], dtype=dtype))
        self._K, self._P = _kernels(self.M, m)
        D = F.conv2d(inside, self._K[:1], padding=1)
        k = (D - self.neighbours(m)).mul_(m)
        levels, g, over, bend = [], m, 1 / D.clamp(min=1), bends[0]
        while True:
            k = torch.addcmul(k, k * k, over, value=-bend)
            whole = F.conv2d(torch.ones_like(g[:, :1]), self._P[:1], padding=1, stride=2)
            g, k, bend = self.restricted(g).div_(whole), self.restricted(k), bends[1]
            last = max(g.shape[2:]) <= COARSEST
            if not last:
                g, k = _odd(g), _odd(k)
            d = self.neighbours(g).mul_(g).add_(k)  # times g^2
            over = torch.where(d > 0, 1 / d, 0)
            if last:
                break
            over_gd = over * g
            levels.append((g, torch.where(g > 0, 1 / g, 0), over_gd * g, over_gd))
        self._inverse = self._inverted(g, d)
        d = torch.where(m > 0, D, torch.inf).contiguous(memory_format=torch.channels_last)
        self.m, self.d, self.known = self._copied(m, d, _stored((~holes)[None].to(dtype)))
        self._K, self._P = _kernels(self.M * copies, m)
        self.levels = [_Level(*self._copied(*level)) for level in levels]

    def of_image(self, values: Tensor) -> Tensor:
        """(copies M,) -> (M,) the largest of an image."""
        return values.reshape(self.copies, self.M).amax(0)

    def _copied(self, *values: Tensor) -> Iterator[Tensor]:
        """(1, M, h, w) once for each channel that goes along."""
        return iter(values) if self.copies == 1 else (torch.cat([t] * self.copies, 1) for t in values)

    def _inverted(self, g: Tensor, d: Tensor) -> Tensor:
        """(M, h w, h w) A^-1 of the coarsest grid, in z."""
        points = d[0, 0].numel()
        eye = torch.eye(points, dtype=d.dtype, device=d.device)
        K = F.conv2d(eye.reshape(points, 1, *d.shape[2:]), self._K[:1], padding=1).reshape(points, points)
        g, d = g[0].flatten(1), d[0].flatten(1)
        A = torch.diag_embed(torch.where(d > 0, d, 1)) - g[:, :, None] * g[:, None] * K
        inverse: Tensor = torch.linalg.inv(A)
        return inverse

    def neighbours(self, u: Tensor) -> Tensor:
        """K u."""
        return F.conv2d(u, self._K, padding=1, groups=u.shape[1])

    def restricted(self, r: Tensor) -> Tensor:
        """P^T r, P bilinear interpolation."""
        return F.conv2d(r, self._P, padding=1, stride=2, groups=r.shape[1])

    def prolonged(self, e: Tensor, like: Tensor) -> Tensor:
        """P e."""
        h, w = like.shape[2:]
        return F.conv_transpose2d(e[..., : h // 2 + 1, : w // 2 + 1], self._P, padding=1, stride=2, groups=e.shape[1])

    def cycle(self, u: Tensor, known: Tensor) -> Tensor:
        """One V-cycle of the images: u nearer to the solution."""
        v = self._sweep(u, known)
        # A sweep left D v = K u, so the residual K v - D v is K (v - u).
        r = self.restricted(self.neighbours(v - u).mul_(self.m))
        return self._sweep(v.addcmul_(self.m, self.prolonged(self.coarse(r), v)), known)

    def _sweep(self, u: Tensor, known: Tensor) -> Tensor:
        """K u / D in holes. A division: what 1 / D is rounded by would add up over large holes."""
        v = self.neighbours(u)
        return torch.addcdiv(known, v, self.d, out=v)

    def coarse(self, r: Tensor, level: int = 0, *, twice: bool = False) -> Tensor:
        """z, about A^-1 r on a coarse grid: one V-cycle or two."""
        if level == len(self.levels):
            N, K, h, w = r.shape
            z = self._inverse @ r.reshape(self.copies, self.M, -1).permute(1, 2, 0)
            return z.permute(2, 0, 1).reshape(N, K, h, w).contiguous(memory_format=torch.channels_last)
        here = self.levels[level]
        y, v = self._coarse_cycle(_odd(r).mul_(here.over_gd), level)
        if twice:
            y.add_(self._coarse_cycle(self.neighbours(y).sub_(v).mul_(here.over_d), level)[0])
        return y.mul_(here.over_g)

    def _coarse_cycle(self, s: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """y from s = r / (g d), and K y before the last sweep."""
        here = self.levels[level]
        e = self.coarse(self.restricted(self.neighbours(s).mul_(here.g)), level + 1)
        e = self.prolonged(e, s)
        v = self.neighbours(torch.addcmul(s, here.g, e, out=e))
        return torch.addcmul(s, here.over_d, v, out=e), v
