"""From an image's size to a network's input: one placement for its pixels, its boxes and its masks."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.errors import InputError

How = Literal["crop", "squash", "pad"]
Box = tuple[float, float, float, float]
Size = int | tuple[int, int]

_WIDEST = 16  # beyond this ratio of sides the ends of an image are cut before resizing, or memory would explode


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the pixels of an image go in a network's input.

    Attributes:
        image: (height, width) of the image.
        used: (left, top, right, bottom) in whole pixels: the part of it that is used.
        resized: (height, width) to which that part is resized.
        offset: (top, left) of the resized part in the input; negative where it is cut off.
        size: (height, width) of the input.
    """

    image: tuple[int, int]
    used: tuple[int, int, int, int]
    resized: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]

    def pixels(self, pixels: Tensor, *, fill: float = 0.5) -> Tensor:
        """Fit (..., 3, H, W) with antialiased bilinear resizing; borders, if any, become `fill`."""
        left, top, right, bottom = self.used
        x = _resize(pixels[..., top:bottom, left:right], *self.resized)
        (above, before), (tall, wide) = self.offset, self.resized
        below, after = self.size[0] - above - tall, self.size[1] - before - wide
        if above or before or below or after:
            x = F.pad(x, (before, after, above, below), value=fill)  # a negative width cuts off
        return x.contiguous()

    def mask(self, mask: Tensor) -> Tensor:
        """Fit a mask (H, W): a pixel of the input belongs to it when at least half of what it is made of does.

        Returns:
            (height, width) bool. A thing much smaller than a pixel of the input may vanish.

        Raises:
            InputError: A mask of another size than the image.
        """
        if tuple(mask.shape) != self.image:
            raise InputError(f"a mask of {tuple(mask.shape)} (H, W) does not fit an image of {self.image}")
        return self.pixels(mask.float()[None, None], fill=0.0)[0, 0] >= 0.5

    def boxes(self, boxes: Tensor) -> Tensor:
        """Fit boxes (k, 4) left, top, right, bottom in pixels of the image.

        Returns:
            (m, 4) in pixels of the input, clipped to it; boxes of which nothing is left are dropped.
        """
        left, top, right, bottom = self.used
        wide, tall = self.resized[1] / (right - left), self.resized[0] / (bottom - top)
        low = torch.tensor([left, top] * 2, dtype=torch.float64)
        scale = torch.tensor([wide, tall] * 2, dtype=torch.float64)
        shift = torch.tensor([self.offset[1], self.offset[0]] * 2, dtype=torch.float64)
        most = torch.tensor([self.size[1], self.size[0]] * 2, dtype=torch.float64)
        placed = torch.minimum(((boxes.double().reshape(-1, 4) - low) * scale + shift).clamp(min=0), most)
        return placed[(placed[:, 2] > placed[:, 0]) & (placed[:, 3] > placed[:, 1])]

    def points(self, points: Tensor) -> Tensor:
        """Fit points (..., 2) x, y in pixels of the image, where 0, 0 is the centre of the top left pixel.

        Returns:
            (..., 2) float64 in pixels of the input, counted alike. Points that are cut off stay, outside of the input.
        """
        left, top, right, bottom = self.used
        scale = torch.tensor([self.resized[1] / (right - left), self.resized[0] / (bottom - top)], dtype=torch.float64)
        low = torch.tensor([left, top], dtype=torch.float64)
        shift = torch.tensor([self.offset[1], self.offset[0]], dtype=torch.float64)
        return (points.double() + 0.5 - low) * scale + shift - 0.5


def placement(
    image: tuple[int, int], size: Size, *, how: How = "crop", box: Box | None = None, crop: float = 224 / 256
) -> Placement:
    """Where `fit` puts the pixels of an image of a size (height, width); settings as there.

    Raises:
        InputError: A setting out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1 or not 0 < crop <= 1:
        raise InputError(f"size must be 1 or more and crop in (0, 1]; got {size} and {crop}")
    left, top, right, bottom = _cut(image, box)
    h, w = bottom - top, right - left
    above, before = 0, 0
    if how == "squash":
        tall, wide = height, width
    elif how == "crop":
        short = min(h, w) * _WIDEST * max(1, round(max(height, width) / min(height, width)))
        top, left = top + round((h - min(h, short)) / 2), left + round((w - min(w, short)) / 2)
        h, w = min(h, short), min(w, short)
        tall, wide = round(height / crop), round(width / crop)
        # The side that is the tighter one gets its length exactly; the other is rounded down, as torchvision does.
        tall, wide = (tall, tall * w // h) if w * tall >= h * wide else (wide * h // w, wide)
        above, before = -round((tall - height) / 2), -round((wide - width) / 2)
    elif how == "pad":
        scale = min(height / h, width / w)
        tall, wide = min(height, max(1, round(h * scale))), min(width, max(1, round(w * scale)))
        above, before = (height - tall) // 2, (width - wide) // 2
    else:
        raise InputError(f"how must be 'crop', 'squash' or 'pad', not {how!r}")
    used = (left, top, left + w, top + h)
    return Placement(image=image, used=used, resized=(tall, wide), offset=(above, before), size=(height, width))


def fit(
    pixels: Tensor,
    size: Size,
    *,
    how: How = "crop",
    box: Box | None = None,
    crop: float = 224 / 256,
    fill: float = 0.5,
) -> Tensor:
    """Bring an image to a network's input size with antialiased bilinear resizing.

    Args:
        pixels: (3, H, W) or (B, 3, H, W) in [0, 1].
        size: The side, or (height, width), in pixels.
        how: ``crop`` is ImageNet's protocol: the shorter side is resized to ``round(size / crop)``, then the centre is
            cut out (of an image wider or taller than 16 times its shorter side the ends are dropped first). ``squash``
            resizes without keeping the proportions. ``pad`` fits all of it in and fills the borders.
        box: (x0, y0, x1, y1) in fractions of width and height: what is cut out first, rounded to whole pixels.
        crop: For ``crop``: the share of the resized side that is kept, in (0, 1].
        fill: For ``pad``: the grey of the borders, in [0, 1].

    Returns:
        (3, height, width) or (B, 3, height, width) in [0, 1].

    Raises:
        InputError: A setting, or a shape, out of range.
    """
    if pixels.ndim not in (3, 4) or pixels.shape[-3] != 3 or 0 in pixels.shape or not pixels.is_floating_point():
        raise InputError(f"fit takes float (3, H, W) or (B, 3, H, W), not {pixels.dtype} {tuple(pixels.shape)}")
    if not 0 <= fill <= 1:
        raise InputError(f"fill must be in [0, 1], not {fill}")
    place = placement((pixels.shape[-2], pixels.shape[-1]), size, how=how, box=box, crop=crop)
    return place.pixels(pixels if pixels.ndim == 4 else pixels[None], fill=fill).reshape(
        *pixels.shape[:-2], *place.size
    )


def _cut(image: tuple[int, int], box: Box | None) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in whole pixels of a box in fractions."""
    h, w = image
    if box is None:
        return 0, 0, w, h
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise InputError(f"box must be fractions with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, not {box}")
    left, top = min(round(x0 * w), w - 1), min(round(y0 * h), h - 1)
    return left, top, max(left + 1, round(x1 * w)), max(top + 1, round(y1 * h))


def _resize(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[-2:] == (height, width):
        return x.contiguous()
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True).clamp_(0, 1)
