"""Small pictures of a bounded number of images and of what each method says of them."""

import dataclasses
import io
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sightline.explanation import Explanation
from sightline.files import atomic_write
from sightline.store import PICTURES, slug

SIDE = 112
_COLOURS, _QUALITY = 64, 85


def photograph(run: Path, index: int, pixels: Tensor) -> None:
    """Write `thumbs/INDEX.jpg` of pixels (3, H, W), once."""
    path = run / PICTURES / f"{index}.jpg"
    if not path.exists():
        small = (_small(pixels[None])[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        _write(path, Image.fromarray(small), format="JPEG", quality=_QUALITY)


def overlay(run: Path, index: int, model: str, method: str, pixels: Tensor, row: Explanation) -> None:
    """Write `thumbs/INDEX-MODEL-METHOD.png`: one row of an explanation over its image (3, H, W)."""
    path = run / PICTURES / f"{index}-{slug(model)}-{slug(method)}.png"
    picture = Image.fromarray(row.overlay(_small(pixels[None]))[0]).quantize(_COLOURS)
    _write(path, picture, format="PNG", optimize=True)


def alone(explanation: Explanation, row: int) -> Explanation:
    """One row, on the CPU, as the explanation of a batch of one image."""
    one = explanation.select(row)
    return dataclasses.replace(one, maps=one.maps.cpu(), image=torch.zeros(1, dtype=torch.long), parts={})


def _small(pixels: Tensor) -> Tensor:
    """(1, 3, h, w) with a longer side of at most `SIDE`."""
    shrink = SIDE / max(pixels.shape[-2:])
    if shrink >= 1:
        return pixels
    size = [max(1, round(side * shrink)) for side in pixels.shape[-2:]]
    with torch.no_grad():
        return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def _write(path: Path, picture: Image.Image, *, format: str, **settings: object) -> None:
    data = io.BytesIO()
    picture.save(data, format=format, **settings)
    with atomic_write(path, size=data.tell()) as file:
        file.write(data.getvalue())
