"""One image file into pixels: upright, three channels, and never a broken file in silence."""

import io
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from sightline.errors import InputError, SightlineWarning

_EXIF_ORIENTATION = 0x0112
# Orientation tag -> axes of (3, H, W) to flip, after transposing H and W where the tag is 5 or more.
_FLIPS: dict[int, tuple[int, ...]] = {2: (2,), 3: (1, 2), 4: (1,), 5: (), 6: (2,), 7: (1, 2), 8: (1,)}


class _UnusableError(Exception):
    """A reason of ours, before the name of the file is put in front of it."""


def read_image(path: str | os.PathLike[str], *, data: bytes | None = None) -> Tensor:
    """Read one image file: upright, three channels, nothing cut or resized.

    The EXIF orientation is applied. Transparency is composited on white. Greyscale is repeated over the channels.
    16-bit greyscale is divided by 65535; 32-bit integer and float images are scaled by the smallest usual range that
    holds them (1 for floats, 255, 65535). CMYK is converted without its colour profile, and 16-bit *colour* PNGs
    come at 8 bits (both as Pillow does). Of an animation the first frame is read.

    Args:
        path: The file.
        data: What the file holds, where it was read already or lies in an archive; `path` then only names it.

    Returns:
        (3, H, W) float32 in [0, 1], contiguous.

    Raises:
        InputError: The file is missing, empty, truncated, broken, too large or no image; the text names it and why.
    """
    path = Path(path)
    try:
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            message = "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: truncated images pass unnoticed; set it to False"
            warnings.warn(message, SightlineWarning, stacklevel=2)
        if data is not None:
            return _decode(io.BytesIO(data), path)
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise _UnusableError("is a folder or a device, not a file; folders are searched by find_images")
        with path.open("rb") as file:
            return _decode(file, path)
    except SightlineWarning:  # a user may have turned warnings into errors
        raise
    except Exception as error:
        raise InputError(f"{path}: {_reason(error)}") from error


def _decode(file: BinaryIO, path: Path) -> Tensor:
    if not file.read(1):
        raise _UnusableError("is empty (0 bytes); copy or download it again")
    file.seek(0)
    with Image.open(file) as image:
        image.load()
        if image.format == "JPEG":
            file.seek(0)
            _check_jpeg_end(file.read())
        pixels = _rgb(image)
        flips = _orientation(image, path)  # after loading: Pillow turns TIFFs upright by itself
    if flips is None:
        return pixels
    transposed, axes = flips
    return (pixels.transpose(1, 2) if transposed else pixels).flip(axes).contiguous()


def _check_jpeg_end(data: bytes) -> None:
    # A partial download into a preallocated file ends in zeros, which libjpeg decodes as grey without complaint.
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise _UnusableError("is truncated (a JPEG without its end marker); copy or download it again")


def _orientation(image: Image.Image, path: Path) -> tuple[bool, tuple[int, ...]] | None:
    try:
        tag = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception as error:  # noqa: BLE001 - metadata that cannot be parsed says nothing about the pixels
        message = f"{path}: broken EXIF metadata ({error}); the image is taken as upright"
        warnings.warn(message, SightlineWarning, stacklevel=4)
        return None
    return (tag >= 5, _FLIPS[tag]) if tag in _FLIPS else None


def _rgb(image: Image.Image) -> Tensor:
    if image.mode.startswith("I") or image.mode == "F":
        grey = torch.from_numpy(_levels(image))
        return grey.expand(3, *grey.shape).contiguous()
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    array = np.array(image.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div_(255)


def _levels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Greyscale of more than 8 bits, (H, W) in [0, 1]."""
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    usual = (65535.0,) if sixteen else (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    top = next((top for top in usual if high <= top), None)
    # Floats just above 1 are neither [0, 1] nor [0, 255]: the first would clip, the second would be black.
    if top is None or not np.isfinite(values).all() or low < 0 or (image.mode == "F" and 1 < high < 2):
        span = f"a {image.mode} image with values from {low:g} to {high:g}"
        raise _UnusableError(f"is {span}, whose range is not known; save it scaled to 0..255 or 0..65535")
    grey: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (values / top).astype(np.float32)
    if isinstance(key := image.info.get("transparency"), int):  # the one grey value that a PNG declares transparent
        grey[values == key] = 1.0
    return grey


def _reason(error: Exception) -> str:
    """Why a file could not be read, and what to do about it."""
    match error:
        case _UnusableError():
            return str(error)
        case FileNotFoundError():
            return "there is no such file; check the path"
        case UnidentifiedImageError():
            return "is not an image that can be read, or its header is broken; convert it to PNG or JPEG"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return f"is too large ({error}); if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS or make it smaller"
        case MemoryError():
            return "does not fit into memory; make it smaller"
        case OSError(strerror=str(why)):
            return f"could not be read ({why}); check its permissions and the disk"
        case _:
            return f"is truncated or broken ({error}); copy or download it again"
