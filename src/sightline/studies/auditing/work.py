"""The work: read a block of images, ask once, write decisions, maps, sums of maps and edits; block by block."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sightline.data._ahead import read_ahead
from sightline.data.alignment import frontal
from sightline.store import Run
from sightline.studies.auditing import tables
from sightline.studies.auditing.block import Block
from sightline.studies.auditing.plan import Plan
from sightline.studies.auditing.source import Loaded
from sightline.studies.benchmarking.work import numbers_of

_WORKERS = 4


@dataclass(frozen=True)
class Unit:
    """A block of images: places in the source, names, numbers in the run, stamps of the files."""

    name: str
    places: tuple[int, ...]
    keys: tuple[str, ...]
    indices: tuple[int, ...]
    stamps: tuple[int, ...]


def units(plan: Plan, run: Run) -> list[Unit]:
    """What is left, in the order of the source; finished images stay finished.

    Raises:
        StorageError: The run has images that are not asked, or that changed since.
    """
    keys, sizes = plan.source.keys, plan.source.sizes
    place = {key: i for i, key in enumerate(keys)}
    numbers = numbers_of(run, keys, place, sizes)
    done = {key for part in run.parts for key in part["images"]}
    left = [key for key in keys if key not in done]
    found = []
    for start in range(0, len(left), plan.batch):
        images = tuple(left[start : start + plan.batch])
        indices = tuple(numbers[key] for key in images)
        content = hashlib.sha256("\0".join(images).encode(errors="surrogateescape")).hexdigest()[:12]
        where = tuple(place[key] for key in images)
        found.append(Unit(f"{indices[0]:07d}-{content}", where, images, indices, tuple(sizes[i] for i in where)))
    return found


def work(plan: Plan, run: Run, left: Sequence[Unit], advance: Callable[[int], object]) -> None:
    """Do what is left; after each block its rows are on the disk.

    Raises:
        StorageError: The disk is full; what was finished stays, and the same run goes on.
    """
    for unit, read in _read(plan, left):
        good = [i for i, one in enumerate(read) if isinstance(one, Loaded)]
        frames: dict[str, pl.DataFrame] = {"images": _images(plan, unit, read)}
        if good:
            keys, indices = [unit.keys[i] for i in good], [unit.indices[i] for i in good]
            frames |= Block(plan, keys, indices, [one for one in read if isinstance(one, Loaded)]).frames()
        part = {"name": unit.name, "images": unit.keys, "indices": unit.indices, "stamps": unit.stamps}
        run.finish({**part, "errors": len(read) - len(good)}, frames)
        advance(len(unit.places))
    run.tidy()


def _read(plan: Plan, left: Sequence[Unit]) -> Iterator[tuple[Unit, list[Loaded | Exception]]]:
    """Blocks with their images, which threads read ahead."""
    places = [place for unit in left for place in unit.places]
    source = read_ahead(places, plan.source.load, workers=_WORKERS, ready=plan.batch)
    try:
        for unit in left:
            yield unit, [next(source)[1] for _ in unit.places]
    finally:
        source.close()


def _images(plan: Plan, unit: Unit, read: Sequence[Loaded | Exception]) -> pl.DataFrame:
    """A row an image, also where it cannot be read."""
    rows = []
    for key, index, one in zip(unit.keys, unit.indices, read, strict=True):
        row: dict[str, Any] = {"image": key, "image_index": index, "status": "ok", "error": None}
        if isinstance(one, Loaded):
            known = tuple(one.landmarks.shape) == (5, 2) and bool(one.landmarks.isfinite().all())
            row |= {"landmarks": known, "frontal": bool(frontal(one.landmarks[None])[0]) if known else None}
            row |= {f"group_{name}": value for name, value in one.groups.items()}
        else:
            row |= {"status": "error", "error": " ".join(str(one).split())[:500], "landmarks": False}
        rows.append(row)
    return pl.DataFrame(rows, schema=tables.images_schema(tuple(plan.groups)), orient="row")
