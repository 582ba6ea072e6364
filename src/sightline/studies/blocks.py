"""Blocks of images that are worked on and journalled together: what is left of a run, and reading ahead."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sightline.data._ahead import read_ahead
from sightline.store import Part, Run
from sightline.studies.benchmarking.work import numbers_of

_WORKERS = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """A block of images: places in the source, names, numbers in the run, sizes of the files."""

    name: str
    places: tuple[int, ...]
    keys: tuple[str, ...]
    indices: tuple[int, ...]
    stamps: tuple[int, ...]

    def part(self) -> Part:
        """What the journal says of it."""
        return {"name": self.name, "images": self.keys, "indices": self.indices, "stamps": self.stamps}


def units(run: Run, keys: Sequence[str], sizes: Sequence[int], *, batch: int) -> list[Unit]:
    """What is left, in the order of the source; finished images stay finished.

    Args:
        run: The run.
        keys: Names of all images that are asked.
        sizes: Sizes of their files, which tell whether one changed.
        batch: Images in a block.

    Raises:
        StorageError: The run has images that are not asked, or that changed since.
    """
    place = {key: i for i, key in enumerate(keys)}
    numbers = numbers_of(run, keys, place, sizes)
    done = {key for part in run.parts for key in part["images"]}
    left = [key for key in keys if key not in done]
    found = []
    for start in range(0, len(left), batch):
        images = tuple(left[start : start + batch])
        indices = tuple(numbers[key] for key in images)
        content = hashlib.sha256("\0".join(images).encode(errors="surrogateescape")).hexdigest()[:12]
        where = tuple(place[key] for key in images)
        found.append(Unit(f"{indices[0]:07d}-{content}", where, images, indices, tuple(sizes[i] for i in where)))
    return found


def read(left: Sequence[Unit], load: Callable[[int], T], *, ready: int) -> Iterator[tuple[Unit, list[T | Exception]]]:
    """Blocks with their images, or why one cannot be read; threads read ahead.

    Args:
        left: The blocks.
        load: Reads the image at a place.
        ready: How many images are held at once, at most.
    """
    places = [place for unit in left for place in unit.places]
    source = read_ahead(places, load, workers=_WORKERS, ready=ready)
    try:
        for unit in left:
            yield unit, [next(source)[1] for _ in unit.places]
    finally:
        source.close()
