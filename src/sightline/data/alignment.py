"""Faces brought to one place by their landmarks, and how a study turns a record into a network's input."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from sightline.data.annotations.record import Record, Sample
from sightline.data.augmentation import Augmentation, augmented
from sightline.data.fitting import Box, Size, placement
from sightline.data.warping import Warp
from sightline.errors import InputError

__all__ = ["Alignment", "Augmentation", "Fit", "Preparation", "aligned", "augmented", "frontal"]

Fit = Literal["crop", "squash", "pad", "align"]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Where a face goes: AFFACT's geometry (Günther, Rozsa, Boult 2017, arXiv 1611.06158).

    e is the middle of the eyes, m that of the mouth's corners, d = |e - m|. The crop is a square of side `side` d with
    e in the middle of its width and at `eye_line` of its height, turned so that the line of the eyes is level.

    Attributes:
        side: Side of the crop in units of d.
        eye_line: Share of the crop that lies above the eyes.
        rotate: Whether the crop turns with the face.
    """

    side: float = 5.5
    eye_line: float = 0.45
    rotate: bool = True

    def __post_init__(self) -> None:
        if not (0 < self.side < 1000 and 0 <= self.eye_line <= 1):
            raise InputError(
                f"side must be above 0 and eye_line between 0 and 1; got {self.side!r} and {self.eye_line!r}"
            )

    def warp(self, landmarks: Tensor, image: tuple[int, int], size: Size) -> Warp:
        """The map from an image to its crop.

        Args:
            landmarks: (5, 2) x, y in pixels of the image: left eye, right eye, nose, left and right mouth corner.
            image: (height, width) of the image.
            size: The side, or (height, width), of the crop in pixels of the input.

        Raises:
            InputError: Not five finite points, or eyes and mouth in one place.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise InputError(f"size must be 1 or more, not {size}")
        left, right, e, m = _eyes_and_mouth(landmarks)
        d = float(torch.linalg.vector_norm(e - m))
        w = self.side * d
        across, down = (float(v) for v in right - left)
        if w == 0 or (self.rotate and across == down == 0):
            raise InputError("its eyes and its mouth are in one place; correct the landmarks")
        a = math.atan2(down, across) if self.rotate else 0.0
        turn = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=torch.float64)
        # p of the input is (p + 1/2) w / width right of the crop's left edge, which lies w / 2 left of e.
        A = turn @ torch.diag(torch.tensor([w / width, w / height], dtype=torch.float64))
        corner = torch.tensor([0.5 * w / width - 0.5 * w, 0.5 * w / height - self.eye_line * w], dtype=torch.float64)
        return Warp(image, (height, width), torch.cat([A, (e + turn @ corner)[:, None]], 1))


def aligned(record: Record, size: Size, alignment: Alignment | None = None) -> Sample:
    """Read an image and align it, with its annotation, by the landmarks of its face.

    Args:
        record: What to read.
        size: The side, or (height, width), in pixels of the input.
        alignment: The geometry; AFFACT's by default.

    Returns:
        The sample. Beyond the edge of the image its outermost pixels are repeated; see `Warp.pixels` for resampling.

    Raises:
        InputError: The record has no five landmarks, or cannot be read; the text names it.
    """
    if record.landmarks is None:
        raise InputError(
            f"{record.path}: has no landmarks, by which it would be aligned; give them, or fit by crop, squash or pad"
        )
    try:
        warp = (alignment or Alignment()).warp(record.landmarks, (1, 1), size)
    except InputError as error:
        raise InputError(f"{record.path}: {error}") from error
    return record.through(lambda here: replace(warp, image=here))


def frontal(landmarks: Tensor, *, limit: float = 0.1) -> Tensor:
    """Which faces look straight ahead: the filter of Zhang, Bieri, Günther 2024 (arXiv 2403.14435).

    d / D <= limit, where d is the distance of the nose's tip from the line through the middle of the eyes and the
    middle of the mouth's corners, and D is how far the one lies above the other.

    Args:
        landmarks: (N, 5, 2) x, y: left eye, right eye, nose, left and right corner of the mouth. NaN means unknown.
        limit: The largest d / D that counts as frontal.

    Returns:
        (N,) bool; False where landmarks are unknown, or the mouth is not below the eyes.

    Raises:
        InputError: Another shape.
    """
    if landmarks.ndim != 3 or tuple(landmarks.shape[1:]) != (5, 2):
        raise InputError(f"landmarks must be (N, 5, 2), not {tuple(landmarks.shape)}")
    p = landmarks.double()
    e, m, nose = (p[:, 0] + p[:, 1]) / 2, (p[:, 3] + p[:, 4]) / 2, p[:, 2]
    along, to = m - e, nose - e
    length = torch.linalg.vector_norm(along, dim=1)
    d = (along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0]).abs() / length
    D = along[:, 1]
    ahead: Tensor = (D > 0) & (d <= limit * D)  # NaN compares as False
    return ahead


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a study turns a record into a network's input: one object for audit, training and shell.

    Attributes:
        fit: `crop`, `squash` or `pad` as in `sightline.data.images.fit`; `align` cuts the face out by its landmarks.
        box: What is cut out of every image first, in fractions; not with `align`.
        alignment: The geometry of `align`.
        crop: For `crop`: the share of the resized side that is kept.
    """

    fit: Fit = "crop"
    box: Box | None = None
    alignment: Alignment = field(default_factory=Alignment)
    crop: float = 224 / 256

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise InputError(f"fit must be one of {', '.join(get_args(Fit))}, not {self.fit!r}")
        if self.fit == "align" and self.box is not None:
            raise InputError("align finds the face by its landmarks; leave box out, or fit by crop, squash or pad")
        if self.fit != "align":
            placement((8, 8), 8, how=self.fit, box=self.box, crop=self.crop)

    def load(self, record: Record, size: Size) -> Sample:
        """Read a record as the network takes it.

        Raises:
            InputError: It cannot be read, or has no landmarks and `fit` is `align`; the text names the image.
        """
        if self.fit == "align":
            return aligned(record, size, self.alignment)
        return record.load(size, how=self.fit, box=self.box, crop=self.crop)

    def described(self) -> str:
        """What is done, in words for a protocol."""
        if self.fit == "align":
            a = self.alignment
            turned = "turned level" if a.rotate else "not turned"
            where = f"square of {a.side:g} eye-mouth distances, eyes at {a.eye_line:g} of its height, {turned}"
            return f"aligned by landmarks ({where})"
        words = {
            "crop": f"shorter side resized, centre cropped ({self.crop:.4g} of it kept)",
            "squash": "resized without keeping proportions",
            "pad": "resized to fit, borders filled with grey",
        }[self.fit]
        return words if self.box is None else f"box {', '.join(f'{v:g}' for v in self.box)} cut out, {words}"


def _eyes_and_mouth(landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(2,) each: left eye, right eye, the middle of the eyes, the middle of the mouth's corners."""
    if tuple(landmarks.shape) != (5, 2) or not bool(landmarks.isfinite().all()):
        raise InputError(
            f"alignment takes five points (5, 2): eyes, nose, corners of the mouth; not {tuple(landmarks.shape)}"
        )
    p = landmarks.double()
    return p[0], p[1], (p[0] + p[1]) / 2, (p[3] + p[4]) / 2
