"""Maps that are kept: one file of NumPy a member, method and variant, written row by row and read as a memory map.

`own` is the map of the decision made, `other-class` that of the decision against it, `randomised` that of the member
with random weights, `upper-random` with those of its upper half alone. Each is also the name of the control that masks
by it. Rows are in the order of the run; NaN where an image failed, or is not done yet.
"""

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError, StorageError
from sightline.files import atomic_write
from sightline.store import KEPT, slug

OWN, OTHER, RANDOM, UPPER = "own", "other-class", "randomised", "upper-random"
VARIANTS = (OWN, OTHER, RANDOM, UPPER)
_CHUNK = 64  # rows at a time: what is held does not grow with the number of images

Array = NDArray[np.float32]


class Kept:
    """The maps of a run.

    Args:
        run: Its folder.
        count: How many images it has.
    """

    def __init__(self, run: Path, count: int) -> None:
        self.folder, self.count = run / KEPT, count

    def path(self, model: str, method: str, variant: str = OWN) -> Path:
        """The file of one member, method and variant."""
        return self.folder / model / f"{slug(method)}-{variant}.npy"

    def sweep(self) -> None:
        """Remove temporary files of a killed process."""
        for left in self.folder.glob("*/.tmp-*"):
            left.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all maps: none of them is in the journal."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, model: str, method: str, variant: str, rows: Sequence[int], maps: Array) -> None:
        """Put maps (n, h, w) into rows; they are on the disk when this returns.

        Raises:
            StorageError: The disk is full; the same run goes on when there is room.
        """
        path = self.path(model, method, variant)
        if not path.exists():
            self._make(path, maps.shape[1:])
        there = np.load(path, mmap_mode="r")
        if there.shape[1:] != maps.shape[1:]:
            raise StorageError(f"{path} holds maps of {there.shape[1:]}, not {maps.shape[1:]}; use another folder")
        try:
            with path.open("r+b") as file:
                for row, one in zip(rows, np.ascontiguousarray(maps, dtype="<f4"), strict=True):
                    file.seek(there.offset + row * one.nbytes)
                    file.write(one.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as reason:
            why = reason.strerror or str(reason)
            raise StorageError(f"{path}: could not be written ({why}); free some space, and go on") from reason

    def _make(self, path: Path, shape: tuple[int, ...]) -> None:
        """A file of NaN: a disk that is too small says so now, and not in the middle of a memory map."""
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.count, *shape)}
        blank = np.full((1, *shape), np.nan, dtype="<f4").tobytes()
        with atomic_write(path, size=len(blank) * self.count) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(self.count):
                file.write(blank)

    def read(self, model: str, method: str, variant: str = OWN) -> Any:
        """Maps (N, h, w) float32 as a memory map.

        Raises:
            InputError: There are none of that name.
        """
        path = self.path(model, method, variant)
        if not path.exists():
            raise InputError(f"{path.name} of {model!r} is not kept: no image was explained so, or the run has no maps")
        return np.load(path, mmap_mode="r")

    def rows(self, model: str, method: str, variant: str, indices: Sequence[int]) -> Array:
        """Some of the maps, read into memory: (n, h, w)."""
        return np.asarray(self.read(model, method, variant)[list(indices)], dtype=np.float32)

    def chunks(self, model: str, method: str, indices: Sequence[int], variant: str = OWN) -> Iterator[Array]:
        """The same, a few at a time."""
        for start in range(0, len(indices), _CHUNK):
            yield self.rows(model, method, variant, indices[start : start + _CHUNK])

    def mean(self, model: str, method: str, indices: Sequence[int]) -> Array:
        """The mean (h, w) of the own maps of some images, summed in float64."""
        total: Any = 0.0
        for maps in self.chunks(model, method, indices):
            total = total + maps.astype(np.float64).sum(0)
        mean: Array = (total / len(indices)).astype(np.float32)
        return mean

    def bytes(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """What maps of these shapes take on the disk."""
        return 4 * self.count * sum(math.prod(shape) for shape in shapes)
