"""Boxes: (k, 4) left, top, right, bottom in pixels, as edges: pixel (0, 0) is the box 0, 0, 1, 1."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.errors import InputError


def as_boxes(values: Tensor | Sequence[Sequence[float]]) -> Tensor:
    """Boxes as (k, 4) float64 on the CPU.

    Raises:
        InputError: Not four finite numbers each, or a right or bottom edge that is not beyond the left or top one.
    """
    try:
        boxes = torch.as_tensor(values, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"boxes must be rows of left, top, right, bottom, not {values!r}") from error
    boxes = boxes.reshape(0, 4) if boxes.numel() == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"boxes must be (k, 4) left, top, right, bottom, not {tuple(boxes.shape)}")
    wrong = ~(boxes.isfinite().all(1) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    if bool(wrong.any()):
        raise InputError(f"a box must have left < right and top < bottom, not {boxes[wrong][0].tolist()}")
    return boxes


def painted(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) bool: the pixels whose centres lie in any of the boxes."""
    y, x = (torch.arange(side, dtype=torch.float64) + 0.5 for side in size)
    left, top, right, bottom = boxes.double().cpu().reshape(-1, 4).T[:, :, None]
    across, down = (left <= x) & (x < right), (top <= y) & (y < bottom)  # (k, W), (k, H)
    inside: Tensor = down[:, :, None] & across[:, None, :]
    return inside.any(0)


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """(k, m) intersection over union of boxes (k, 4) with boxes (m, 4)."""
    a, b = first.double()[:, None], second.double()[None]
    inside = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return inside / (areas - inside)
