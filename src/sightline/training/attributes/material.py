"""The images of a run as bytes: decoded and prepared once, kept in one file, parted into two sides."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.data._ahead import read_ahead
from sightline.data.alignment import Preparation
from sightline.data.annotations import Record
from sightline.errors import InputError, StorageError
from sightline.files import atomic_write
from sightline.progress import shown
from sightline.training.attributes.data import Data

Size = tuple[int, int]


@dataclass(eq=False)
class Material:
    """Images by position.

    Attributes:
        names: The A attributes.
        pixels: (N, 3, H, W) uint8; backed by a file where they were decoded.
        labels: (N, A) int8: 1 yes, 0 no, -1 unknown.
        train, valid: (n,) positions; images that could not be read are in neither.
        weights: (N,) float32, what an image counts in the loss; or None.
        digest: 16 hex digits over pixels, labels and sides.
        failed: What could not be read, with the reasons.
    """

    names: tuple[str, ...]
    pixels: Tensor
    labels: Tensor
    train: Tensor
    valid: Tensor
    weights: Tensor | None
    digest: str
    failed: dict[str, str] = field(default_factory=dict)

    def counts(self) -> dict[str, Any]:
        """For a manifest: images, and how often each attribute is yes and no among those that are trained on."""
        y = self.labels[self.train]
        yes, no = (y == 1).sum(0).tolist(), (y == 0).sum(0).tolist()
        answers = {name: {"yes": p, "no": n} for name, p, n in zip(self.names, yes, no, strict=True)}
        return {"train": len(self.train), "validation": len(self.valid), "answers": answers}


def material(
    train: Data,
    valid: Data | None,
    *,
    size: Size,
    preparation: Preparation,
    share: float,
    folder: Path,
    weights: Tensor | None = None,
    workers: int = 4,
    progress: bool | Callable[[int, int], None] | None = None,
) -> Material:
    """Decode what is not yet decoded, and part it.

    Args:
        train: What to train on.
        valid: What chooses the epoch; None takes a share of `train`, told by the bytes of the pixels, so that copies
            of an image stand on one side.
        size: (height, width) of the input.
        preparation: How a record becomes the input.
        share: In [0, 0.5].
        folder: Where decoded images are kept.
        weights: (N,) of the images to train on.
        workers: Threads that read.
        progress: As for `fit_attributes`.

    Raises:
        InputError: Images of another size, weights that do not fit, or nothing left to train on.
    """
    parts = [part for part in (train, valid) if part is not None]
    kept = [_pixels(part, size, preparation, folder, workers, progress) for part in parts]
    if weights is not None and (
        weights.shape != (len(train),) or not bool((weights.isfinite() & (weights >= 0)).all())
    ):
        raise InputError(
            f"weights of images must be {len(train)} finite numbers of 0 or more, one for each to train on"
        )
    failed = {name: reason for part in parts for name, reason in part.missing}
    for _, _, broken in kept:
        failed |= broken
    good = [[i for i, digest in enumerate(digests) if digest] for _, digests, _ in kept]
    if valid is None:
        digests = kept[0][1]
        chosen = {i for i in good[0] if int(digests[i][:8], 16) / 2**32 < share}
        sides = [[i for i in good[0] if i not in chosen], sorted(chosen)]
    else:
        sides = [good[0], [len(train) + i for i in good[1]]]
    _check(sides, len(train), share, failed)
    labels = torch.cat([part.labels for part in parts])
    pixels = kept[0][0] if len(kept) == 1 else _Joined(kept[0][0], kept[1][0])
    said = hashlib.sha256("".join(d for _, digests, _ in kept for d in digests).encode())
    said.update(labels.numpy().tobytes() + repr(sides).encode())
    if weights is not None:
        said.update(weights.double().numpy().tobytes())
        weights = torch.cat([weights.float(), torch.ones(len(labels) - len(train))])
    return Material(
        train.names,
        pixels,  # type: ignore[arg-type]
        labels,
        torch.tensor(sides[0]),
        torch.tensor(sides[1], dtype=torch.int64),
        weights,
        said.hexdigest()[:16],
        failed,
    )


class _Joined:
    """Two sets of images behind one numbering; indexed by a tensor of positions."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self._first, self._second = first, second

    def __getitem__(self, rows: Tensor) -> Tensor:
        n = len(self._first)
        out = torch.empty(len(rows), *self._first.shape[1:], dtype=torch.uint8)
        here = rows < n
        out[here], out[~here] = self._first[rows[here]], self._second[rows[~here] - n]
        return out


def _check(sides: Sequence[Sequence[int]], count: int, share: float, failed: dict[str, str]) -> None:
    if not sides[0]:
        first = next((f"; the first that failed: {name}: {why}" for name, why in failed.items()), "")
        raise InputError(f"of {count} images none is left to train on{first}")
    if not sides[1]:
        raise InputError(
            f"no image is left to choose the epoch by (share {share:g} of {count}); give validation= data, a larger "
            "share, or more images: without it nothing tells when to stop"
        )


Kept = tuple[Tensor, list[str], dict[str, str]]


def _pixels(part: Data, size: Size, preparation: Preparation, folder: Path, workers: int, progress: Any) -> Kept:
    """Bytes, digest of each image ("" where it failed), and what failed."""
    if part.pixels is not None:
        return part.pixels, [_digest(image.numpy()) for image in part.pixels], {}
    records = list(part.records)
    name = _key(records, size, preparation)
    file, note = folder / f"{name}.u8", folder / f"{name}.json"
    shape = (len(records), 3, *size)
    if note.is_file() and file.is_file() and file.stat().st_size == int(np.prod(shape)):
        said = json.loads(note.read_text(encoding="utf-8"))
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=shape)), said["digests"], said["failed"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as reason:
        raise StorageError(
            f"{folder}: decoded images cannot be kept there ({reason}); give cache= a folder"
        ) from reason
    digests, failed = [""] * len(records), dict[str, str]()

    def read(item: tuple[int, Record]) -> Tensor:
        return preparation.load(item[1], size).pixels

    with shown(len(records), progress if not callable(progress) else None, "decoding", "image") as advance:
        found = read_ahead(list(enumerate(records)), read, workers=workers, ready=256)
        for (i, record), result in found:
            if isinstance(result, InputError):
                failed[str(record.path)] = str(result).removeprefix(f"{record.path}: ")
            else:
                pixels[i] = (result * 255).round().to(torch.uint8).numpy()
                digests[i] = _digest(pixels[i])
            advance(1)
    pixels.flush()
    with atomic_write(note) as out:
        out.write(json.dumps({"digests": digests, "failed": failed}).encode())
    return torch.from_numpy(pixels), digests, failed


def _digest(image: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def _key(records: Sequence[Record], size: Size, preparation: Preparation) -> str:
    """A name for decoded images: files with their sizes and times, and what is done to them."""
    said = hashlib.sha256(f"{size} {preparation.described()}".encode())
    for record in records:
        try:
            state = None if record.member else record.path.stat()
        except OSError:
            state = None
        seen = (state.st_size, state.st_mtime_ns) if state else ()
        points = None if record.landmarks is None else record.landmarks.tolist()
        said.update(repr((str(record.path), seen, points)).encode())
    return said.hexdigest()[:16]
