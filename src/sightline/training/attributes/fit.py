"""`fit_attributes`: from images with answers to a classifier, in a folder that survives a kill."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline import store
from sightline.classifier import Classifier
from sightline.data.alignment import Preparation
from sightline.errors import ModelError, StorageError
from sightline.loading import load
from sightline.loading.backbones import backbone as build
from sightline.loading.source import Source
from sightline.loading.trained import NAME, read_about
from sightline.loading.weights import read_state
from sightline.progress import deferred_interrupt, shown
from sightline.training._fabric import fabric_on
from sightline.training.attention import checkpoint
from sightline.training.attributes.about import about_of
from sightline.training.attributes.data import gathered
from sightline.training.attributes.estimate import announced
from sightline.training.attributes.losses import objective_of
from sightline.training.attributes.material import Material, material
from sightline.training.attributes.recipe import Recipe, recipe_of
from sightline.training.attributes.run import STUDY, Trainer, optimiser_of
from sightline.versions import versions

Announce = Callable[[str], object]


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
        path: The classifier's file: `sl.load` opens it.
        out: The run's folder.
        history: One row an epoch: rate, seconds, both losses of both parts, errors on validation data.
        about: What the file says of itself: labels, preparation, recipe, rates, errors by attribute.
    """

    path: Path
    out: Path
    history: list[dict[str, Any]]
    about: dict[str, Any]

    @property
    def classifier(self) -> Classifier:
        """The classifier of the best epoch."""
        return load(str(self.path))


def fit_attributes(
    data: Any,
    *,
    out: str | Path,
    backbone: str | nn.Module = "torchvision:resnet18",
    options: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    size: int | tuple[int, int] = 224,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    attributes: Sequence[str] | None = None,
    preparation: Preparation | None = None,
    validation: Any = None,
    image_weights: Tensor | None = None,
    recipe: Recipe | None = None,
    cache: str | Path | None = None,
    checkpoint_steps: int = 100,
    overwrite: bool = False,
    device: str | torch.device | None = None,
    devices: int | Sequence[int] | None = None,
    workers: int = 4,
    progress: bool | Callable[[int, int], None] | None = None,
    announce: Announce | None = None,
    told: Callable[[dict[str, Any]], object] | None = None,
    **changes: Any,
) -> Fitted:
    """Train a multi-label classifier; the same call goes on where a killed one stopped.

    Images are decoded and prepared once, and kept as bytes in a file. On a CPU, with one number of threads, the weights
    are the same for a seed whatever interruptions there were. The best epoch on validation data is kept, and the
    training stops early unless `patience=None`.

    Args:
        data: A CelebA folder (its parts for training and validation are used), a table with a column `path`,
            records, `faces:COUNT` (rendered), `Faces`, or a pair (pixels (N, 3, H, W), labels (N, A)).
        out: The run's folder.
        backbone: `torchvision:NAME`, `timm:NAME`, `facenet`, or a module of yours with one output an attribute.
        options: Of the backbone's builder, such as `{"output_stride": 16}`.
        weights: A file to begin with: of the same architecture, its head may have another number of outputs. From
            scratch by default.
        size: Side, or (height, width), of the input in pixels.
        mean: Subtracted from pixels in [0, 1], one value a channel; by default the backbone's usual one.
        std: Divides them afterwards, likewise.
        attributes: Which are learned, in which order; by default all that the data has.
        preparation: How an image becomes the input; by default its centre is cropped.
        validation: Other data that chooses the epoch.
        image_weights: (N,) what each image to train on counts (see `sightline.training.weights`).
        recipe: The settings; fields may also be given by name: `loss="moon", epochs=30`.
        cache: A folder where decoded images stay, to be shared by several trainings; by default they lie in `out` until
            the end.
        checkpoint_steps: Steps between checkpoints, beside the one at each epoch's end.
        overwrite: Remove what an earlier run left in `out`.
        device: Where to run; the CPU by default.
        devices: How many devices of that kind, or which.
        workers: Threads that decode.
        progress: Whether to show a bar, or what to call with (done, in all) steps; by default a bar on a terminal.
        announce: Called with lines to print: what is trained on, what it costs, what is left out.
        told: Called with each finished epoch's row.
        **changes: Fields of the recipe.

    Returns:
        Where the classifier is, the history, and what its file says.

    Raises:
        InputError: Data or settings that cannot be used; the text names them.
        ModelError: An unknown backbone, weights that do not fit, or a loss that is no longer finite.
        StorageError: The folder holds something else or other settings, or the disk is full: the same call goes on.
        MissingExtraError: Lightning Fabric, or timm, is not installed.
    """
    found = recipe_of(recipe, **changes)
    sides = (size, size) if isinstance(size, int) else size
    folder, prepared = Path(out), preparation or Preparation()
    train, valid = gathered(
        data, validation, attributes=attributes, size=sides, share=found.validation, seed=found.seed
    )
    source = _source(backbone, len(train.names), sides, options, weights)
    fabric = fabric_on(torch.device(device or "cpu"), precision=found.precision, devices=devices)
    first = fabric.global_rank == 0
    say: Announce = announce or _silent if first else _silent
    kept = Path(cache) if cache is not None else folder / ".images"
    shown_here = progress if first else False
    with _in_turn(fabric):  # the first process decodes, the others find it done
        images = material(
            train,
            valid,
            size=sides,
            preparation=prepared,
            share=found.validation,
            folder=kept,
            weights=image_weights,
            workers=workers,
            progress=shown_here,
        )
    about = about_of(backbone, options, source, images, sides, prepared, found, mean, std)
    settings = {**about, "images": {**images.counts(), "digest": images.digest}, "processes": fabric.world_size}
    settings["begins"] = None if weights is None else hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    manifest = {
        "study": STUDY,
        "settings": settings,
        "created": _now(),
        "versions": versions("lightning-fabric", "safetensors"),
    }
    with store.Run(folder, manifest, overwrite=overwrite) if first else nullcontext() as run:
        if overwrite and first:
            _clear(folder)
        _check_same(folder, digest)
        fabric.barrier()
        trainer = _trainer(fabric, source.model, about, images, found, run, folder, digest, checkpoint_steps)
        announced(trainer, say)
        left = trainer.left()
        trainer.note()
        with shown(left, shown_here, "training", "step") as advance, deferred_interrupt() as stopped:
            trainer.stopped = stopped
            trainer.train(advance, told or _silent)
    fabric.barrier()
    if cache is None and first:
        shutil.rmtree(kept, ignore_errors=True)
    history = store.read_parts(folder)
    found_about = read_about(folder / NAME)
    say(f"the classifier of epoch {found_about['training']['epoch']} is in {folder / NAME}")
    return Fitted(folder / NAME, folder, history, found_about)


def _silent(_: object) -> None:
    """For those who want to hear nothing."""


def _source(
    backbone: str | nn.Module, outputs: int, size: tuple[int, int], options: Mapping[str, Any] | None, weights: Any
) -> Source:
    state = None if weights is None else read_state(weights)
    if isinstance(backbone, nn.Module):
        if options or state is not None:
            raise ModelError("a module comes as it is: load its weights yourself, and give no options")
        return Source(model=copy.deepcopy(backbone))
    return build(backbone, outputs, size=size, options=options, state=state)


def _trainer(
    fabric: Any,
    model: nn.Module,
    about: dict[str, Any],
    images: Material,
    recipe: Recipe,
    run: store.Run | None,
    out: Path,
    digest: str,
    every: int,
) -> Trainer:
    model = model.train().to(memory_format=torch.channels_last)
    optimiser = optimiser_of(model, recipe)
    wrapped, stepping = fabric.setup(model, optimiser)
    settings = {name: getattr(recipe, name) for name in ("wanted", "cap", "beta", "gamma", "tau")}
    objective = objective_of(recipe.loss, images.labels[images.train], **settings)
    w = objective.weights
    about = {**about, "answer_weights": {n: w[:, i].tolist() for i, n in enumerate(images.names)}}
    mean, std = (torch.tensor(about[name], device=fabric.device).view(-1, 1, 1) for name in ("mean", "std"))
    return Trainer(
        fabric=fabric,
        model=model,
        wrapped=wrapped,
        optimiser=optimiser,
        stepping=stepping,
        objective=objective.to(fabric.device),
        material=images,
        mean=mean,
        std=std,
        recipe=recipe,
        run=run,
        out=out,
        about={**about, "images": images.digest, "versions": versions("lightning-fabric", "safetensors")},
        digest=digest,
        every=every,
    )


@contextmanager
def _in_turn(fabric: Any) -> Iterator[None]:
    """The first process does it, then the others."""
    if fabric.global_rank != 0:
        fabric.barrier()
    yield
    if fabric.global_rank == 0:
        fabric.barrier()


def _clear(path: Path) -> None:
    """Remove what a run left beside its manifest and journal."""
    for name in (checkpoint.NAME, NAME, "report.html"):
        (path / name).unlink(missing_ok=True)


def _check_same(path: Path, digest: str) -> None:
    found = checkpoint.read_state(path / checkpoint.NAME)
    if found is not None and found.get("settings") != digest:
        raise StorageError(f"{path} holds a run of other settings; choose another folder, or overwrite=True")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
