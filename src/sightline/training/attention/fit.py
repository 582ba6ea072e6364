"""`fit_attention`: from a classifier and images to an attention that explains it, in a folder that survives a kill."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from sightline import store
from sightline.classifier import BlackBox, Classifier
from sightline.errors import StorageError
from sightline.explainers.learned._attention import Kind
from sightline.explainers.learned._file import Learned, load
from sightline.progress import deferred_interrupt, shown
from sightline.training._fabric import fabric_on
from sightline.training.attention import cache as caching
from sightline.training.attention.build import trainer_of
from sightline.training.attention.choice import best_of
from sightline.training.attention.job import Job, job_of
from sightline.training.attention.keeping import Announce, kept_features
from sightline.training.attention.recipe import Recipe
from sightline.training.attention.run import BEST, STUDY, Trainer, check_same, clear
from sightline.versions import versions


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
        path: The attention's file: `weights=` of the method.
        out: The run's folder.
        history: One row an epoch: rate, seconds, and loss, CE, AV, TV, drop and increase of both parts.
        learned: The attention with its manifest.
    """

    path: Path
    out: Path
    history: list[dict[str, Any]]
    learned: Learned


def fit_attention(
    classifier: Classifier | BlackBox,
    data: Any,
    *,
    out: str | Path,
    method: Kind = "l-cam-fm",
    layer: str | Sequence[str] | None = None,
    recipe: str | Recipe = "paper",
    cache: bool | str | Path = True,
    cache_limit: int = caching.DEFAULT_LIMIT,
    cache_precision: Any = "auto",
    checkpoint_steps: int = 200,
    keep_epochs: bool = False,
    resume: bool = True,
    overwrite: bool = False,
    devices: int | Sequence[int] | None = None,
    accelerator: str | None = None,
    strategy: str = "auto",
    workers: int = 4,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Announce | None = None,
    told: Callable[[dict[str, Any]], object] | None = None,
    **asked: Any,
) -> Fitted:
    """Train an attention beside a frozen classifier; the same call goes on where a killed one stopped.

    The classifier is run on its private replica and never changed. What it says of the images is computed once and
    kept on the disk where that fits, so that an epoch of L-CAM-Fm costs only the attention and the classifier's tail.
    With `augment`, two fixed views (the centre and its mirror image) are kept in place of random crops.

    For a seed, on a CPU, the weights are the same whatever interruptions there were.

    Args:
        classifier: What is to be explained.
        data: Image files, folders or patterns, records of `sightline.data.annotations`, or pixels (N, C, H, W) in
            [0, 1], alone or with labels as a pair.
        out: The run's folder.
        method: `l-cam-fm`, `l-cam-img`, `tame`, `t-tame`, `p-tame`, or `constant` (the control).
        layer: The layer, or layers with the shallow first; by default those of the papers.
        recipe: A preset (see `sightline.training.attention.PRESETS`), `paper` for the method's own, or a `Recipe`.
        cache: Whether features are kept, in `out`, until the end; or a folder of yours, where they stay.
        cache_limit: The most bytes they may take.
        cache_precision: `float32`, `float16`, `bfloat16`, or `auto`: float32, or float16 where only that fits.
        checkpoint_steps: Steps between checkpoints, beside the one at each epoch's end.
        keep_epochs: Keep each epoch's attention, beside the best one's.
        resume: Go on with what lies in `out`; else a folder that holds a run is refused.
        overwrite: Remove what an earlier run left in `out`.
        devices: How many devices, or which; by default the classifier's own.
        accelerator: `cpu`, `cuda`, ...; by default the kind of device that the classifier is on.
        strategy: How several devices work together, by Fabric's name; `auto` takes data-parallel processes. A batch is
            parted among them, so "batch-labels" sees the labels of a part.
        workers: Threads that read images ahead.
        progress: Whether to show a bar, or what to call with (done, in all) steps; by default a bar on a terminal.
        announce: Called with lines to print: what is trained on, what it costs, what is left out.
        told: Called with each finished epoch's row.
        **asked: `directions`, `auxiliary` (p-tame's classifier), `variant` (settings of the attention),
            `validation_images`, `exclude` (images that will be evaluated on), `fit`, and any field of the recipe or of
            its lambdas: `epochs=3, l1=0.0`.

    Returns:
        Where the weights are, the history, and the attention of the best epoch.

    Raises:
        InputError, LayerError, MethodError: What cannot be trained; the text names it.
        ModelError: The loss is no longer finite; the last good checkpoint is kept.
        StorageError: The folder holds something else or other settings, or the disk is full: the same call goes on.
        MissingExtraError: Lightning Fabric is not installed.
    """
    job = job_of(classifier, data, method=method, layer=layer, recipe=recipe, **asked)
    say: Announce = announce or _silent
    home, precision = job.classifier.device, job.recipe.precision
    fabric = fabric_on(home, precision=precision, devices=devices, accelerator=accelerator, strategy=strategy)
    folder, first = Path(out), fabric.global_rank == 0
    if not resume and not overwrite and (folder / "manifest.json").exists():
        raise StorageError(f"{folder} holds a run; take resume=True to go on with it, or another folder")
    settings = job.settings(fabric.world_size)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    manifest = {
        "study": STUDY,
        "settings": settings,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions("lightning-fabric", "safetensors"),
        "labels": list(classifier.labels),
        "model": type(job.classifier.source).__name__,
    }
    writing = store.Run(folder, manifest, overwrite=overwrite) if first else nullcontext()
    with torch.inference_mode(False), writing as run:
        if overwrite and first:
            clear(folder)
        check_same(folder, digest)
        fabric.barrier()
        trainer = trainer_of(
            job, fabric, run, folder, digest, workers=workers, every=checkpoint_steps, keep=keep_epochs
        )
        _say_what(job, trainer, say)
        with kept_features(job, trainer, cache, cache_limit, cache_precision, say, progress):
            _train(trainer, progress, told or _silent)
    history = store.read_parts(folder)
    say(f"the attention of epoch {best_of(history, job.recipe)} is in {folder / BEST}")
    return Fitted(folder / BEST, folder, history, load(folder / BEST, classifier))


def _silent(_: object) -> None:
    """For those who want to hear nothing."""


def _train(trainer: Trainer, progress: Any, told: Callable[[dict[str, Any]], object]) -> None:
    left = trainer.left()
    with shown(left, progress, "training", "step") as advance, deferred_interrupt() as stopped:
        trainer.stopped = stopped
        trainer.train(advance, told)


def _say_what(job: Job, trainer: Trainer, say: Announce) -> None:
    """What is trained on what."""
    images, recipe = job.material, job.recipe
    counts = images.counts()
    out = f", {counts['excluded']:,} left out as copies of images to evaluate on" if counts["excluded"] else ""
    where = f" at {' + '.join(job.layers)}" if job.layers else ""
    parameters = sum(p.numel() for p in trainer.masks.parameters())
    say(f"{job.method}{where} ({parameters:,} parameters), recipe {recipe.name}, directions {job.directions}")
    say(f"{counts['train']:,} images to train on, {counts['validation']:,} to choose the epoch by{out}")
    done = len(trainer.rows)
    if done:
        say(f"{done} of {recipe.epochs} epochs are finished")
