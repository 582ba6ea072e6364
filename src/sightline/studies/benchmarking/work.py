"""What is left to do, in blocks whose composition never depends on when an earlier process was killed."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sightline.data._ahead import read_ahead
from sightline.data.annotations.record import Record, Sample
from sightline.errors import InputError, StorageError
from sightline.store import PENDING, Run, slug
from sightline.studies.benchmarking import pictures
from sightline.studies.benchmarking.block import Block
from sightline.studies.benchmarking.plan import Contender, Plan

SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "image": pl.String,
    "image_index": pl.Int64,
    "target": pl.String,
    "category": pl.Int64,
    "label": pl.String,
    "method": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "chance": pl.Float64,
    "status": pl.String,
    "error": pl.String,
    "seconds": pl.Float64,
    "explain_seconds": pl.Float64,
    "seed": pl.Int64,
    "curve": pl.List(pl.Float64),
}
TIMES = ("seconds", "explain_seconds")
_OF_CURVES = ("model", "image", "image_index", "target", "method", "metric", "seed", "curve")
_WORKERS = 4


@dataclass(frozen=True)
class Unit:
    """A block of images, and the methods that it still lacks.

    Attributes:
        name: Of its files: the same for the same images, model, seed and methods.
        places: Positions in the plan's records.
        keys, indices, stamps: What the images are called, their numbers in the run, and the sizes of their files.
    """

    name: str
    model: str
    seed: int
    places: tuple[int, ...]
    keys: tuple[str, ...]
    indices: tuple[int, ...]
    stamps: tuple[int, ...]
    methods: tuple[Contender, ...]


def names_of(records: Sequence[Record], root: str | None) -> tuple[list[str], list[int]]:
    """For each record its name, the path below the root, and the size of its file; -1 where there is none.

    A name that comes again (several objects of one image) gets the object's class and a number.
    """
    keys: list[str] = []
    sizes: list[int] = []
    seen: dict[str, int] = {}
    for i in range(len(records)):
        try:
            record = records[i]
            path, size = Path(record.path), _size(Path(record.path))
            key = path.relative_to(root).as_posix() if root and path.is_relative_to(root) else path.as_posix()
            more = record.name or ""
        except InputError as reason:  # its annotation cannot be read; so will the block say
            key, size, more = f"record {i}: {str(reason)[:200]}", -1, ""
        seen[key] = seen.get(key, 0) + 1
        keys.append(key if seen[key] == 1 else f"{key}#{more}{seen[key]}")
        sizes.append(size)
    return keys, sizes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def units(plan: Plan, run: Run) -> list[Unit]:
    """What is left, model by model: first what finished blocks lack, then new blocks in the order of the records.

    Raises:
        StorageError: The run has images that the plan does not name, or that changed since.
    """
    keys, sizes = names_of(plan.records, plan.root)
    place = {key: i for i, key in enumerate(keys)}
    numbers = numbers_of(run, keys, place, sizes)
    found = []
    for model in plan.models:
        for seed in plan.seeds:
            done: dict[tuple[str, ...], list[str]] = {}
            for part in run.parts:
                if (part["model"], part["seed"]) == (model, seed):
                    done.setdefault(tuple(part["images"]), []).extend(part["methods"])
            finished = {key for images in done for key in images}
            fresh = _grouped([key for key in keys if key not in finished], plan.batch)
            for images in (*done, *fresh):
                left = tuple(m for m in plan.methods if m.label not in done.get(images, ()))
                if left:
                    where = tuple(place[key] for key in images)
                    stamps = tuple(sizes[i] for i in where)
                    name = _name(model, seed, images, stamps, left)
                    indices = tuple(numbers[key] for key in images)
                    found.append(Unit(name, model, seed, where, images, indices, stamps, left))
    return found


def numbers_of(run: Run, keys: Sequence[str], place: dict[str, int], sizes: Sequence[int]) -> dict[str, int]:
    """Image -> its number in the run; images of earlier runs keep theirs."""
    numbers: dict[str, int] = {}
    for part in run.parts:
        for key, index, stamp in zip(part["images"], part["indices"], part["stamps"], strict=True):
            if key not in place:
                raise StorageError(
                    f"{run.path} has rows of {key}, which is not asked: name it too, or choose another folder"
                )
            if sizes[place[key]] != stamp:
                raise StorageError(f"{key} has changed since {run.path} was begun; choose another folder")
            numbers[key] = index
    following = max(numbers.values(), default=-1) + 1
    for key in keys:
        if key not in numbers:
            numbers[key] = following
            following += 1
    return numbers


def _grouped(keys: Sequence[str], batch: int) -> list[tuple[str, ...]]:
    """Groups in order; none of one image unless there is no other. The end of a list has the groups of the whole."""
    groups, start = [], 0
    while start < len(keys):
        size = batch + 1 if len(keys) - start == batch + 1 else batch
        groups.append(tuple(keys[start : start + size]))
        start += size
    return groups


def _name(model: str, seed: int, images: Sequence[str], stamps: Sequence[int], methods: Sequence[Contender]) -> str:
    content = "\0".join([*images, *map(str, stamps), *(m.label for m in methods)])
    digest = hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{model}-{seed}-{digest}"


def work(plan: Plan, run: Run, left: Sequence[Unit], advance: Callable[[int], object]) -> None:
    """Do what is left; `advance` is called with the images of each method that is done.

    Raises:
        StorageError: The disk is full; what was finished stays, and the same run goes on.
    """
    for unit, read in _read(plan, left):
        block: Block | None = None
        pieces = []
        for method in unit.methods:
            name = f"{unit.name}~{slug(method.label)}"
            piece = run.piece(name)
            if piece is None:
                block = block or Block(plan, unit.model, unit.seed, unit.keys, unit.indices, read)
                piece = _piece(plan, run, block, method)
                run.write(PENDING, name, piece)
            pieces.append(piece)
            advance(len(unit.places))
        frame = pl.concat(pieces, how="diagonal")
        part = {
            "name": unit.name,
            "model": unit.model,
            "seed": unit.seed,
            "images": unit.keys,
            "indices": unit.indices,
            "stamps": unit.stamps,
            "methods": [m.label for m in unit.methods],
        }
        curves = frame.filter(pl.col("curve").is_not_null()).select(_OF_CURVES)
        run.finish(part, {"curves": curves, "rows": frame.drop("curve")})
    run.tidy()


def _read(plan: Plan, left: Sequence[Unit]) -> Iterator[tuple[Unit, list[Sample | Exception]]]:
    """Units with their images, which threads read ahead."""
    asked = [(unit.model, place) for unit in left for place in unit.places]

    def load(item: tuple[str, int]) -> Sample:
        model, place = item
        return plan.records[place].load(plan.models[model].size, how=plan.fit)

    source = read_ahead(asked, load, workers=_WORKERS, ready=plan.batch)
    try:
        for unit in left:
            yield unit, [next(source)[1] for _ in unit.places]
    finally:
        source.close()


def _piece(plan: Plan, run: Run, block: Block, method: Contender) -> pl.DataFrame:
    """The rows of one method on one block; first its pictures, so that a finished piece has them."""
    found = block.explained(method)
    rows = block.rows(method, found)
    if block.seed == plan.seeds[0]:
        _draw(plan, run, block, method, found.explanation)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _draw(plan: Plan, run: Run, block: Block, method: Contender, explanation: Any) -> None:
    for position, place in enumerate(block.places):
        index = block.indices[place]
        if index >= plan.pictures:
            continue
        pixels = block.pixels[position].cpu()
        pictures.photograph(run.path, index, pixels)
        rows = [] if explanation is None else (explanation.image == position).nonzero().flatten().tolist()
        if rows:
            pictures.overlay(run.path, index, block.model, method.label, pixels, pictures.alone(explanation, rows[0]))
