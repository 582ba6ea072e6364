"""One annotated image, and a lazy sequence of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, overload

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
    """

    pixels: Tensor
    boxes: Tensor
    region: Tensor
    record: "Record"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One annotated image, or one class of objects in it; nothing of it is decoded yet.

    Attributes:
        path: The image file.
        label: The index of its class, where it is known.
        name: The name of its class.
        boxes: (k, 4) left, top, right, bottom in pixels of the file, as edges; None where there are no boxes.
        mask: `mask.pixels(height, width)` gives (H, W) bool; None where there is none.
        attributes: Further labels by name.
        size: (height, width) of the image for which it was annotated, where the annotation says so.
        member: Where the image lies in an archive; `path` then names it and is no file.
    """

    path: Path
    label: int | None = None
    name: str | None = None
    boxes: Tensor | None = None
    mask: Shape | None = None
    attributes: Mapping[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    member: Member | None = None

    def load(self, size: Size, *, how: How = "crop", box: Box | None = None, crop: float = 224 / 256) -> Sample:
        """Read the image and fit it with its boxes and its mask; settings as in `sightline.data.images.fit`.

        Raises:
            InputError: The image or the mask cannot be read, or was annotated at another size; the text names it.
        """
        pixels = read_image(self.path, data=self.member.read() if self.member else None)
        here = (pixels.shape[1], pixels.shape[2])
        if self.size not in (None, here):
            raise InputError(f"{self.path}: is {_spoken(here)}, but its annotation is for {_spoken(self.size)}")
        place = placement(here, size, how=how, box=box, crop=crop)
        boxes = place.boxes(torch.empty(0, 4) if self.boxes is None else self.boxes)
        try:
            region = painted(boxes, place.size) if self.mask is None else place.mask(self.mask.pixels(*here))
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        return Sample(place.pixels(pixels[None])[0], boxes, region, self)


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
