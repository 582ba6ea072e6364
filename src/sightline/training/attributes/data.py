"""What to train on: a CelebA folder, a table, records, rendered faces, or pixels; with names of the attributes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sightline.data import annotations, faces
from sightline.data.annotations import Record
from sightline.errors import InputError

_LISTED = "list_attr_celeba.txt"
_SHAPES = "a CelebA folder, a table (.csv, .tsv, .parquet), records, faces:COUNT, Faces, or (pixels, labels)"


@dataclass(frozen=True, eq=False)
class Data:
    """Images with answers; either records that are read from files, or pixels.

    Attributes:
        names: The A attributes.
        labels: (N, A) int8: 1 yes, 0 no, -1 unknown.
        records: What is read, in order; none where there are pixels.
        pixels: (N, 3, H, W) uint8, or None.
        missing: Names of files that are not there, with the reasons.
    """

    names: tuple[str, ...]
    labels: Tensor
    records: Sequence[Record]
    pixels: Tensor | None = None
    missing: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


def gathered(
    data: Any, validation: Any, *, attributes: Sequence[str] | None, size: tuple[int, int], share: float, seed: int
) -> tuple[Data, Data | None]:
    """What to train on, and what chooses the epoch, where that is a set of its own.

    Args:
        data: See `fit_attributes`.
        validation: Likewise, or None: a CelebA folder has a part for it, of `faces:COUNT` further ones are drawn, of
            anything else a share is taken later.
        attributes: Which, in which order; all of them by default.
        size: (height, width) of the input, for faces that are drawn.
        share: Of `data` that chooses the epoch.
        seed: Of the faces.

    Raises:
        InputError: Nothing that can be trained on; the text says what can.
    """
    if isinstance(data, str) and data.startswith("faces:"):
        found, drawn = _drawn(data, attributes, size, share, seed)
        return found, drawn if validation is None else _one(validation, found.names, size, "valid")
    found = _one(data, attributes, size, "train")
    if validation is None and _is_celeba(data):
        validation = data
    return found, None if validation is None else _one(validation, found.names, size, "valid")


def _is_celeba(data: Any) -> bool:
    return isinstance(data, str | os.PathLike) and (Path(data) / _LISTED).is_file()


def _one(data: Any, attributes: Sequence[str] | None, size: tuple[int, int], part: Any) -> Data:
    if isinstance(data, Data):
        return data
    if isinstance(data, faces.Faces):
        return _of_faces(data, attributes, size)
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(v, Tensor) for v in data):
        return _of_pixels(*data, attributes, size)
    if isinstance(data, str | os.PathLike):
        path = Path(data)
        if _is_celeba(path):
            return _of_records(annotations.celeba(path, part=part), attributes)
        if path.suffix.lower() in (".csv", ".tsv", ".parquet"):
            return _of_records(annotations.manifest(path), attributes)
        raise InputError(f"{data}: cannot be trained on; give {_SHAPES} (a CelebA folder has {_LISTED} in it)")
    if isinstance(data, Sequence) and len(data) and isinstance(data[0], Record):
        return _of_records(data, attributes)
    raise InputError(f"{type(data).__name__} cannot be trained on; give {_SHAPES}")


def _of_records(records: Sequence[Record], attributes: Sequence[str] | None) -> Data:
    rows = [record.attributes for record in records]
    known = list(dict.fromkeys(name for row in rows for name in row))
    names = _chosen(known, attributes)
    labels = torch.tensor([[row.get(name, -1) for name in names] for row in rows], dtype=torch.int8)
    wrong = ((labels < -1) | (labels > 1)).nonzero().tolist()
    if wrong:
        i, a = wrong[0]
        raise InputError(f"{records[i].path}: {names[a]} is {int(labels[i, a])}; attributes are 1 (yes) or 0 (no)")
    missing = tuple((str(path), reason) for path, reason in getattr(records, "failures", ()))
    return Data(names, labels, records, missing=missing)


def _of_faces(drawn: faces.Faces, attributes: Sequence[str] | None, size: tuple[int, int]) -> Data:
    if (drawn.size, drawn.size) != size:
        raise InputError(f"the faces are {drawn.size} pixels wide; give size={drawn.size}, or draw them at {size}")
    names = _chosen(list(drawn.names), attributes)
    columns = [drawn.names.index(name) for name in names]
    return Data(names, drawn.attributes[:, columns].to(torch.int8), (), _bytes(drawn.pixels))


def _drawn(
    spec: str, attributes: Sequence[str] | None, size: tuple[int, int], share: float, seed: int
) -> tuple[Data, Data | None]:
    text = spec.removeprefix("faces:").replace("_", "")
    if not text.isdigit() or int(text) < 1 or size[0] != size[1]:
        raise InputError(f"cannot read {spec!r}: write faces:COUNT, such as faces:4000, and a square size")
    count = int(text)
    found = _of_faces(faces.sample(count, seed=seed, size=size[0]), attributes, size)
    more = round(count * share)
    if not more:
        return found, None
    return found, _of_faces(faces.sample(more, seed=seed, size=size[0], first=count), found.names, size)


def _of_pixels(pixels: Tensor, labels: Tensor, attributes: Sequence[str] | None, size: tuple[int, int]) -> Data:
    if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, *size) or labels.shape[:1] != pixels.shape[:1]:
        raise InputError(
            f"pixels {tuple(pixels.shape)} and labels {tuple(labels.shape)} must be (N, 3, {size[0]}, {size[1]}) and "
            "(N, A); give size= as the pixels are"
        )
    if labels.ndim != 2 or not bool(((labels == 0) | (labels == 1) | (labels == -1)).all()):
        raise InputError("labels must be (N, A) with 1 for yes, 0 for no, -1 for unknown")
    if attributes is None or len(attributes) != labels.shape[1]:
        raise InputError(f"pixels come without names; give attributes= with {labels.shape[1]} names")
    if pixels.dtype != torch.uint8 and not (pixels.is_floating_point() and 0 <= pixels.min() <= pixels.max() <= 1):
        raise InputError(f"pixels must be uint8, or floating point in [0, 1], not {pixels.dtype}")
    return Data(
        tuple(attributes),
        labels.to(torch.int8).cpu(),
        (),
        pixels.cpu() if pixels.dtype == torch.uint8 else _bytes(pixels),
    )


def _bytes(pixels: Tensor) -> Tensor:
    """[0, 1] as 0..255, rounded."""
    return (pixels.detach().cpu() * 255).round().to(torch.uint8)


def _chosen(known: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(known if asked is None else asked)
    if not names:
        raise InputError("the images have no attributes; a table needs columns of 0 and 1 beside 'path'")
    strange = next((name for name in names if name not in known), None)
    if strange is not None or len(set(names)) < len(names):
        what = f"no attribute {strange!r}" if strange is not None else "each attribute once"
        raise InputError(f"the data has {what}; it has {', '.join(known)}")
    return names
