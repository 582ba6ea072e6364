"""Holes filled so that every missing pixel is the weighted mean of its neighbours: batched multigrid on the device.

The system is a discrete Laplace equation with the known pixels as its boundary: (D - K) u = 0 in the holes, K the
stencil [1 2 1; 2 0 2; 1 2 1] and D its sum over the neighbours inside the image. Plain conjugate gradients need about
as many steps as a hole is wide; preconditioned by a V-cycle they need four to nine for any mask.

A coarse grid keeps two numbers a point, both averaged from the finer one: g, the share of missing pixels around, and
k, the weight with which these hang on known ones. Its operator is A z = k z + sum_j g_i g_j K_ij (z_i - z_j), and g = 1
in holes and 0 elsewhere makes it the fine one. In y = g z all levels are one stencil and one diagonal:
(d - K) y = r / g, d = (k + g K g) / g^2. So isolated pixels, stripes and large holes need no cases of their own.

Images and channels lie in the channel dimension, innermost in memory, where a stencil costs little more than a copy.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MetricError

_FEWEST, _MOST = 3, 100  # steps; what was seen is at most 12
_SWEEPS = 4  # of Jacobi on the coarsest grid
_COARSEST = 3  # points a side
_CAUTION = 2  # by how much a V-cycle may underrate the error
_TINY = 1e-12


def fill(images: Tensor, holes: Tensor, *, accuracy: float = 1e-4) -> Tensor:
    """Every missing pixel as the weighted mean of its neighbours: 1/6 each, 1/12 across a corner, less at the edges.

    Args:
        images: (M, C, H, W); what stands in holes does not matter, if it is finite.
        holes: (M, H, W) True where a pixel is missing; at least one pixel of each image is known.
        accuracy: How far values may be from the exact solution, in units of the images.

    Returns:
        (M, C, H, W): known pixels as they were.

    Raises:
        MetricError: An image without a known pixel, or numbers that are not finite.
    """
    if bool(holes.flatten(1).all(1).any()):
        raise MetricError("an image without a single known pixel cannot be filled")
    M, C, H, W = images.shape
    system = _System(holes, C, images.dtype)
    x = _stored(images.transpose(0, 1).flatten(0, 1)[None])  # (1, C * M, h, w)
    x *= system.known
    mean = x.sum((2, 3), keepdim=True) / (~holes).sum((1, 2)).repeat(C)[:, None, None]
    # From the mean on, not from 0: the right-hand side is then exactly 0 within holes, where roundings would add up.
    r = system.neighbours(torch.addcmul(x, system.known, mean, value=-1)).mul_(system.m)
    x.addcmul_(system.m, mean).add_(_conjugate_gradients(system, r, M, accuracy))
    return x.reshape(C, M, *x.shape[2:]).transpose(0, 1)[..., :H, :W].contiguous()


def _stored(images: Tensor) -> Tensor:
    """(1, K, h, w) with channels innermost; one more row or column of zeros where their number is even.

    So the points of a coarse grid lie on the first and on the last point of the finer one.
    """
    _, K, h, w = images.shape
    size = (1, K, h + 1 - h % 2, w + 1 - w % 2)
    out = torch.empty(size, dtype=images.dtype, device=images.device, memory_format=torch.channels_last)
    out[..., h:, :], out[..., w:] = 0, 0
    out[..., :h, :w] = images
    return out


def _kernel(values: list[list[float]], like: Tensor) -> Tensor:
    """(K, 1, 3, 3) one stencil for every channel."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).repeat(like.shape[1], 1, 1, 1)


def _largest(z: Tensor) -> Tensor:
    """(K,) the largest absolute values of (1, K, h, w), in halves: reductions over outer dimensions are slow."""
    _, K, h, _ = z.shape
    t = z.permute(0, 2, 3, 1).reshape(h, -1).abs()
    while len(t) > 1:
        half = (len(t) + 1) // 2
        t = torch.maximum(t[:half], t[-half:])
    return t.reshape(-1, K).amax(0)


@dataclass(frozen=True)
class _Level:
    """One grid (1, K, h, w): g, 1 / g and 1 / d."""

    g: Tensor
    over_g: Tensor
    over_d: Tensor  # 0 at points that no hole touches


class _System:
    """A = D - K in the holes of M images, and `inverse`, one V-cycle: symmetric, positive, about A^-1."""

    def __init__(self, holes: Tensor, channels: int, dtype: torch.dtype) -> None:
        m = _stored(holes[None].to(dtype))
        inside = _stored(torch.ones_like(holes[None], dtype=dtype))
        self._spread(m, 1)
        D = self.neighbours(inside)
        levels, g, k = [], m, m * (D - self.neighbours(m))
        while True:
            d = self.neighbours(g).mul_(g).add_(k)
            levels.append((g, 1 / g.clamp(min=_TINY), g * g / d.clamp(min=_TINY)))
            if max(g.shape[-2:]) <= _COARSEST:
                break
            g, k = self._restrict(g) / self._restrict(torch.ones_like(g)).clamp(min=1), self._restrict(k)
        self._spread(m, channels)
        self.m, self.known, self.diagonal = (torch.cat([v] * channels, 1) for v in (m, inside - m, m * D))
        self.levels = [_Level(*(torch.cat([value] * channels, 1) for value in level)) for level in levels]

    def _spread(self, m: Tensor, channels: int) -> None:
        wide = m.expand(channels, -1, -1, -1).flatten(0, 1)[None]
        self._K = _kernel([[1, 2, 1], [2, 0, 2], [1, 2, 1]], wide)
        self._P = _kernel([[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]], wide)

    def neighbours(self, u: Tensor) -> Tensor:
        """K u."""
        return F.conv2d(u, self._K, padding=1, groups=u.shape[1])

    def _restrict(self, r: Tensor) -> Tensor:
        """P^T r, P bilinear interpolation."""
        coarse = F.conv2d(r, self._P, padding=1, stride=2, groups=r.shape[1])
        return coarse if coarse.shape[2] % 2 and coarse.shape[3] % 2 else _stored(coarse)

    def _prolong(self, e: Tensor, size: tuple[int, int]) -> Tensor:
        """P e."""
        e = e[..., : size[0] // 2 + 1, : size[1] // 2 + 1]
        return F.conv_transpose2d(e, self._P, padding=1, stride=2, groups=e.shape[1])

    def product(self, u: Tensor) -> Tensor:
        """A u at missing pixels, u of all pixels."""
        return torch.addcmul(self.diagonal * u, self.m, self.neighbours(u), value=-1)

    def inverse(self, r: Tensor, level: int = 0) -> Tensor:
        """One V-cycle."""
        here = self.levels[level]
        y = here.over_d * r
        if level + 1 == len(self.levels):
            for _ in range(_SWEEPS):
                y = self.neighbours(y).add_(r).mul_(here.over_d)
            return y
        below = self.levels[level + 1]
        rest = self._restrict(self.neighbours(y).mul_(here.g)).mul_(below.over_g)
        e = below.over_g * self.inverse(rest, level + 1)
        y.addcmul_(here.g, self._prolong(e, (y.shape[2], y.shape[3])))
        return self.neighbours(y).add_(r).mul_(here.over_d)


def _conjugate_gradients(system: _System, r: Tensor, images: int, accuracy: float) -> Tensor:
    """u with A u = r for C * M right-hand sides (1, C * M, h, w); each of the M images stops on its own."""
    u, p = torch.zeros_like(r), torch.zeros_like(r)
    before = r.new_full((1, r.shape[1], 1, 1), torch.inf)
    running = torch.ones(images, dtype=torch.bool, device=r.device)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((2, 3), keepdim=True)

    def channels(flags: Tensor) -> Tensor:
        return flags.repeat(r.shape[1] // images)[None, :, None, None]

    for done in range(_MOST):
        z = system.inverse(r)  # about the error that is left
        if done >= _FEWEST:
            near = running & (_largest(z).reshape(-1, images).amax(0) <= accuracy / _CAUTION)
            if bool(near.any()):
                u.addcmul_(channels(near).to(u), z)
                running = running & ~near
                if not bool(running.any()):
                    return u
        rz = dot(r, z)
        p = torch.addcmul(z, rz / before, p)
        q = system.product(p)
        pq = dot(p, q)
        step = torch.where(channels(running) & (pq > 0), rz / pq, 0.0)
        u.addcmul_(step, p)
        r.addcmul_(step, q, value=-1)
        before = torch.where(rz > 0, rz, torch.inf)
    raise MetricError(f"the holes of an image were not filled in {_MOST} steps: are all its values finite?")
