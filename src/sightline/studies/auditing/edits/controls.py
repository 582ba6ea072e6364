"""Where else an edit of the same area could have been made: places for its controls."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Place:
    """A control's place: exactly as many pixels as the region, none of them in it.

    Attributes:
        mask: (H, W) bool.
        shift: (down, right) in pixels by which the region was moved; None where it could not be moved.
    """

    mask: Tensor
    shift: tuple[int, int] | None


@dataclass
class Places:
    """Places for controls; what it found out about a mask is kept, because many images share their masks.

    Attributes:
        count: How many controls an edit has.
    """

    count: int
    _known: dict[bytes, NDArray[np.int64]] = field(default_factory=dict)

    def of(self, mask: Tensor, generator: torch.Generator, *, shaped: bool = False) -> list[Place]:
        """Draw the places of an edit's controls.

        The region is moved, without being clipped by the image's border and without touching itself; all such places
        are equally likely. Where there is none, the control takes the pixels around a random centre outside the
        region, as many as the region has.

        Args:
            mask: (H, W) bool: the region.
            generator: Random numbers.
            shaped: Only moved regions will do.

        Returns:
            `count` places (fewer where fewer exist); none where there is no room.
        """
        mask = mask.cpu()
        key = np.packbits(mask.numpy()).tobytes() + str(tuple(mask.shape)).encode()
        if key not in self._known:
            self._known[key] = shifts(mask)
        free = self._known[key]
        if len(free):
            picked = torch.randperm(len(free), generator=generator)[: self.count]
            found = [(int(free[i, 0]), int(free[i, 1])) for i in picked.tolist()]
            return [Place(mask=moved(mask, shift), shift=shift) for shift in found]
        if shaped or int(mask.sum()) > int((~mask).sum()):
            return []
        return [Place(mask=grown(mask, generator), shift=None) for _ in range(self.count)]


def shifts(mask: Tensor) -> NDArray[np.int64]:
    """All shifts (down, right) of a region under which it stays whole inside the image and does not touch itself.

    How much of it meets itself is its autocorrelation, c(t) = sum_p M(p) M(p + t), over the region's own box.

    Args:
        mask: (H, W) bool, not empty.

    Returns:
        (V, 2).
    """
    M = mask.numpy()
    rows, columns = np.flatnonzero(M.any(1)), np.flatnonzero(M.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    h, w = bottom - top, right - left
    wide = np.fft.rfft2(M[top:bottom, left:right].astype(np.float64), s=(2 * h - 1, 2 * w - 1))
    c = np.fft.fftshift(np.rint(np.fft.irfft2(np.abs(wide) ** 2, s=(2 * h - 1, 2 * w - 1))))  # shift 0 in the middle
    down, over = np.arange(-top, M.shape[0] - bottom + 1), np.arange(-left, M.shape[1] - right + 1)
    meets = np.zeros((len(down), len(over)), dtype=bool)
    near_down, near_over = np.abs(down) < h, np.abs(over) < w
    meets[np.ix_(near_down, near_over)] = c[np.ix_(down[near_down] + h - 1, over[near_over] + w - 1)] > 0
    free = np.argwhere(~meets)
    return np.stack([down[free[:, 0]], over[free[:, 1]]], axis=1)


def moved(values: Tensor, shift: tuple[int, int]) -> Tensor:
    """(..., H, W) moved down and to the right; what comes in is 0 or False."""
    (down, over), (H, W) = shift, values.shape[-2:]
    out = torch.zeros_like(values)
    to = (slice(max(0, down), H + min(0, down)), slice(max(0, over), W + min(0, over)))
    source = (slice(max(0, -down), H - max(0, down)), slice(max(0, -over), W - max(0, over)))
    out[(..., *to)] = values[(..., *source)]
    return out


def grown(mask: Tensor, generator: torch.Generator) -> Tensor:
    """As many pixels outside a region as it has, those nearest to a random one of them: (H, W) bool."""
    outside = (~mask).nonzero()
    centre = outside[int(torch.randint(len(outside), (), generator=generator))]
    near = (outside - centre).square().sum(1).argsort(stable=True)[: int(mask.sum())]
    out = torch.zeros_like(mask)
    out[outside[near, 0], outside[near, 1]] = True
    return out
