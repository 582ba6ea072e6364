"""Annotated images in batches, read ahead of use by threads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sightline.data._ahead import read_ahead
from sightline.data.annotations.record import Record, Records, Sample
from sightline.data.fitting import Box, How, Size, placement
from sightline.data.images import Failure
from sightline.errors import InputError


class Batch(NamedTuple):
    """B annotated images; for the rows of an explanation take `regions[out.image]` and so on.

    Attributes:
        pixels: (B, 3, H, W) in [0, 1].
        boxes: B times (k, 4) left, top, right, bottom in pixels of the input.
        regions: (B, H, W) bool; all False where nothing is known.
        records: B records.
        places: B places in the sequence that was loaded.
    """

    pixels: Tensor
    boxes: list[Tensor]
    regions: Tensor
    records: list[Record]
    places: list[int]


class Batches:
    """Batches of annotated images; made by `load`, iterated as often as you like.

    Attributes:
        records: What is read.
        failures: The images that the current (or the last) pass could not read, in order, with the reasons.
    """

    failures: list[Failure]

    def __init__(
        self,
        records: Sequence[Record],
        size: Size,
        *,
        how: How,
        box: Box | None,
        crop: float,
        batch_size: int,
        collect: bool,
        workers: int,
    ) -> None:
        self.records, self.failures = records, []
        self._size, self._how, self._box, self._crop = size, how, box, crop
        self._batch_size, self._collect, self._workers = batch_size, collect, workers

    def _read(self, index: int) -> Sample:
        return self.records[index].load(self._size, how=self._how, box=self._box, crop=self._crop)

    def _path(self, index: int) -> Path:
        return self.records.path(index) if isinstance(self.records, Records) else self.records[index].path

    def __iter__(self) -> Iterator[Batch]:
        self.failures = failures = []
        found: list[tuple[int, Sample]] = []
        results = read_ahead(range(len(self.records)), self._read, workers=self._workers, ready=self._batch_size)
        try:
            for index, result in results:
                if isinstance(result, InputError):
                    if not self._collect:
                        raise result
                    path = self._path(index)
                    failures.append(Failure(path, str(result).removeprefix(f"{path}: ")))
                    continue
                found.append((index, result))
                if len(found) == self._batch_size:
                    yield _batch(found)
                    found = []
        finally:
            results.close()  # stops the threads at once, also when the caller leaves early
        if found:
            yield _batch(found)


def _batch(found: list[tuple[int, Sample]]) -> Batch:
    samples = [sample for _, sample in found]
    return Batch(
        torch.stack([s.pixels for s in samples]),
        [s.boxes for s in samples],
        torch.stack([s.region for s in samples]),
        [s.record for s in samples],
        [index for index, _ in found],
    )


def load(
    records: Sequence[Record],
    *,
    size: Size = 224,
    how: How = "crop",
    box: Box | None = None,
    crop: float = 224 / 256,
    batch_size: int = 16,
    on_error: Literal["raise", "collect"] = "raise",
    workers: int = 4,
) -> Batches:
    """Read annotated images lazily, in order, in batches of one size; boxes and masks follow their images.

    Args:
        records: What `folders`, `imagenet`, `coco`, `celeba`, `manifest` or `shards` give, or any sequence of records.
        size: The side, or (height, width), in pixels; with `how`, `box` and `crop` as in `sightline.data.images.fit`.
        how: ``crop``, ``squash`` or ``pad``.
        box: What is cut out of every image first.
        crop: For ``crop``: the share of the resized side that is kept.
        batch_size: Images a batch; only the last batch may be smaller.
        on_error: ``raise`` stops at the first one that cannot be read. ``collect`` leaves it out, goes on, and names
            it in ``failures`` of what is returned.
        workers: Threads that read ahead; 0 reads in the caller's thread.

    Raises:
        InputError: A setting out of range; while iterating, what cannot be read (with ``raise``).
    """
    if on_error not in ("raise", "collect"):
        raise InputError(f"on_error must be 'raise' or 'collect', not {on_error!r}")
    if batch_size < 1 or workers < 0:
        raise InputError(f"batch_size must be 1 or more and workers 0 or more, not {batch_size} and {workers}")
    placement((8, 8), size, how=how, box=box, crop=crop)  # a wrong setting is told before any file is read
    collect = on_error == "collect"
    return Batches(records, size, how=how, box=box, crop=crop, batch_size=batch_size, collect=collect, workers=workers)
