"""Where an object is, pixel by pixel: polygons, runs, and mask files; decoded when they are asked for."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sightline.data.annotations._members import Member
from sightline.data.decode import read_image
from sightline.errors import InputError


class Shape(Protocol):
    """A set of pixels of an image."""

    def pixels(self, height: int, width: int) -> Tensor:
        """(height, width) bool for the image's own size."""
        ...


@dataclass(frozen=True)
class Polygons:
    """The union of polygons x0, y0, x1, y1, ... in pixels; a pixel belongs to one that holds its centre."""

    rings: tuple[tuple[float, ...], ...]

    def pixels(self, height: int, width: int) -> Tensor:
        """(height, width) bool; what lies outside of the image is cut off."""
        from skimage.draw import polygon

        mask = np.zeros((height, width), dtype=bool)
        for ring in self.rings:
            points = np.asarray(ring, dtype=np.float64)
            if len(points) < 6 or len(points) % 2:
                raise InputError(f"a polygon needs three points x, y or more, not {len(points)} numbers")
            rows, columns = polygon(points[1::2] - 0.5, points[0::2] - 0.5, (height, width))
            mask[rows, columns] = True
        return torch.from_numpy(mask)


@dataclass(frozen=True)
class Runs:
    """COCO's run lengths: outside, inside, outside, ... down the columns; `counts` may be its compressed text."""

    counts: tuple[int, ...] | str
    size: tuple[int, int]

    def pixels(self, height: int, width: int) -> Tensor:
        """(height, width) bool.

        Raises:
            InputError: Runs for another size, or that do not fill the image.
        """
        if self.size != (height, width):
            raise InputError(f"its mask is {self.size[0]} high and {self.size[1]} wide, the image {height} and {width}")
        counts = _run_lengths(self.counts) if isinstance(self.counts, str) else self.counts
        if sum(counts) != height * width or min(counts, default=0) < 0:
            raise InputError(f"its mask's runs fill {sum(counts)} pixels of {height * width}: they are broken")
        values = np.arange(len(counts)) % 2 == 1
        return torch.from_numpy(np.repeat(values, counts).reshape(width, height).T.copy())


@dataclass(frozen=True)
class MaskFile:
    """An image of the size of the photograph; what is not black is inside. It may lie in an archive."""

    path: Path
    member: Member | None = None

    def pixels(self, height: int, width: int) -> Tensor:
        """(height, width) bool.

        Raises:
            InputError: The file cannot be read, or has another size.
        """
        mask = read_image(self.path, data=self.member.read() if self.member else None).amax(0) > 0
        if tuple(mask.shape) != (height, width):
            has = f"{mask.shape[0]} high and {mask.shape[1]} wide"
            raise InputError(f"{self.path}: the mask is {has}, its image {height} and {width}; save them alike")
        return mask


@dataclass(frozen=True)
class Union:
    """All pixels of several shapes."""

    shapes: tuple[Shape, ...]

    def pixels(self, height: int, width: int) -> Tensor:
        """(height, width) bool."""
        mask = torch.zeros(height, width, dtype=torch.bool)
        for shape in self.shapes:
            mask |= shape.pixels(height, width)
        return mask


def _run_lengths(text: str) -> list[int]:
    """COCO's compressed run lengths.

    A number is written in groups of five bits, lowest first, each as a character from "0" on; 32 says that another
    group follows, 16 in the last group that the number is negative. From the fourth number on they are differences
    to the number two places before.
    """
    counts: list[int] = []
    number, bits = 0, 0
    if not re.fullmatch("[0-o]*", text):
        raise InputError("its mask's run lengths hold characters that no run length has: they are broken")
    for code in (ord(character) - 48 for character in text):
        number |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << bits
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number, bits = 0, 0
    if bits:
        raise InputError("its mask's run lengths end in the middle of a number: they are truncated")
    return counts


def shape_of(segmentation: object) -> Shape:
    """A COCO `segmentation`: a list of polygons, or run lengths, compressed or not.

    Raises:
        InputError: Neither.
    """
    if isinstance(segmentation, list) and segmentation and all(isinstance(ring, list) for ring in segmentation):
        return Polygons(tuple(tuple(float(v) for v in ring) for ring in segmentation))
    match segmentation:
        case {"counts": str(text), "size": [int(height), int(width)]}:
            return Runs(text, (height, width))
        case {"counts": [*counts], "size": [int(height), int(width)]}:
            return Runs(tuple(int(n) for n in counts), (height, width))
    raise InputError("a segmentation must be a list of polygons or run lengths with counts and size")
