"""What a method proposes for one image: masks by number, and how scores become a map."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Plan(Protocol):
    """Masks of one image, made only when they are asked for.

    `count` different masks; `masks(index)` gives some of them (m, H, W); `traits(index)` describes them by a few
    numbers (m, d), from which the scores of masks that were not asked are predicted; `maps(values)` turns the values
    (n, count) of n rows into raw maps (n, h, w). `exponential` says that maps are linear in exp(values).
    """

    count: int
    exponential: bool

    def masks(self, index: Tensor) -> Tensor: ...
    def traits(self, index: Tensor) -> Tensor: ...
    def maps(self, values: Tensor) -> Tensor: ...


@dataclass
class Job:
    """A plan on its way: whose it is, in which order its masks are asked, and what is known so far.

    Attributes:
        image: The image that is masked.
        rows: The rows whose values are read off its masked versions.
        plan: The masks.
        order: (count,) a permutation: the order in which masks are asked.
        values: (n, count) float32, valid where `known`.
        known: (count,).
    """

    image: int
    rows: tuple[int, ...]
    plan: Plan
    order: Tensor
    values: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    known: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    error: Tensor | None = None

    def learn(self, index: Tensor, values: Tensor) -> None:
        """Take in the values (n, m) of some masks."""
        if len(self.values) == 0:
            self.values = torch.zeros(len(values), self.plan.count, device=values.device)
        self.values[:, index.to(values.device)] = values
        self.known[index.cpu()] = True

    @property
    def complete(self) -> bool:
        """Whether every mask was asked."""
        return len(self.known) > 0 and bool(self.known.all())


@lru_cache(maxsize=64)
def interpolation(source: int, target: int) -> Tensor:
    """The matrix (target, source) of linear interpolation without aligned corners."""
    with torch.inference_mode(False):
        return F.interpolate(torch.eye(source)[None], size=target, mode="linear", align_corners=False)[0].T.contiguous()


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation (m, h, w) -> (m, H, W) without aligned corners, as two small matrix products."""
    (h, w), (H, W) = maps.shape[-2:], size
    rows, columns = interpolation(h, H).to(maps), interpolation(w, W).to(maps)
    return rows @ (maps @ columns.T)


def min_max(maps: Tensor) -> Tensor:
    """Each map (m, H, W) shifted and scaled to [0, 1]; a constant one becomes 0 everywhere."""
    flat = maps.flatten(1)
    low, high = flat.amin(1), flat.amax(1)  # vectorised, which aminmax is not
    span = high - low
    scale = torch.where(span > 0, 1 / span, 0.0)
    return (maps - low[:, None, None]).mul_(scale[:, None, None])


def merged(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The different ones among maps (K, h, w) after scaling each to [0, 1], and for each map which one it is (K,).

    Exact: dead channels and duplicates (up to a factor and an offset) give the same mask, hence the same score.
    """
    scaled = min_max(maps)
    different, which = torch.unique(scaled.flatten(1), dim=0, return_inverse=True)
    return different.reshape(-1, *maps.shape[1:]), which


def coarse(masks: Tensor, side: int = 7) -> Tensor:
    """Masks (m, h, w) averaged over a grid of cells: (m, side * side)."""
    cells = (min(side, masks.shape[-2]), min(side, masks.shape[-1]))
    return F.adaptive_avg_pool2d(masks[:, None], cells).flatten(1)


class ChannelMasks:
    """Masks mm(up(B_k)) of feature maps B (K, h, w), duplicates merged; the base of plans of the Score-CAM family."""

    exponential = False

    def __init__(self, maps: Tensor, size: tuple[int, int]) -> None:
        self.size = size
        self.different, self.which = merged(maps)
        self.count = len(self.different)

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) in [0, 1]."""
        return min_max(upsample(self.different[index], self.size))

    def weighted(self, weights: Tensor) -> Tensor:
        """sum_k w_k mm(up(B_k)) for weights (n, different masks): (n, H, W), summed before the upsampling."""
        low, span = self._ranges()
        scaled = torch.where(span > 0, weights / torch.where(span > 0, span, 1.0), 0.0)
        S = upsample(torch.einsum("nk,khw->nhw", scaled, self.different), self.size)
        return S - (scaled @ low)[:, None, None]

    def _ranges(self) -> tuple[Tensor, Tensor]:
        if not hasattr(self, "_range"):
            up = [upsample(self.different[k : k + 64], self.size).flatten(1) for k in range(0, self.count, 64)]
            low, high = torch.cat([u.amin(1) for u in up]), torch.cat([u.amax(1) for u in up])
            self._range = (low, high - low)
        return self._range

    def traits(self, index: Tensor) -> Tensor:
        """(m, d)."""
        return coarse(self.different[index])
