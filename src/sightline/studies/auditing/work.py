"""The work: read a block of images, ask once, write decisions, maps, sums of maps and edits; block by block."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from sightline.data.alignment import frontal
from sightline.store import Run
from sightline.studies.auditing import tables
from sightline.studies.auditing.block import Block
from sightline.studies.auditing.plan import Plan
from sightline.studies.auditing.source import Loaded
from sightline.studies.blocks import Unit, read


def work(plan: Plan, run: Run, left: Sequence[Unit], advance: Callable[[int], object]) -> None:
    """Do what is left; after each block its rows are on the disk.

    Raises:
        StorageError: The disk is full; what was finished stays, and the same run goes on.
    """
    for unit, loaded in read(left, plan.source.load, ready=plan.batch):
        good = [i for i, one in enumerate(loaded) if isinstance(one, Loaded)]
        frames: dict[str, pl.DataFrame] = {"images": _images(plan, unit, loaded)}
        if good:
            keys, indices = [unit.keys[i] for i in good], [unit.indices[i] for i in good]
            frames |= Block(plan, keys, indices, [one for one in loaded if isinstance(one, Loaded)]).frames()
        run.finish({**unit.part(), "errors": len(loaded) - len(good)}, frames)
        advance(len(unit.places))
    run.tidy()


def _images(plan: Plan, unit: Unit, loaded: Sequence[Loaded | Exception]) -> pl.DataFrame:
    """A row an image, also where it cannot be read."""
    rows = []
    for key, index, one in zip(unit.keys, unit.indices, loaded, strict=True):
        row: dict[str, Any] = {"image": key, "image_index": index, "status": "ok", "error": None}
        if isinstance(one, Loaded):
            known = tuple(one.landmarks.shape) == (5, 2) and bool(one.landmarks.isfinite().all())
            row |= {"landmarks": known, "frontal": bool(frontal(one.landmarks[None])[0]) if known else None}
            row |= {f"group_{name}": value for name, value in one.groups.items()}
        else:
            row |= {"status": "error", "error": " ".join(str(one).split())[:500], "landmarks": False}
        rows.append(row)
    return pl.DataFrame(rows, schema=tables.images_schema(tuple(plan.groups)), orient="row")
