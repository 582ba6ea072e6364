"""What the phases of the work share: blocks of images that are left, pieces of members, and the journal."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import polars as pl

from sightline.errors import InputError
from sightline.store import PENDING, Run, slug
from sightline.studies.blocks import Unit, read
from sightline.studies.generalising.maps import Kept
from sightline.studies.generalising.plan import Plan
from sightline.studies.generalising.source import Image

EXPLAIN, MASK, COMPARE, VALIDATE, PART = "explain", "masked", "similarity", "validity", "parts"
CHECKS = 6  # explanations of an image that the checks of validity take: a swapped class, five stages of weights


class Job(NamedTuple):
    """What the phases share."""

    plan: Plan
    run: Run
    kept: Kept
    advance: Callable[[int], object]


def left(
    plan: Plan, run: Run, phase: str, indices: Sequence[int] | None = None, *, batch: int | None = None
) -> list[Unit]:
    """Blocks of a phase that are not finished.

    Args:
        plan: What is asked.
        run: Its folder.
        phase: Which.
        indices: The images of the phase; all of them unless given.
        batch: Images a block; by default as the plan has it.
    """
    done, source = {part["name"] for part in run.parts}, plan.source
    chosen = list(range(len(source.keys)) if indices is None else indices)
    found = []
    for start in range(0, len(chosen), batch or plan.batch):
        some = tuple(chosen[start : start + (batch or plan.batch)])
        name = f"{phase}-{some[0]:07d}"
        if name not in done:
            keys, stamps = tuple(source.keys[i] for i in some), tuple(source.stamps[i] for i in some)
            found.append(Unit(name, some, keys, some, stamps))
    return found


def blocks(
    job: Job, phase: str, indices: Sequence[int] | None = None, *, batch: int | None = None
) -> Iterator[tuple[Unit, list[Image | Exception]]]:
    """Blocks of a phase that are left, with their images, which threads read ahead."""
    units = left(job.plan, job.run, phase, indices, batch=batch)
    yield from read(units, job.plan.source.load, ready=job.plan.batch)


def piece(job: Job, unit: Unit, make: Callable[[], pl.DataFrame], *names: str) -> pl.DataFrame:
    """The rows of a member, or of one of its methods, on a block; made unless an earlier process did."""
    name = "~".join((unit.name, *map(slug, names)))
    found = job.run.piece(name)
    if found is None:
        found = make()
        job.run.write(PENDING, name, found)
    return found


def finish(job: Job, phase: str, unit: Unit, frames: dict[str, pl.DataFrame]) -> None:
    """Put a block on record."""
    job.run.finish({**unit.part(), "phase": phase}, frames)


def passes_left(plan: Plan, run: Run) -> int:
    """What the bar counts until the end; images that fail take some away."""
    explain, mask = (sum(len(unit.indices) for unit in left(plan, run, phase)) for phase in (EXPLAIN, MASK))
    each = explain * explained_passes(plan) + mask * plan.passes * len(plan.methods)
    if not any(part["name"].startswith(VALIDATE) for part in run.parts):
        each += min(plan.validity, len(plan.source.keys)) * checked_passes(plan)
    return len(plan.family) * each


def checked_passes(plan: Plan) -> int:
    """The same of the checks of validity: a swapped class, and five stages of random weights."""
    return 3 * CHECKS * len(plan.methods)


def explained_passes(plan: Plan) -> int:
    """What the maps of one member and image count in the bar, in forward passes: a forward and a backward one each."""
    return 3 * len(plan.methods) * len(plan.variants)


def readable(image: Image | Exception) -> Image:
    """An image that was read before.

    Raises:
        InputError: It cannot be read any more.
    """
    if isinstance(image, Image):
        return image
    raise InputError(f"an image that was read before cannot be read any more: {image}") from image
