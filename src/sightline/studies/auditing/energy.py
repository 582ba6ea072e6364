"""Proportional energy without upsampling: the mask comes down to the map's cells instead of the map going up."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.registry import Polarity


def upsampling(cells: int, pixels: int) -> Tensor:
    """U (pixels, cells), float64: bilinear upsampling of one axis, as `torch.nn.functional.interpolate` does it.

    Along both axes up(S) = U_h S U_w^T, which is linear in S.
    """
    eye = torch.eye(cells, dtype=torch.float64)[None]  # each cell alone
    up = F.interpolate(eye, size=pixels, mode="linear", align_corners=False)[0]  # (cells, pixels)
    return up.T.contiguous()


@dataclass(frozen=True)
class Lowered:
    """A region as cells of a map see it.

    Attributes:
        inside: (B, h, w) up^T M: by how much each cell adds to the sum over the region.
        whole: (h, w) up^T 1: likewise over all of the image.
        area: (B,) share of the image that the region covers.
    """

    inside: Tensor
    whole: Tensor
    area: Tensor


def lowered(masks: Tensor, cells: tuple[int, int]) -> Lowered:
    """Bring regions (B, H, W) bool down to the cells of maps (h, w): up^T M = U_h^T M U_w."""
    height, width = masks.shape[-2:]
    rows, columns = upsampling(cells[0], height).float(), upsampling(cells[1], width).float()
    one = masks[:1] if masks.stride(0) == 0 else masks  # what is the same for all images is brought down once
    M = one.to("cpu", torch.float32)
    inside, area = rows.T @ M @ columns, M.mean((1, 2))
    whole = torch.outer(rows.sum(0), columns.sum(0))
    return Lowered(inside.expand(len(masks), *cells), whole, area.expand(len(masks)))


def reading(maps: Tensor, polarity: Polarity) -> Tensor:
    """The energy of raw maps (..., h, w), min-max scaled: what `Explanation.heatmaps` shows before it upsamples.

    A constant positive map is all ones, a map without energy all zeros.
    """
    match polarity:
        case "absolute":
            E = maps.abs()
        case "height":
            E = maps - maps.amin((-2, -1), keepdim=True)
        case _:
            E = maps.relu()
    low, high = E.amin((-2, -1), keepdim=True), E.amax((-2, -1), keepdim=True)
    flat = high - low <= 0
    return torch.where(flat, (high > 0).to(E), (E - low) / torch.where(flat, 1.0, high - low))


def proportional(heat: Tensor, region: Lowered) -> Tensor:
    """PE = sum_M up(S) / sum up(S) = <S, up^T M> / <S, up^T 1>; 0 where S is empty (the paper's rule).

    Proportional energy of Zhang, Bieri, Günther 2024 (arXiv 2403.14435): S is min-max scaled at the resolution of the
    map and upsampled bilinearly.

    Args:
        heat: (B, ..., h, w) scaled maps, never negative.
        region: The region of each of the B images.

    Returns:
        (B, ...) in [0, 1].
    """
    inside = region.inside.reshape(len(heat), *[1] * (heat.ndim - 3), *heat.shape[-2:])
    within, total = (heat * inside).sum((-2, -1)), (heat * region.whole).sum((-2, -1))
    return torch.where(total > 0, within / torch.where(total > 0, total, 1.0), 0.0)
