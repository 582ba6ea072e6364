"""One annotated image, and a lazy sequence of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, overload

import torch
from torch import Tensor

from sightline.data.annotations._members import Member
from sightline.data.annotations._shapes import Shape
from sightline.data.boxes import painted
from sightline.data.fitting import Box, How, Size, placement
from sightline.data.images import Failure, read_image
from sightline.errors import InputError


class Sample(NamedTuple):
    """An image as a network takes it, with its annotation in the same place.

    Attributes:
        pixels: (3, H, W) in [0, 1].
        boxes: (k, 4) left, top, right, bottom in pixels of the input; none where the record has none.
        region: (H, W) bool: the mask; without one the boxes; all False where the record has neither.
        record: Where it comes from.
        landmarks: (k, 2) float64 x, y in pixels of the input, where 0, 0 is the centre of the top left one; (0, 2)
            where the record has none. They may lie outside of the input.
        masks: (H, W) bool by the name of a region: the record's `masks`, fitted.
    """

    pixels: Tensor
    boxes: Tensor
    region: Tensor
    record: "Record"
    landmarks: Tensor
    masks: Mapping[str, Tensor]


class Place(Protocol):
    """How an image becomes a network's input: one geometry for pixels, boxes, points and masks."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input."""
        ...

    def pixels(self, pixels: Tensor) -> Tensor:
        """Bring (1, 3, H, W) in [0, 1] to (1, 3, height, width)."""
        ...

    def boxes(self, boxes: Tensor) -> Tensor:
        """Bring boxes (k, 4) along."""
        ...

    def points(self, points: Tensor) -> Tensor:
        """Bring points (k, 2) along."""
        ...

    def mask(self, mask: Tensor) -> Tensor:
        """Bring a mask (H, W) bool along."""
        ...


@dataclass(frozen=True, kw_only=True)
class Record:
    """One annotated image, or one class of objects in it; nothing of it is decoded yet.

    Attributes:
        path: The image file.
        label: The index of its class, where it is known.
        name: The name of its class.
        boxes: (k, 4) left, top, right, bottom in pixels of the file, as edges; None where there are no boxes.
        mask: `mask.pixels(height, width)` gives (H, W) bool; None where there is none.
        attributes: Further labels by name: 1 for yes and 0 for no; what is unknown is absent.
        size: (height, width) of the image for which it was annotated, where the annotation says so.
        member: Where the image lies in an archive; `path` then names it and is no file.
        landmarks: (k, 2) x, y in pixels of the file, where 0, 0 is the centre of the top left one; None where there are
            none. Of a face five, in CelebA's order: left eye, right eye, nose, left and right corner of the mouth, as
            seen in the image.
        groups: Names of the groups to which the image belongs, by column (`{"light": "indoors"}`).
        masks: Masks of named regions, such as those of attributes.
    """

    path: Path
    label: int | None = None
    name: str | None = None
    boxes: Tensor | None = None
    mask: Shape | None = None
    attributes: Mapping[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    member: Member | None = None
    landmarks: Tensor | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, Shape] = field(default_factory=dict)

    def load(self, size: Size, *, how: How = "crop", box: Box | None = None, crop: float = 224 / 256) -> Sample:
        """Read the image and fit it with its annotation; settings as in `sightline.data.images.fit`.

        Raises:
            InputError: The image or a mask cannot be read, or was annotated at another size; the text names it.
        """
        return self.through(lambda here: placement(here, size, how=how, box=box, crop=crop))

    def through(self, place: Callable[[tuple[int, int]], Place]) -> Sample:
        """Read the image and bring it with its annotation to where a geometry puts it.

        Args:
            place: Gives the geometry for an image of (height, width).

        Raises:
            InputError: As in `load`.
        """
        pixels = read_image(self.path, data=self.member.read() if self.member else None)
        here = (pixels.shape[1], pixels.shape[2])
        if self.size not in (None, here):
            raise InputError(f"{self.path}: is {_spoken(here)}, but its annotation is for {_spoken(self.size)}")
        there = place(here)
        boxes = there.boxes(torch.empty(0, 4) if self.boxes is None else self.boxes)
        points = there.points(torch.empty(0, 2) if self.landmarks is None else self.landmarks)
        try:
            region = painted(boxes, there.size) if self.mask is None else there.mask(self.mask.pixels(*here))
            masks = {name: there.mask(shape.pixels(*here)) for name, shape in self.masks.items()}
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        return Sample(there.pixels(pixels[None])[0], boxes, region, self, points, masks)


def _spoken(size: tuple[int, int] | None) -> str:
    return f"{size[0]} high and {size[1]} wide" if size else "no size"


class Records(Sequence[Record]):
    """A lazy sequence of records: what lies behind an entry is read when it is asked for.

    Attributes:
        classes: Names by index.
        failures: What was found missing or wrong when the sequence was made, with the reasons. An entry without an
            image is left out; one without its annotation stays, and says so by `boxes` or `mask` None.
    """

    def __init__(
        self,
        entries: Sequence[tuple[Path, Any]],
        make: Callable[[Path, Any], Record],
        *,
        classes: Sequence[str] = (),
        failures: Sequence[Failure] = (),
    ) -> None:
        self._entries, self._make = list(entries), make
        self.classes, self.failures = tuple(classes), list(failures)

    def __len__(self) -> int:
        return len(self._entries)

    def chosen(self, indices: Iterable[int]) -> "Records":
        """The entries of these numbers, in their order."""
        entries = [self._entries[index] for index in indices]
        return Records(entries, self._make, classes=self.classes, failures=self.failures)

    def path(self, index: int) -> Path:
        """The image of an entry, without reading its annotation."""
        return self._entries[index][0]

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Records": ...
    def __getitem__(self, index: int | slice) -> "Record | Records":
        """One record, or a part of the sequence.

        Raises:
            InputError: Its annotation cannot be read; the text names the file.
        """
        if isinstance(index, slice):
            return Records(self._entries[index], self._make, classes=self.classes, failures=self.failures)
        return self._make(*self._entries[index])

    def __iter__(self) -> Iterator[Record]:
        return (self._make(*entry) for entry in self._entries)

    def __repr__(self) -> str:
        return f"Records({len(self)} records, {len(self.classes)} classes, {len(self.failures)} failures)"
