"""Holes filled so that every missing pixel is the weighted mean of its neighbours: batched multigrid on the device.

The system is a discrete Laplace equation with the known pixels as its boundary. Conjugate gradients need as many steps
as a hole is wide; preconditioned by one V-cycle they need four to seven for any mask. The coarse equations are
Galerkin products of the masked fine ones, so isolated pixels, stripes and large holes need no cases of their own.

Every grid is stored flat in slots with a border around it where everything is 0: a shift by one slot or by one row is
a neighbour, and all operations run over contiguous memory. A grid of n points has slots 0 ... 2 (n // 2 + 1), point i
in slot i + 1; coarse slot J lies on fine slot 2 J - 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MetricError

_MOST = 100  # steps; what was seen is at most 10
_DAMPING = 0.9  # of Jacobi's steps on coarse grids; the finest one needs none
_SWEEPS = 6  # on the coarsest grid, of at most 3 x 3 points


def _slots(points: int) -> int:
    return 2 * (points // 2 + 1) + 1


@dataclass(frozen=True)
class _Grid:
    """Points (h, w) in slots (H, W)."""

    points: tuple[int, int]

    @property
    def slots(self) -> tuple[int, int]:
        return _slots(self.points[0]), _slots(self.points[1])

    @property
    def inner(self) -> slice:
        """All slots of the flat grid that have eight neighbours."""
        H, W = self.slots
        return slice(W + 1, H * W - W - 1)

    def coarser(self) -> "_Grid":
        h, w = self.points
        return _Grid((h // 2 + 1, w // 2 + 1))

    def store(self, values: Tensor) -> Tensor:
        """(..., h, w) -> (..., H * W) with a border of zeros."""
        (h, w), (H, W) = self.points, self.slots
        return F.pad(values, (1, W - w - 1, 1, H - h - 1)).flatten(-2)

    def plane(self, values: Tensor) -> Tensor:
        """(..., H * W) -> (..., H, W)."""
        return values.view(*values.shape[:-1], *self.slots)

    def read(self, values: Tensor) -> Tensor:
        """(..., H * W) -> (..., h, w)."""
        h, w = self.points
        return self.plane(values)[..., 1 : h + 1, 1 : w + 1]


def _binomial(u: Tensor, width: int) -> Tensor:
    """[1 2 1] x [1 2 1] at the inner slots."""
    t = u[..., :-width] + u[..., width:]
    t = t[..., :-width] + t[..., width:]
    t = t[..., :-1] + t[..., 1:]
    return t[..., :-1] + t[..., 1:]


class _Fine:
    """A u = m (d u - K u): neighbours weigh 2, across a corner 1; d adds up those inside the image; m is 1 in holes.

    K u is [1 2 1] x [1 2 1] without its centre. A step of Jacobi, u <- (b + K u) / d, damps waves shorter than four
    pixels to a third.
    """

    def __init__(self, m: Tensor) -> None:
        self.grid = _Grid((m.shape[-2], m.shape[-1]))
        line = [torch.full((n,), 4.0, dtype=m.dtype, device=m.device) for n in self.grid.points]
        for side in line:
            side[0] -= 1
            side[-1] -= 1
        self.weights = line[0][:, None] * line[1] - 4  # (h, w) 12 inside the image
        self.m = self.grid.store(m)[:, None]  # (M, 1, N)
        self.inverse = self.grid.store(m / self.weights)[:, None]
        self.diagonal = self.grid.store(m * self.weights)[:, None]
        self._m, self._inverse = self.m[..., self.grid.inner], self.inverse[..., self.grid.inner]

    def neighbours(self, u: Tensor) -> Tensor:
        """K u at the inner slots."""
        return _binomial(u, self.grid.slots[1]).sub_(u[..., self.grid.inner], alpha=4)

    def product(self, u: Tensor) -> Tensor:
        """A u for any u."""
        out = self.diagonal * u
        out[..., self.grid.inner].addcmul_(self._m, self.neighbours(u), value=-1)
        return out

    def before(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """One step from 0, and what it leaves: r - A z = m K z."""
        z = self.inverse * r
        rest = torch.zeros_like(r)
        torch.mul(self._m, self.neighbours(z), out=rest[..., self.grid.inner])
        return z, rest

    def after(self, z: Tensor, correction: Tensor, r: Tensor) -> Tensor:
        """The coarse grid's correction in holes, then one more step."""
        z.addcmul_(self.m, correction)
        t = self.neighbours(z).add_(r[..., self.grid.inner])
        torch.mul(t, self._inverse, out=z[..., self.grid.inner])
        return z

    def stencil(self) -> Tensor:
        """(M, 3, 3, H, W) the entries of A: to the neighbour at (dy - 1, dx - 1)."""
        H, W = self.grid.slots
        m = self.grid.plane(self.m)[:, 0]
        p = F.pad(m, (1, 1, 1, 1))
        out = m.new_empty(len(m), 3, 3, H, W)
        for y, x in product(range(3), range(3)):
            if y == x == 1:
                out[:, 1, 1] = self.grid.plane(self.diagonal)[:, 0]
            else:
                weight = (1 + (y == 1)) * (1 + (x == 1))
                torch.mul(m, p[:, y : y + H, x : x + W], out=out[:, y, x]).mul_(-weight)
        return out


class _Coarse:
    """A u with an entry of its own for each of nine neighbours of each point."""

    def __init__(self, stencil: Tensor, points: tuple[int, int]) -> None:
        self.grid = _Grid(points)
        W = self.grid.slots[1]
        flat = stencil.flatten(1, 2).flatten(-2)  # (M, 9, N)
        centre = flat[:, 4:5]
        # Points that no hole touches have no equation.
        self.inverse = torch.where(centre > 1e-5, _DAMPING / centre, 0.0)
        inner = self.grid.inner
        self.entries = [flat[:, i : i + 1, inner] for i in range(9)]
        self.shifts = [slice(inner.start + s, inner.stop + s) for s in ((i // 3 - 1) * W + i % 3 - 1 for i in range(9))]

    def rest(self, r: Tensor, u: Tensor) -> Tensor:
        """r - A u."""
        out = r.clone()
        t = out[..., self.grid.inner]
        for entry, shift in zip(self.entries, self.shifts, strict=True):
            t.addcmul_(entry, u[..., shift], value=-1)
        return out

    def before(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """One step from 0, and what it leaves."""
        z = self.inverse * r
        return z, self.rest(r, z)

    def after(self, z: Tensor, correction: Tensor, r: Tensor) -> Tensor:
        """The coarser grid's correction, then one more step."""
        return self.step(z.add_(correction), r)

    def step(self, z: Tensor, r: Tensor) -> Tensor:
        """One step of Jacobi."""
        return z.addcmul_(self.inverse, self.rest(r, z))


def _restrict(r: Tensor, grid: _Grid) -> Tensor:
    """P^T r: each point takes itself, half of its neighbours and a quarter of those across a corner."""
    coarse = grid.coarser()
    (h, w), (H, W) = coarse.points, coarse.slots
    f = grid.plane(r)
    t = torch.add(f[..., 0 : 2 * h - 1 : 2, :], f[..., 2 : 2 * h + 1 : 2, :])
    t = torch.add(f[..., 1 : 2 * h : 2, :], t, alpha=0.5)
    out = r.new_zeros(*r.shape[:-1], H, W)
    inner = out[..., 1 : h + 1, 1 : w + 1]
    torch.add(t[..., 0 : 2 * w - 1 : 2], t[..., 2 : 2 * w + 1 : 2], out=inner)
    inner.mul_(0.5).add_(t[..., 1 : 2 * w : 2])
    return out.flatten(-2)


def _prolong(e: Tensor, grid: _Grid) -> Tensor:
    """P e: bilinear interpolation onto the finer grid."""
    coarse = grid.coarser()
    h, w = coarse.points
    c = coarse.plane(e)[..., 1 : h + 1, :]
    t = e.new_empty(*c.shape[:-2], 2 * h - 1, c.shape[-1])
    t[..., ::2, :] = c
    torch.add(c[..., :-1, :], c[..., 1:, :], out=t[..., 1::2, :]).mul_(0.5)
    out = e.new_zeros(*e.shape[:-1], *grid.slots)
    out[..., 1 : 2 * h, 1 : 2 * w : 2] = t[..., 1 : w + 1]
    torch.add(t[..., 1:w], t[..., 2 : w + 1], out=out[..., 1 : 2 * h, 2 : 2 * w - 1 : 2]).mul_(0.5)
    return out.flatten(-2)


def _galerkin(a: Tensor, points: int, dim: int) -> Tensor:
    """P^T A P along one dimension, of stencils whose entries along it stand at `dim` and slots at dim + 2.

    With l, c, r the entries to the left, in the centre and to the right, at points that stay (e) and between (o):
    centre = e.c + (e.l + e.r) / 2 + (o.l + o.c / 2) / 2 of the right o + (o.r + o.c / 2) / 2 of the left one,
    right = e.r / 2 + (o.r + o.c / 2) / 2 of the right o; left likewise.
    """
    n = points // 2 + 1
    line = [entry.transpose(dim + 1, -1) for entry in a.unbind(dim)]
    (el, ec, er), (ll, lc, lr), (rl, rc, rr) = (
        [entry[..., start : start + 2 * n - 1 : 2] for entry in line] for start in (1, 0, 2)
    )
    found = (
        torch.add(ll, lc, alpha=0.5).add_(el).mul_(0.5),
        torch.add(lr, rl).add_(el).add_(er).add_(lc, alpha=0.5).add_(rc, alpha=0.5).mul_(0.5).add_(ec),
        torch.add(rr, rc, alpha=0.5).add_(er).mul_(0.5),
    )
    shape = list(a.shape)
    shape[dim + 2] = _slots(n)
    out = a.new_zeros(shape)
    for i, value in enumerate(found):
        out.select(dim, i).narrow(dim + 1, 1, n).copy_(value.transpose(dim + 1, -1))
    return out


class _Cycle:
    """One V-cycle: an approximate inverse of A, symmetric and positive."""

    def __init__(self, m: Tensor) -> None:
        self.fine = _Fine(m)
        self.levels: list[_Fine | _Coarse] = [self.fine]
        stencil, grid = self.fine.stencil(), self.fine.grid
        while max(grid.points) > 3:
            stencil = _galerkin(_galerkin(stencil, grid.points[0], 1), grid.points[1], 2)
            grid = grid.coarser()
            self.levels.append(_Coarse(stencil, grid.points))

    def __call__(self, r: Tensor, level: int = 0) -> Tensor:
        """About A^-1 r, for r (M, C, N) that is 0 outside the holes."""
        here = self.levels[level]
        z, rest = here.before(r)
        if level + 1 < len(self.levels):
            return here.after(z, _prolong(self(_restrict(rest, here.grid), level + 1), here.grid), r)
        for _ in range(_SWEEPS - 1):
            z = here.after(z, torch.zeros_like(z), r)
        return z


def fill(images: Tensor, holes: Tensor, *, accuracy: float = 1e-4) -> Tensor:
    """Every missing pixel as the weighted mean of its neighbours: 1/6 each, 1/12 across a corner, less at the edges.

    Args:
        images: (M, C, H, W); what stands in holes does not matter.
        holes: (M, H, W) True where a pixel is missing; at least one pixel of each image is known.
        accuracy: How far values may be from the exact solution, in units of the images.

    Returns:
        (M, C, H, W): known pixels as they were.

    Raises:
        MetricError: An image without a known pixel, or numbers that are not finite.
    """
    if bool(holes.flatten(1).all(1).any()):
        raise MetricError("an image without a single known pixel cannot be filled")
    hole = holes[:, None]
    known = (~hole).sum((2, 3), keepdim=True)
    mean = images.masked_fill(hole, 0).sum((2, 3), keepdim=True) / known
    start = torch.where(hole, mean, images)
    cycle = _Cycle(holes.to(images.dtype))
    grid, A = cycle.fine.grid, cycle.fine.product
    e = _conjugate_gradients(A, cycle, A(grid.store(start)).neg_(), accuracy)
    return torch.where(hole, start + grid.read(e), images)


def _conjugate_gradients(
    product: Callable[[Tensor], Tensor], inverse: Callable[[Tensor], Tensor], r: Tensor, accuracy: float
) -> Tensor:
    """u with A u = r for M systems of C right-hand sides (M, C, N); each system stops on its own."""
    u, p = torch.zeros_like(r), torch.zeros_like(r)
    before = torch.full_like(r[..., :1], torch.inf)
    running = torch.ones_like(r[:, :1, :1], dtype=torch.bool)
    for _ in range(_MOST):
        z = inverse(r)  # about the error that is left
        near = running & (z.abs().amax((1, 2), keepdim=True) <= accuracy)
        if bool(near.any()):
            u.addcmul_(near.to(u), z)
            running = running & ~near
            if not bool(running.any()):
                return u
        rz = (r * z).sum(-1, keepdim=True)
        p = torch.addcmul(z, rz / before, p)
        q = product(p)
        pq = (p * q).sum(-1, keepdim=True)
        step = torch.where(running & (pq > 0), rz / pq, 0.0)
        u.addcmul_(step, p)
        r.addcmul_(step, q, value=-1)
        before = torch.where(rz > 0, rz, torch.inf)
    raise MetricError(f"the holes of an image were not filled in {_MOST} steps: are all its values finite?")
