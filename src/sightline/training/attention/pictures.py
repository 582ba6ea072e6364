"""Images to train on: their labels, a name for their content, and views of them as a network takes them."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.data.annotations import Record, Records
from sightline.data.fitting import How, placement
from sightline.data.images import find_images, read_image
from sightline.errors import InputError

Data = (
    str
    | os.PathLike[str]
    | Iterable[str | os.PathLike[str]]
    | Sequence[Record]
    | Tensor
    | tuple[Tensor, Tensor]
    | tuple[Tensor]
)
"""Files, folders, patterns, records of `sightline.data.annotations`, or pixels (N, C, H, W) with or without labels."""

_CROP = 224 / 256


class View(NamedTuple):
    """How an image is looked at.

    Attributes:
        crop: Where the crop lies within the resized image, (down, right) in [0, 1]; None for the centre.
        flip: Whether left and right are exchanged.
    """

    crop: tuple[float, float] | None = None
    flip: bool = False


CENTRE = View()


class Pictures:
    """Images that are read when they are asked for.

    Attributes:
        names: What each is called in messages.
        labels: (N,) category or (N, outputs) 0 or 1 for attributes; None where nobody gave them.
        movable: Whether a view may crop them elsewhere than in the centre (images from files, that are resized).
    """

    def __init__(self, data: Any, classifier: Classifier, *, how: How = "crop") -> None:
        self._size, self._how = classifier.size, how
        self._pixels: Tensor | None = None
        self._records: Sequence[Record] = ()
        labels = None
        if isinstance(data, tuple) and data and isinstance(data[0], Tensor):
            data, *rest = data
            labels = rest[0] if rest else None
        if isinstance(data, Tensor):
            self._pixels = data if data.dtype == torch.float16 else classifier.check_pixels(data).cpu()
            self.names = [f"image {i}" for i in range(len(data))]
        else:
            self._records = _records(data)
            self.names = [str(_path(self._records, i)) for i in range(len(self._records))]
            labels = _labels(self._records, classifier)
        self.movable = self._pixels is None and how == "crop"
        self.labels = None if labels is None else _checked(labels, self.names, classifier)

    def __len__(self) -> int:
        return len(self.names)

    def digest(self, index: int) -> str:
        """32 hex digits of SHA-256 over the file's bytes (or the pixels): the same for the same image anywhere.

        Raises:
            InputError: The file cannot be read.
        """
        if self._pixels is not None:
            return hashlib.sha256(self._pixels[index].contiguous().numpy().tobytes()).hexdigest()[:32]
        record = self._records[index]
        try:
            data = record.member.read() if record.member else Path(record.path).read_bytes()
        except OSError as reason:
            raise InputError(f"{record.path}: cannot be read ({reason.strerror}); check the path") from reason
        return hashlib.sha256(data).hexdigest()[:32]

    def read(self, index: int, view: View = CENTRE) -> Tensor:
        """One image as a network takes it: (C, H, W) float32 in [0, 1].

        Raises:
            InputError: It cannot be read; the text names it.
        """
        if self._pixels is not None:
            pixels = self._pixels[index].float()
        else:
            record = self._records[index]
            found = read_image(record.path, data=record.member.read() if record.member else None)
            place = placement((found.shape[1], found.shape[2]), self._size, how=self._how, crop=_CROP)
            if view.crop is not None:
                room = [large - small for large, small in zip(place.resized, place.size, strict=True)]
                top, left = (-round(share * most) for share, most in zip(view.crop, room, strict=True))
                place = dataclasses.replace(place, offset=(top, left))
            pixels = place.pixels(found[None])[0]
        return pixels.flip(-1) if view.flip else pixels


def views(count: int, seed: int, *, crop: bool, flip: bool) -> list[View]:
    """One view an image, drawn: the same for the same seed."""
    draw = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)).tolist()
    return [View((down, right) if crop else None, flip and side < 0.5) for down, right, side in draw]


def _records(data: Any) -> Sequence[Record]:
    if isinstance(data, str | os.PathLike):
        return [Record(path=path) for path in find_images(data)]
    given = data if isinstance(data, Sequence) else list(data)
    if not len(given):
        raise InputError("there are no images to train on: the list is empty")
    if isinstance(given[0], Record):
        return given
    if isinstance(given[0], Tensor):
        raise InputError("pixels come as one tensor (N, C, H, W), or as a pair (pixels, labels); torch.stack makes one")
    return [Record(path=path) for path in find_images(given)]


def _path(records: Sequence[Record], index: int) -> Path:
    return records.path(index) if isinstance(records, Records) else records[index].path


def _labels(records: Sequence[Record], classifier: Classifier) -> Tensor | None:
    """Labels of records, where all of them have some that are outputs of the classifier."""
    names = classifier.labels
    if classifier.decision == "categorical":
        found = [record.label for record in records]
        return torch.tensor(found) if all(label is not None for label in found) else None
    rows = [[record.attributes.get(name) for name in names] for record in records]
    if any(value is None for row in rows for value in row):
        return None
    return torch.tensor([[int(value > 0) for value in row if value is not None] for row in rows])


def _checked(labels: Tensor, names: Sequence[str], classifier: Classifier) -> Tensor:
    """Labels that fit the head.

    Raises:
        InputError: Another number of them, or labels that are no outputs; the text names the first image.
    """
    labels, width = labels.detach().cpu(), classifier.width
    if len(labels) != len(names):
        raise InputError(f"{len(labels)} labels do not fit {len(names)} images")
    if classifier.decision == "categorical":
        wrong = ((labels < 0) | (labels >= width)).nonzero().flatten().tolist() if labels.ndim == 1 else [0]
        if wrong:
            said = labels[wrong[0]].tolist()
            raise InputError(
                f"{names[wrong[0]]}: its label is {said}, but this classifier has the outputs 0 to {width - 1} "
                f"({len(wrong)} of {len(names)} images have such labels); name the classes in the order of its outputs"
            )
        return labels.long()
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.shape[1] != width:
        raise InputError(f"labels of {labels.shape[1]} attributes do not fit a classifier of {width} outputs")
    return labels.long()
