"""Which pixels a map keeps at each level: one sort a map and size, one byte a pixel.

Pixels are ranked by raw relevance, the highest first; ties are broken by a random permutation that belongs to the
image. Of P pixels a level of q % takes k(q) = max(1, round(q P / 100)); a pixel's step is the first level that takes
it, so that the mask of level number j is `step <= j`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.classifier import BlackBox
from sightline.explainers import Explainer

GLOBAL = ("random", "centre", "edges")
"""Controls that are the same for every target."""

OWN = ("bottom", "mean-map", "other-image", "randomised", "upper-random", "other-class")
"""Controls that are made from the target's own maps."""

CONTROLS = (*GLOBAL, *OWN)


def counts(levels: Sequence[float], pixels: int) -> list[int]:
    """How many of the pixels each level takes: at least one."""
    return [max(1, round(q * pixels / 100)) for q in levels]


def fitted(maps: Tensor, size: tuple[int, int], smooth: float = 0.0) -> Tensor:
    """Maps (b, h, w) at a size: bilinear, antialiased where they shrink, then smoothed.

    Args:
        maps: Raw and signed.
        size: (H, W).
        smooth: Standard deviation of a Gaussian as a share of the width; 0 for none.
    """
    x = maps[:, None]
    if tuple(maps.shape[1:]) != tuple(size):
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
    return (_smoothed(x, smooth * size[1]) if smooth > 0 else x)[:, 0]


def _smoothed(x: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    at = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).reshape(1, 1, 1, -1)
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="replicate"), kernel)
    return F.conv2d(F.pad(x, (0, 0, radius, radius), mode="replicate"), kernel.transpose(2, 3))


def shuffled(identities: Sequence[int], pixels: int, seed: int) -> Tensor:
    """(b, P) a random permutation of the pixels for each image; it breaks ties, and is the control `random`."""
    drawn = [torch.Generator().manual_seed(seed * 4_294_967_291 % 2**62 + identity) for identity in identities]
    return torch.stack([torch.randperm(pixels, generator=g) for g in drawn])


def order(maps: Tensor, ties: Tensor) -> Tensor:
    """(b, P) pixels of maps (b, H, W) by falling relevance; equal ones in the order of `ties` (b, P)."""
    values = maps.flatten(1).gather(1, ties)
    return ties.gather(1, values.argsort(dim=1, descending=True, stable=True))


def steps(order: Tensor, levels: Sequence[float]) -> Tensor:
    """(b, P) uint8: the first level that takes a pixel, its number; len(levels) where none does.

    Args:
        order: (b, P) pixels, the first to be taken first.
        levels: Percent, rising.
    """
    pixels = order.shape[1]
    ranks, k = torch.arange(pixels), torch.tensor(counts(levels, pixels))
    taken = torch.searchsorted(k, ranks, right=True).to(order.device, torch.uint8)
    return torch.empty_like(order, dtype=torch.uint8).scatter_(1, order, taken.expand(order.shape))


def given(control: str, pixels: Tensor) -> Tensor:
    """(b, H, W): the maps of `centre` or `edges`, which know nothing of any model, for images (b, C, H, W)."""
    size, channels = (pixels.shape[-2], pixels.shape[-1]), pixels.shape[1]
    blank = BlackBox(lambda x: x.new_zeros(len(x), 1), channels=channels, size=size, decision="binary")
    return Explainer(control, blank)(pixels).maps
