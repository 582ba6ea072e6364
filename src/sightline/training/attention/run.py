"""A training run in its folder: epochs with checkpoints, the choice of the epoch, and going on after a kill."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightline import store
from sightline.errors import StorageError
from sightline.explainers.learned._file import save
from sightline.training.attention import checkpoint
from sightline.training.attention.choice import best_of, measure_of
from sightline.training.attention.loop import NotFiniteError, Stepper, Sums, balanced, not_finite, set_rates
from sightline.training.attention.losses import Lambdas
from sightline.training.attention.masks import Masks
from sightline.training.attention.recipe import Recipe
from sightline.training.attention.source import Source, seed_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STUDY, BEST, EPOCHS = "train attention", "attention.safetensors", "epochs"


@dataclass
class Trainer:
    """All that a run needs while it goes.

    Attributes:
        fabric: Devices and processes.
        masks: The attention as we made it; `stepper.masks` is what Fabric wraps.
        optimiser: The bare optimiser; `stepping` is what Fabric wraps.
        stepper: What runs batches.
        source: Where they come from.
        recipe: What it is trained by.
        run: The folder; None in processes other than the first.
        out: Where it is.
        about: What stands in an attention's file beside the training.
        digest: Of the settings; a checkpoint of others is refused.
        every: Steps between checkpoints.
        keep: Whether each epoch's attention is kept.
        stopped: Whether somebody asked to stop.
        kept: What the manifest says of the kept features.
    """

    fabric: "Fabric"
    masks: Masks
    optimiser: torch.optim.Optimizer
    stepping: Any
    stepper: Stepper
    source: Source
    recipe: Recipe
    run: store.Run | None
    out: Path
    about: dict[str, Any]
    digest: str
    every: int
    keep: bool
    stopped: Callable[[], bool] = lambda: False
    kept: dict[str, Any] | None = None

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.out / checkpoint.NAME

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Finished epochs."""
        return store.read_parts(self.out)

    def left(self) -> int:
        """Steps that are left."""
        found = checkpoint.read_state(self.path)
        done = int(found["step"]) if found else 0
        return 0 if self._enough() else self.source.steps() * self.recipe.epochs - done

    def train(self, advance: Callable[[int], object], told: Callable[[dict[str, Any]], object]) -> None:
        """Do what is left.

        Args:
            advance: Called with the number of steps just done.
            told: Called with each finished epoch.

        Raises:
            ModelError: The loss is no longer finite.
            KeyboardInterrupt: Somebody asked to stop; a checkpoint is written.
        """
        per_epoch = self.source.steps()
        state = self._start()
        step, sums = int(state["step"]), Sums(state["sums"])
        seconds = float(state["seconds"])
        while step < per_epoch * self.recipe.epochs and not self._enough():
            epoch, begun = step // per_epoch, time.perf_counter()
            seconds_before = seconds
            for batch in self.source.epoch(
                epoch, start=step % per_epoch, rank=self.fabric.global_rank, world=self.fabric.world_size
            ):
                rate = set_rates(self.optimiser, self.recipe, step, per_epoch)
                try:
                    self._step(batch, step, sums)
                except NotFiniteError:
                    raise not_finite(self.recipe, step, epoch, self._kept_text()) from None
                step += 1
                advance(1)
                seconds = seconds_before + time.perf_counter() - begun
                if step % per_epoch and (step % self.every == 0 or self.stopped()):
                    self._save(step, sums, seconds)
                if self.stopped():
                    raise KeyboardInterrupt(f"the run stands at step {step} in {self.out}; the same command goes on")
            self._finish(epoch, step, sums, rate, seconds, told)
            sums, seconds = Sums(), 0.0
            self._save(step, sums, seconds)

    def _step(self, batch: Any, step: int, sums: Sums) -> None:
        """Forward, backward, and the optimiser's step."""
        if batch.looked is None:
            return
        self.stepper.masks.train()
        found = self.stepper(batch, seed_of("step", self.recipe.seed, step, self.fabric.global_rank))
        loss = self.stepper.loss(found)
        self.stepping.zero_grad()
        self.fabric.backward(loss)
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(self.stepper.masks, self.stepping, max_norm=self.recipe.clip)
        self.stepping.step()
        sums.add(found, loss)

    def _start(self) -> dict[str, Any]:
        """Where to begin: at the checkpoint, or at step 0 with the terms of the loss balanced if that is wanted."""
        if self.path.exists():
            state = checkpoint.load_checkpoint(self.path, self.masks, self.optimiser)
            self.stepper.lambdas = Lambdas(**state["lambdas"])
            self._note()
            return state
        if self.recipe.balance == "auto":
            self.stepper.lambdas = balanced(self.stepper, self.source, self.recipe, self._summed)
        self._note()
        return {"step": 0, "sums": None, "seconds": 0.0}

    def _summed(self, values: Tensor) -> Tensor:
        return (
            values if self.fabric.world_size == 1 else torch.as_tensor(self.fabric.all_reduce(values, reduce_op="sum"))
        )

    def _save(self, step: int, sums: Sums, seconds: float) -> None:
        if self.run is not None and checkpoint.finite(self.masks):
            lambdas = asdict(self.stepper.lambdas)
            state = {"step": step, "sums": sums.values, "seconds": seconds, "lambdas": lambdas}
            state |= {"settings": self.digest, "cache": self.kept}
            checkpoint.save_checkpoint(self.path, self.masks, self.optimiser, state)
        self.fabric.barrier()

    def _kept_text(self) -> str:
        found = checkpoint.read_state(self.path) if self.run is not None else None
        return (
            f"the last good checkpoint, of step {found['step']}, is kept in {self.path}"
            if found
            else "there is no checkpoint yet"
        )

    def _finish(
        self, epoch: int, step: int, sums: Sums, rate: float, seconds: float, told: Callable[[dict[str, Any]], object]
    ) -> None:
        """Validate, choose, write."""
        if not checkpoint.finite(self.masks):
            raise not_finite(self.recipe, step - 1, epoch, self._kept_text())
        valid = self._validate(epoch)
        train = sums.reduced(self.fabric).means()
        if self.run is not None:
            row: dict[str, Any] = {"name": f"epoch-{epoch + 1:04d}", "epoch": epoch + 1, "step": step, "rate": rate}
            row |= {f"train_{k}": v for k, v in train.items()} | {f"valid_{k}": v for k, v in valid.items()}
            row |= {"seconds": round(seconds, 3)}
            if all(r["epoch"] <= epoch for r in self.run.parts):  # else a kill came between journal and checkpoint
                self._keep(row, self.run.parts)
                self.run.finish(row, {})
                self._note()
            told(row)
        self.fabric.barrier()

    def _keep(self, row: dict[str, Any], before: list[dict[str, Any]]) -> None:
        """Write the attention where this epoch is the best so far, and each epoch's where they are kept."""
        measure = measure_of(self.recipe)
        training = {"epochs": row["epoch"], "best": row["epoch"], "measure": measure, "metrics": row}
        training["lambdas"] = asdict(self.stepper.lambdas)
        about = {**self.about, "training": training}
        if measure is None or not before or row[measure] < min(r[measure] for r in before):
            save(self.out / BEST, self.masks.attention, about)
        if self.keep:
            save(self.out / EPOCHS / f"{row['name']}.safetensors", self.masks.attention, about)

    def _validate(self, epoch: int) -> dict[str, float]:
        """The same measures on the images that choose the epoch."""
        if not self.source.material.valid:
            return {}
        sums = Sums()
        self.stepper.masks.eval()
        with torch.no_grad():
            for batch in self.source.validation(rank=self.fabric.global_rank, world=self.fabric.world_size):
                if batch.looked is not None:
                    found = self.stepper(batch, seed_of("validation", self.recipe.seed, batch.number))
                    sums.add(found, self.stepper.loss(found))
        return sums.reduced(self.fabric).means()

    def _enough(self) -> bool:
        """Whether nothing better has come for as many epochs as patience allows."""
        measure, patience = measure_of(self.recipe), self.recipe.patience
        if measure is None or patience is None:
            return False
        values = [row[measure] for row in self.rows]
        return bool(values) and len(values) - 1 - values.index(min(values)) >= patience

    def _note(self) -> None:
        """The manifest as it stands: lambdas in use, images that could not be read, the best epoch."""
        if self.run is None:
            return
        material, rows = self.source.material, self.run.parts
        failed = {material.name(p): reason for p, reason in sorted(material.failed.items())}
        self.run.manifest["lambdas"] = asdict(self.stepper.lambdas)
        self.run.manifest["failed"] = {"count": len(failed), "images": dict(list(failed.items())[:100])}
        self.run.manifest["cache"] = self.kept
        self.run.manifest["best"] = best_of(rows, self.recipe)
        self.run.write_manifest()


def check_same(path: Path, digest: str) -> None:
    """Refuse a checkpoint of other settings.

    Raises:
        StorageError: The text says what to do.
    """
    found = checkpoint.read_state(path / checkpoint.NAME)
    if found is not None and found.get("settings") != digest:
        raise StorageError(f"{path} holds a run of other settings; choose another folder, or overwrite=True")


def clear(path: Path) -> None:
    """Remove what a run left beside its manifest and journal."""
    for name in (checkpoint.NAME, BEST, "report.html"):
        (path / name).unlink(missing_ok=True)
    for name in (EPOCHS, "cache"):
        shutil.rmtree(path / name, ignore_errors=True)
