"""Boxes and ellipses whose bounds are numbers or follow the landmarks of a face, and how they become pixels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sightline.data.alignment import Alignment
from sightline.errors import InputError

FrameOf = Literal["input", "face"]

_POINTS: dict[str, tuple[int, ...]] = {
    "left_eye": (0,),
    "right_eye": (1,),
    "nose": (2,),
    "left_mouth": (3,),
    "right_mouth": (4,),
    "eyes": (0, 1),
    "mouth": (3, 4),
}
"""Points by name, as places in CelebA's five landmarks; of two places the middle."""

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_BOUND = re.compile(rf"\s*(?:(?P<point>\w+)\.(?P<axis>[xy])\s*(?:(?P<sign>[+-])\s*(?P<shift>{_NUMBER}))?"
                    rf"|(?P<number>[+-]?{_NUMBER}))\s*")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The pixels of an input in the units of a table of regions.

    Attributes:
        x: (N or 1, H or 1, W) where the centres of the pixels lie, in units from the left edge of the frame.
        y: (N or 1, H, W or 1), the same from its top.
        landmarks: (N, 5, 2) x, y, counted alike; None where there are none.
        whole: Whether bounds are whole pixels of the frame: a point is counted by the place of its pixel, the first
            being 0, a bound is truncated, and a box ends before the pixel that is its right or lower bound.
    """

    x: Tensor
    y: Tensor
    landmarks: Tensor | None
    whole: bool

    @classmethod
    def of(
        cls, size: tuple[int, int], *, unit: float, frame: FrameOf, landmarks: Tensor | None, whole: bool
    ) -> "Frame":
        """The frame of an input of (height, width); landmarks (N, 5, 2) in its pixels."""
        H, W = size
        x = (torch.arange(W, dtype=torch.float64) + 0.5)[None, None, :]
        y = (torch.arange(H, dtype=torch.float64) + 0.5)[None, :, None]
        if frame == "input":
            scale = torch.tensor([unit / W, unit / H], dtype=torch.float64)
            marks = None if landmarks is None else (landmarks.double() + 0.5) * scale
            return cls(x=x * unit / W, y=y * unit / H, landmarks=marks, whole=whole)
        if landmarks is None:
            raise InputError("regions in the frame of a face need landmarks")
        grid = torch.stack([x.expand(1, H, W)[0], y.expand(1, H, W)[0]], -1) - 0.5
        seen, marks = torch.empty(len(landmarks), H, W, 2, dtype=torch.float64), torch.empty(len(landmarks), 5, 2)
        marks = marks.double()
        for i, points in enumerate(landmarks):
            if bool(points.isfinite().all()):
                warp = Alignment().warp(points, size, 1)  # the aligned crop is one unit wide and high
                seen[i], marks[i] = (warp.points(grid) + 0.5) * unit, (warp.points(points) + 0.5) * unit
            else:
                seen[i], marks[i] = torch.nan, torch.nan
        return cls(x=seen[..., 0], y=seen[..., 1], landmarks=marks, whole=whole)


@dataclass(frozen=True)
class Bound:
    """A number of units, or a landmark's x or y and a shift from it.

    Attributes:
        shift: The number.
        point: The name of the landmark, if any.
        axis: `x` or `y` of it.
    """

    shift: float
    point: str | None = None
    axis: str | None = None

    @classmethod
    def parse(cls, value: object) -> "Bound":
        """A bound from a number, or from text: `12.5`, `nose.x`, `left_eye.x - 15`.

        Raises:
            InputError: Something else; the text says what is understood.
        """
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(float(value))
        found = _BOUND.fullmatch(value) if isinstance(value, str) else None
        if not found or (found["point"] and found["point"] not in _POINTS):
            form = "a number, or a point with x or y and a number to add or take, such as 'left_eye.x - 15'"
            raise InputError(f"{value!r} is no bound: give {form}; the points are {', '.join(_POINTS)}")
        if found["number"]:
            return cls(float(found["number"]))
        return cls(float(f"{found['sign'] or '+'}{found['shift'] or 0}"), found["point"], found["axis"])

    def written(self) -> str | float:
        """What `parse` reads."""
        if self.point is None:
            return self.shift
        sign = "-" if self.shift < 0 else "+"
        return f"{self.point}.{self.axis}" + (f" {sign} {abs(self.shift):g}" if self.shift else "")

    def at(self, frame: Frame) -> Tensor:
        """(N or 1, 1, 1) in units; NaN where the landmarks are unknown."""
        if self.point is None:
            value = torch.full((1, 1, 1), self.shift, dtype=torch.float64)
        elif frame.landmarks is None:
            raise InputError(f"a bound at {self.point} needs landmarks, and there are none")
        else:
            place = frame.landmarks[:, list(_POINTS[self.point]), "xy".index(str(self.axis))].mean(1)
            value = (place - 0.5 * frame.whole + self.shift)[:, None, None]
        return value.trunc() if frame.whole else value


@dataclass(frozen=True, kw_only=True)
class Box:
    """From `top` to `bottom` and `left` to `right`; a pixel belongs to it when its centre does."""

    top: Bound
    bottom: Bound
    left: Bound
    right: Bound

    def mask(self, frame: Frame) -> Tensor:
        """(N or 1, H, W) bool; what lies outside of the input is cut off."""
        x, y = frame.x, frame.y
        across = (x >= self.left.at(frame)) & (x < self.right.at(frame))
        return across & (y >= self.top.at(frame)) & (y < self.bottom.at(frame))


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """Around (`x`, `y`), with half axes `wide` and `tall` in units; a pixel belongs to it when its centre does."""

    x: Bound
    y: Bound
    wide: Bound
    tall: Bound

    def mask(self, frame: Frame) -> Tensor:
        """(N or 1, H, W) bool."""
        middle = 0.5 * frame.whole  # of the pixel that is named
        across = (frame.x - self.x.at(frame) - middle) / self.wide.at(frame)
        down = (frame.y - self.y.at(frame) - middle) / self.tall.at(frame)
        return across**2 + down**2 <= 1


@dataclass(frozen=True, kw_only=True)
class Area:
    """One region: boxes and ellipses, less others; or a mask that comes with each image.

    Attributes:
        boxes: What belongs to it.
        ellipses: What belongs to it too.
        minus_boxes: What is taken off.
        minus_ellipses: What is taken off too.
        given: Whether its masks come with the images; then there are no shapes.
    """

    boxes: tuple[Box, ...] = ()
    ellipses: tuple[Ellipse, ...] = ()
    minus_boxes: tuple[Box, ...] = ()
    minus_ellipses: tuple[Ellipse, ...] = ()
    given: bool = False

    @property
    def follows(self) -> bool:
        """Whether a bound follows landmarks."""
        shapes: tuple[Box | Ellipse, ...] = (*self.boxes, *self.ellipses, *self.minus_boxes, *self.minus_ellipses)
        return any(bound.point is not None for shape in shapes for bound in vars(shape).values())

    def mask(self, frame: Frame) -> Tensor:
        """(N or 1, H, W) bool."""
        return _any((*self.boxes, *self.ellipses), frame) & ~_any((*self.minus_boxes, *self.minus_ellipses), frame)


def _any(shapes: Sequence[Box | Ellipse], frame: Frame) -> Tensor:
    found = torch.zeros(1, frame.y.shape[1], frame.x.shape[2], dtype=torch.bool)
    for shape in shapes:
        found = found | shape.mask(frame)
    return found
