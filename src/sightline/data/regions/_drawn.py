"""A picture of regions: each of them on a face, with its name."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sightline._sheet import Cell, contact_sheet
from sightline.errors import InputError

_ACROSS: Final = (5, 6, 4)  # regions a row, whichever leaves the fewest empty places
_SIDE: Final = 168
_INK: Final = np.array([255, 196, 0], dtype=np.uint8)


def drawn(face: Tensor, masks: Mapping[str, Tensor]) -> Image.Image:
    """A sheet with a cell for each region: the face, dimmed where the region is not, and the outline.

    Args:
        face: (3, H, W) in [0, 1].
        masks: (h, w) bool by name; they are laid over the face.

    Raises:
        InputError: Another shape, or no region.
    """
    if face.ndim != 3 or face.shape[0] != 3 or not face.is_floating_point():
        raise InputError(f"a face is float (3, H, W) in [0, 1], not {face.dtype} {tuple(face.shape)}")
    if not masks:
        raise InputError("there is no region to draw; give the masks of this face by given=")
    cells = [Cell(_cell(face, mask), f"{name} ({float(mask.float().mean()):.0%})") for name, mask in masks.items()]
    across = min(len(cells), min(_ACROSS, key=lambda n: -len(cells) % n))
    rows = [cells[i * across : (i + 1) * across] for i in range(math.ceil(len(cells) / across))]
    return contact_sheet(rows, side=_SIDE)


def _cell(face: Tensor, mask: Tensor) -> NDArray[np.uint8]:
    side = (_SIDE, _SIDE)
    pixels = F.interpolate(face.detach().float().cpu()[None], side, mode="bilinear", antialias=True)[0].clamp(0, 1)
    inside = F.interpolate(mask.float()[None, None], side, mode="nearest-exact")[0, 0] > 0
    # A pixel is on the outline when it is inside and something within two pixels is not, or it is at the edge.
    deep = -F.max_pool2d(-F.pad(inside.float()[None, None], (2, 2, 2, 2)), 5, stride=1)[0, 0]
    outline = inside & (deep == 0)
    shown = torch.where(inside, pixels, 0.45 * pixels)
    picture: NDArray[np.uint8] = (shown.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    picture[outline.numpy()] = _INK
    return picture
