"""Images that look the same and are not: noise, compression, mirrors and shifts; and targets that move with them."""

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sightline.classifier import BlackBox
from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial
from sightline.target import Region, Target

Noise = Literal["uniform", "gaussian"]


def noisy(session: Session, draw: int, noise: Noise, level: float, space: Space) -> Tensor:
    """Images x + d, cut off at 0 and 1: (B, C, H, W).

    d is uniform in [-level, level] or Gaussian with standard deviation `level`, for each value by itself; in the
    normalised space it is multiplied by the standard deviations that the classifier divides by. It depends on the
    session's seed, the draw and the image alone: all methods meet the same noise.
    """
    x = session.pixels
    if not level > 0:
        raise MetricError(f"noise has a size above 0, not {level!r}")
    parts = []
    for image in range(len(x)):
        generator = session.generator(image, 17 + draw)
        unit = torch.rand if noise == "uniform" else torch.randn
        d = unit(x.shape[1:], generator=generator)
        parts.append(2 * d - 1 if noise == "uniform" else d)
    scale = torch.ones(1)
    if space == "normalised":
        if isinstance(session.classifier, BlackBox):
            raise MetricError("a BlackBox has no normalised space; leave space= at 'pixels'")
        scale = scale if session.classifier.std is None else session.classifier.std
    elif space != "pixels":
        raise MetricError(f"space must be 'pixels' or 'normalised', not {space!r}")
    return (x + level * (torch.stack(parts) * scale.cpu()).to(x)).clamp(0, 1)


def jpeg(session: Session, quality: int) -> Tensor:
    """Images that went through JPEG at a quality from 1 to 95: (B, C, H, W)."""
    if not isinstance(quality, int) or not 1 <= quality <= 95:
        raise MetricError(f"quality is a number from 1 to 95, not {quality!r}")
    x = session.pixels
    if x.shape[1] not in (1, 3):
        raise MetricError(f"JPEG holds images of 1 or 3 channels, not {x.shape[1]}")

    def make() -> Tensor:
        parts = []
        for image in (x.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu().numpy():
            file = io.BytesIO()
            Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(file, "JPEG", quality=quality)
            found = torch.from_numpy(np.array(Image.open(file)))
            parts.append(found.reshape(*x.shape[-2:], x.shape[1]).movedim(-1, 0) / 255)
        return torch.stack(parts).to(x)

    return session.once(("jpeg", quality), make)


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Images (B, C, H, W) moved by whole pixels; what comes into view is the mirror image of the edge."""
    H, W = images.shape[-2:]
    top, left = max(down, 0), max(right, 0)
    padded = F.pad(images, (left, max(-right, 0), top, max(-down, 0)), mode="reflect")
    return padded[..., max(-down, 0) :, max(-right, 0) :][..., :H, :W]


def moved(trial: Trial, move: Callable[[Tensor], Tensor]) -> tuple[list[Target], Tensor]:
    """Targets whose pixel sets move with the image, and (N,) True where such a set leaves the image.

    Args:
        trial: Rows.
        move: (1, 1, H, W) -> (1, 1, H, W) what happens to a mask at the size of the images.
    """
    found: list[Target] = []
    gone = torch.zeros(len(trial), dtype=torch.bool)
    for row, target in enumerate(trial.targets):
        if isinstance(target, Region) and isinstance(target.pixels, Tensor):
            whole = F.interpolate(target.pixels[None, None].float(), size=trial.session.size, mode="nearest-exact")
            mask = F.interpolate(move(whole), size=target.pixels.shape, mode="nearest-exact")[0, 0] > 0.5
            gone[row] = not bool(mask.any())
            target = target if gone[row] else Region(target.category, mask, label=target.label)
        found.append(target)
    return found, gone
