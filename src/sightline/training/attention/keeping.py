"""Whether and where features are kept, with a word on it; and what the run will cost."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sightline.errors import InputError, SightlineWarning, StorageError
from sightline.progress import shown
from sightline.training.attention import cache as caching
from sightline.training.attention.cache import Cache, Fits, Shapes
from sightline.training.attention.checkpoint import read_state
from sightline.training.attention.estimate import estimate
from sightline.training.attention.job import Job
from sightline.training.attention.loop import Stepper
from sightline.training.attention.masking import Features
from sightline.training.attention.pictures import CENTRE
from sightline.training.attention.run import Trainer

Announce = Callable[[str], object]
FOLDER = "cache"


@contextmanager
def kept_features(
    job: Job,
    trainer: Trainer,
    wanted: bool | str | Path,
    limit: int,
    precision: Any,
    say: Announce,
    progress: Any,
) -> Iterator[None]:
    """Give the trainer's source a cache, where one is wanted and fits; say so, and what the run costs.

    A cache in the run's own folder is removed when the training is finished; one in the caller's folder stays.
    """
    source, first = trainer.source, trainer.fabric.global_rank == 0
    if not trainer.left():
        trainer.kept = (read_state(trainer.path) or {}).get("cache")
        yield
        return
    mark = _fingerprint(job, trainer)
    own = isinstance(wanted, bool)
    folder = trainer.out / FOLDER if isinstance(wanted, bool) else Path(wanted) / mark
    rows = len(job.material.items) * len(source.kept)
    found = None if wanted is False else caching.existing(folder, mark)
    plan, shapes = None, None
    if found is None and first:
        plan, shapes = _plan(trainer, job, wanted, folder, rows, limit, precision, say)
    _say_cost(trainer, 0 if found is not None or plan is None else rows, say)
    if plan is not None and shapes is not None and plan.precision is not None:
        size = f"{plan.size / 2**20:,.0f} MiB as {plan.precision}"
        say(f"features of {rows:,} views are kept in {folder} ({size})")
        try:
            with shown(rows, progress, "features", "view") as advance:
                caching.build(folder, mark, shapes, rows, plan.precision, source.blocks(), advance)
        except StorageError as reason:
            say(f"{reason}: the classifier is run again in each epoch")
    trainer.fabric.barrier()
    found = None if wanted is False else caching.existing(folder, mark)
    if found is not None and source.augment:
        say("two fixed views of each image are kept (the centre and its mirror image) in place of random crops")
    _use(trainer, found)
    _note(trainer, found)
    yield
    if own and first:
        source.cache = None
        caching.clear(folder)


def _use(trainer: Trainer, found: Cache | None) -> None:
    source = trainer.source
    source.cache = found
    if found is None:
        return
    for row, reason in found.failed.items():
        source.material.failed[row // len(source.kept)] = reason
    if isinstance(source.masker, Features) and not source.masker.ready:
        source.masker.stands_alone(_some(trainer))


def _plan(
    trainer: Trainer, job: Job, wanted: Any, folder: Path, rows: int, limit: int, precision: Any, say: Announce
) -> tuple[Fits | None, Shapes | None]:
    """What will be kept, or None with a word on why not."""
    if wanted is False:
        return None, None
    begun = read_state(trainer.path)  # a run that began with features goes on with them
    once = trainer.left() <= trainer.source.steps() and not (begun and begun.get("cache"))
    if once and not isinstance(wanted, str | Path):
        say("features are not kept: there is one epoch to do, for which they are computed once anyway")
        return None, None
    pixels, masker = _some(trainer), trainer.source.masker
    if isinstance(masker, Features) and not masker.stands_alone(pixels):
        say(
            f"features are not kept: what follows {job.layers[0]!r} needs more than its output, so the classifier is "
            "run in each epoch (the end of a block or stage stands alone)"
        )
        return None, None
    looked = masker.look(pixels)
    shapes = Shapes(
        tuple(tuple(f.shape[1:]) for f in looked.stored),
        tuple(pixels.shape[1:]) if masker.needs_pixels else None,
        looked.outputs.shape[1],
    )
    plan = caching.fits(folder, shapes, rows, limit=limit, precision=precision)
    if plan.precision is None:
        say(f"features are not kept: {plan.why}; the classifier is run in each epoch")
        return None, None
    return plan, shapes


def _some(trainer: Trainer) -> torch.Tensor:
    """(2, C, H, W): the first images that can be read (one of them twice, if it is the only one)."""
    material, found = trainer.source.material, []
    for position in range(len(material.items)):
        try:
            found.append(material.read(position, CENTRE))
        except InputError as reason:
            trainer.source.note(position, str(reason))
        if len(found) == 2:
            break
    return torch.stack([found[0], found[-1]]).to(trainer.fabric.device)


def _fingerprint(job: Job, trainer: Trainer) -> str:
    source, recipe = trainer.source, job.recipe
    parts = {
        "backbone": {**job.classifier.describe(), "device": None},
        "auxiliary": None if job.auxiliary is None else {**job.auxiliary.describe(), "device": None},
        "layers": job.layers,
        "masker": type(source.masker).__name__,
        "images": job.material.digest,
        "size": job.classifier.size,
        "fit": job.fit,
        "views": len(source.kept),
        "switches": [recipe.unnormalised, recipe.precision],
    }
    return caching.fingerprint(parts)


def _say_cost(trainer: Trainer, rows: int, say: Announce) -> None:
    left = trainer.left()
    if left and trainer.fabric.global_rank == 0:
        recipe = trainer.recipe
        done = trainer.source.steps() * recipe.epochs - left
        device = trainer.fabric.device
        alone = Stepper(trainer.masks, recipe, trainer.stepper.directions, trainer.stepper.labels)
        say(str(estimate(alone, trainer.source, recipe, done=done, rows=rows, device=device)))


def _note(trainer: Trainer, found: Cache | None) -> None:
    """Put it on record; warn where a run goes on otherwise than it began."""
    trainer.kept = None if found is None else {"precision": found.precision, "views": len(trainer.source.kept)}
    state = read_state(trainer.path)
    if state is not None and state.get("cache") != trainer.kept:
        warnings.warn(
            f"this run began with kept features {state.get('cache')} and goes on with {trainer.kept}: its weights will "
            "not be those of an uninterrupted run",
            SightlineWarning,
            stacklevel=2,
        )
