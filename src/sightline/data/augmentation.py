"""Random changes of aligned faces in training, as AFFACT makes them."""

import math
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from sightline.errors import InputError

_REFERENCE: Final = 224  # side of the input, in pixels, for which the blur is given
_MIRRORED: Final = (1, 0, 2, 4, 3)  # right and left change places in a mirror


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much faces are changed: Günther, Rozsa, Boult 2017 (arXiv 1611.06158), as re-implemented.

    N(0, s) is a normal deviate of standard deviation s, drawn for each image on its own.

    Attributes:
        scale: s of the size of the crop, 2^N(0, s) times its own.
        angle: s of the turn of the crop round its middle, in degrees.
        shift: s of the move of the crop along each axis, in units of its side.
        flip: How probable a mirror image is.
        blur: s of the standard deviation |N(0, s)| of a Gaussian, in pixels of an input of 224; scaled with the input.
        gamma: s of the exponent 2^N(0, s) of all pixels.
    """

    scale: float = 0.1
    angle: float = 20.0
    shift: float = 0.05
    flip: float = 0.5
    blur: float = 3.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise InputError(f"{field.name} must be 0 or more, not {value!r}")
        if self.flip > 1:
            raise InputError(f"flip is a probability, not {self.flip!r}")


def augmented(
    pixels: Tensor,
    landmarks: Tensor | None = None,
    *,
    generator: Generator,
    augmentation: Augmentation | None = None,
    size: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Scale, turn, move, mirror, blur and darken or brighten faces, with their landmarks.

    Bilinear sampling, without a filter: a crop grows or shrinks by a few tenths at most. Beyond the edge of what is
    given, its outermost pixels are repeated; give a margin with `size` to have true ones there.

    Args:
        pixels: (B, 3, H, W) in [0, 1], aligned.
        landmarks: (B, 5, 2) x, y in pixels of these images, where 0, 0 is the centre of the top left one.
        generator: Where chance comes from, on the CPU; the same state gives the same images. What is drawn does not
            depend on the settings.
        augmentation: How much; AFFACT's by default.
        size: Side of what comes out: the crop is the middle of the image, the rest is margin. By default all of it.

    Returns:
        (B, 3, S, S) in [0, 1], on the device and in the dtype of `pixels`; or (B, 3, H, W) without `size`. And the
        landmarks (B, 5, 2) float64, brought along; None where none were given.

    Raises:
        InputError: Another shape, or a size larger than the images.
    """
    what = augmentation or Augmentation()
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
        raise InputError(f"augmented takes float (B, 3, H, W), not {pixels.dtype} {tuple(pixels.shape)}")
    if landmarks is not None and tuple(landmarks.shape) != (len(pixels), 5, 2):
        raise InputError(f"landmarks must be ({len(pixels)}, 5, 2), not {tuple(landmarks.shape)}")
    here = (pixels.shape[2], pixels.shape[3])
    there = here if size is None else (size, size)
    if min(there) < 1 or there[0] > here[0] or there[1] > here[1]:
        raise InputError(f"size must be from 1 to the side of the images, {here[0]} by {here[1]}; not {size}")
    normal = torch.randn(len(pixels), 6, generator=generator, dtype=torch.float64)
    mirrored = torch.rand(len(pixels), generator=generator, dtype=torch.float64) < what.flip
    A, b = _geometry(normal[:, :4], mirrored, what, here, there)
    out = _sampled(pixels, A, b, there)
    out = _blurred(out, (normal[:, 4] * what.blur).abs() * max(there) / _REFERENCE)
    out = out.clamp(0, 1) ** torch.exp2(normal[:, 5] * what.gamma).to(out)[:, None, None, None]
    return out, None if landmarks is None else _followed(landmarks, A, b, mirrored)


def _geometry(
    normal: Tensor, mirrored: Tensor, what: Augmentation, here: tuple[int, int], there: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """(B, 2, 2) A and (B, 2) b: the point A p + b of an image is seen at the point p (x, y) of the result."""
    f = torch.exp2(normal[:, 0] * what.scale)
    a = normal[:, 1] * what.angle * (math.pi / 180)
    m = torch.where(mirrored, -1.0, 1.0).double()
    A = f[:, None, None] * torch.stack([a.cos() * m, -a.sin(), a.sin() * m, a.cos()], 1).view(-1, 2, 2)
    side = torch.tensor([there[1], there[0]], dtype=torch.float64)
    from_middle, to_middle = (torch.tensor([(w - 1) / 2, (h - 1) / 2], dtype=torch.float64) for h, w in (there, here))
    return A, to_middle + normal[:, 2:4] * what.shift * side - A @ from_middle


def _sampled(pixels: Tensor, A: Tensor, b: Tensor, size: tuple[int, int]) -> Tensor:
    H, W = pixels.shape[2:]
    # grid_sample and affine_grid count from -1 to 1 between the outer edges: p = (q + 1) side / 2 - 1/2.
    side_in, side_out = (torch.tensor([w, h], dtype=torch.float64) for h, w in ((H, W), size))
    scaled = A * side_out / side_in[:, None]
    moved = (2 * (b + (A @ (side_out / 2 - 0.5)) + 0.5)) / side_in - 1
    theta = torch.cat([scaled, moved[:, :, None]], 2).to(pixels)
    grid = F.affine_grid(theta, [len(pixels), 3, *size], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _blurred(pixels: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian for each image: two products with (B, S, S) matrices whose rows sum to 1, also at the edges."""

    def weights(side: int) -> Tensor:
        far = torch.arange(side, dtype=torch.float64)
        kernel = (-((far[:, None] - far) ** 2) / (2 * sigma.clamp(min=1e-3)[:, None, None] ** 2)).exp()
        kernel = kernel.where(kernel > 1e-9, 0.0)  # numbers too small for float32 would make products slow
        return (kernel / kernel.sum(2, keepdim=True)).to(pixels)[:, None]

    height, width = pixels.shape[2:]
    down = weights(height)
    across = down if width == height else weights(width)
    return down @ pixels @ across.transpose(2, 3)


def _followed(landmarks: Tensor, A: Tensor, b: Tensor, mirrored: Tensor) -> Tensor:
    placed = (landmarks.double().cpu() - b[:, None]) @ torch.linalg.inv(A).transpose(1, 2)
    return torch.where(mirrored[:, None, None], placed[:, list(_MIRRORED)], placed)
