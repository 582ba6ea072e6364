"""A training of a classifier in its folder: steps, epochs with checkpoints, the choice of the epoch, going on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sightline import store
from sightline.data.augmentation import augmented
from sightline.errors import ModelError
from sightline.loading.trained import NAME, write_trained
from sightline.training._augment import augment
from sightline.training.attention import checkpoint
from sightline.training.attention.schedule import one_cycle
from sightline.training.attention.source import seed_of
from sightline.training.attributes.losses import Objective
from sightline.training.attributes.material import Material
from sightline.training.attributes.measures import Errors
from sightline.training.attributes.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STUDY = "train attributes"
Sums = list[float]  # weighted and unweighted loss times images, images


def optimiser_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW or SGD; what has one dimension (biases, normalisations) is not decayed."""
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov)


@dataclass
class Trainer:
    """All that a run needs while it goes.

    Attributes:
        fabric: Devices, processes and precision.
        model: The classifier as we made it; `wrapped` is what Fabric makes of it.
        optimiser: The bare optimiser; `stepping` is what Fabric makes of it.
        objective: The loss.
        material: Images and answers.
        mean, std: (3, 1, 1), of pixels in [0, 1].
        recipe: What it is trained by.
        run: The folder; None in processes other than the first.
        out: Where it is.
        about: What stands in the classifier's file beside the training.
        digest: Of the settings; a checkpoint of others is refused.
        every: Steps between checkpoints.
        stopped: Whether somebody asked to stop.
    """

    fabric: "Fabric"
    model: nn.Module
    wrapped: Any
    optimiser: torch.optim.Optimizer
    stepping: Any
    objective: Objective
    material: Material
    mean: Tensor
    std: Tensor
    recipe: Recipe
    run: store.Run | None
    out: Path
    about: dict[str, Any]
    digest: str
    every: int
    stopped: Callable[[], bool] = lambda: False

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.out / checkpoint.NAME

    @property
    def per_epoch(self) -> int:
        """Steps an epoch. A last batch of one image is left out: batch norms cannot be trained on it."""
        n, b = len(self.material.train), self.recipe.batch
        return max(1, n // b if n % b <= 1 else n // b + 1)

    def left(self) -> int:
        """Steps that are left at most."""
        found = checkpoint.read_state(self.path)
        done = int(found["step"]) if found else 0
        return 0 if self._enough() else self.per_epoch * self.recipe.epochs - done

    def train(self, advance: Callable[[int], object], told: Callable[[dict[str, Any]], object]) -> None:
        """Do what is left.

        Args:
            advance: Called with the number of steps just done.
            told: Called with each finished epoch.

        Raises:
            ModelError: The loss is no longer finite.
            KeyboardInterrupt: Somebody asked to stop; a checkpoint is written.
        """
        step, sums, before = 0, [0.0, 0.0, 0.0], 0.0
        if self.path.exists():
            state = checkpoint.load_checkpoint(self.path, self.model, self.optimiser)
            step, sums, before = int(state["step"]), list(state["sums"]), float(state["seconds"])
        while step < self.per_epoch * self.recipe.epochs and not self._enough():
            epoch, begun = step // self.per_epoch, time.perf_counter()
            for rows in self._batches(epoch)[step % self.per_epoch :]:
                rate = self._rate(step)
                self._step(rows, step, sums)
                step += 1
                advance(1)
                if step % self.per_epoch and (step % self.every == 0 or self.stopped()):
                    self._save(step, sums, before + time.perf_counter() - begun)
                if self.stopped():
                    raise KeyboardInterrupt(f"the run stands at step {step} in {self.out}; the same command goes on")
            self._finish(epoch, step, sums, rate, before + time.perf_counter() - begun, told)
            sums, before = [0.0, 0.0, 0.0], 0.0
            self._save(step, sums, before)

    def _batches(self, epoch: int) -> list[Tensor]:
        """Positions of each batch; of several processes, this one's share, which is never empty."""
        train, b = self.material.train, self.recipe.batch
        chance = torch.Generator().manual_seed(seed_of("order", self.recipe.seed, epoch))
        order = train[torch.randperm(len(train), generator=chance)]
        whole = list(torch.split(order, b))[: self.per_epoch]
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return whole if world == 1 else [rows[rank::world] if len(rows) > rank else rows[:1] for rows in whole]

    def _rate(self, step: int) -> float:
        share = one_cycle(step, self.per_epoch * self.recipe.epochs)[0] if self.recipe.schedule == "one-cycle" else 1.0
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * share
        return self.recipe.learning_rate * share

    def _step(self, rows: Tensor, step: int, sums: Sums) -> None:
        """Forward, backward, and the optimiser's step."""
        self.wrapped.train()
        seed = seed_of("step", self.recipe.seed, step, self.fabric.global_rank)
        pixels = changed(self.material.pixels[rows].float() / 255, self.recipe, seed)
        with _seeded(seed, self.fabric.device):
            z = self._logits(pixels)
        weighted, unweighted = self.objective(z, *self.answers(rows))
        if not bool(weighted.detach().isfinite()):
            raise self._not_finite(step)
        self.stepping.zero_grad()
        self.fabric.backward(weighted)
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(self.wrapped, self.stepping, max_norm=self.recipe.clip)
        self.stepping.step()
        for place, value in enumerate((float(weighted.detach()), float(unweighted), 1.0)):
            sums[place] += value * len(rows)

    def _logits(self, pixels: Tensor) -> Tensor:
        """(B, A) float32 of pixels (B, 3, H, W) in [0, 1] on the CPU."""
        x = (pixels.to(self.fabric.device) - self.mean) / self.std
        z = self.wrapped(x.contiguous(memory_format=torch.channels_last))
        if not isinstance(z, Tensor) or tuple(z.shape) != (len(pixels), len(self.material.names)):
            got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ModelError(
                f"the network gives {got}; a classifier of attributes gives logits ({len(pixels)}, "
                f"{len(self.material.names)}), one for each of {len(self.material.names)} attributes"
            )
        return z.float()

    def answers(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, A) answers and (B,) weights of images, or None, on the device."""
        device, w = self.fabric.device, self.material.weights
        return self.material.labels[rows].to(device), None if w is None else w[rows].to(device)

    def _save(self, step: int, sums: Sums, seconds: float) -> None:
        if self.run is not None and checkpoint.finite(self.model):
            state = {"step": step, "sums": sums, "seconds": seconds, "settings": self.digest}
            checkpoint.save_checkpoint(self.path, self.model, self.optimiser, state)
        self.fabric.barrier()

    def _finish(
        self, epoch: int, step: int, sums: Sums, rate: float, seconds: float, told: Callable[[dict[str, Any]], object]
    ) -> None:
        """Validate, choose, write."""
        if not checkpoint.finite(self.model):
            raise self._not_finite(step - 1)
        begun = time.perf_counter()
        valid, errors = self.validate()
        total: Any = torch.tensor(sums, dtype=torch.float64, device=self.fabric.device)
        if self.fabric.world_size > 1:
            total = self.fabric.all_reduce(total, reduce_op="sum")
        weighted, unweighted, images = total.tolist()
        if self.run is not None:
            row: dict[str, Any] = {"name": f"epoch-{epoch + 1:04d}", "epoch": epoch + 1, "step": step, "rate": rate}
            row |= {"train_weighted": weighted / images, "train_unweighted": unweighted / images, **valid}
            row["seconds"] = round(seconds + time.perf_counter() - begun, 3)
            if all(r["epoch"] <= epoch for r in self.run.parts):  # else a kill came between journal and checkpoint
                self._keep(row, errors)
                self.run.finish(row, {})
                self.note()
            told(row)
        self.fabric.barrier()

    def _keep(self, row: dict[str, Any], errors: Errors) -> None:
        """Write the classifier where this epoch is the best so far."""
        assert self.run is not None  # noqa: S101 - asked before
        measure, earlier = self.recipe.measure, self.run.parts
        if measure is None or not earlier or row[measure] < min(r[measure] for r in earlier):
            validation = errors.by_name(self.material.names)
            training = {"epoch": row["epoch"], "measure": measure, "metrics": row, "validation": validation}
            write_trained(self.out / NAME, self.model, {**self.about, "training": training})

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Errors]:
        """Losses and errors on the images that choose the epoch; every process does all of them."""
        self.wrapped.eval()
        zs, sums = [], [0.0, 0.0, 0.0]
        for rows in torch.split(self.material.valid, 2 * self.recipe.batch):
            z = self._logits(self.material.pixels[rows].float() / 255)
            weighted, unweighted = self.objective(z, self.answers(rows)[0])
            for place, value in enumerate((float(weighted), float(unweighted), 1.0)):
                sums[place] += value * len(rows)
            zs.append(z.cpu())
        errors = Errors.of(torch.cat(zs), self.material.labels[self.material.valid])
        found = {"weighted": sums[0] / sums[2], "unweighted": sums[1] / sums[2], **errors.means()}
        return {f"valid_{name}": value for name, value in found.items()}, errors

    def _enough(self) -> bool:
        """Whether nothing better has come for as many epochs as patience allows."""
        measure, patience = self.recipe.measure, self.recipe.patience
        if measure is None or patience is None:
            return False
        values = [row[measure] for row in store.read_parts(self.out)]
        return bool(values) and len(values) - 1 - values.index(min(values)) >= patience

    def note(self) -> None:
        """The manifest as it stands: images that could not be read, the epoch that is kept."""
        if self.run is None:
            return
        failed, rows, measure = self.material.failed, self.run.parts, self.recipe.measure
        self.run.manifest["failed"] = {"count": len(failed), "images": dict(list(failed.items())[:100])}
        if rows:
            best = rows[-1] if measure is None else min(rows, key=lambda row: row[measure])
            self.run.manifest["best"] = best["epoch"]
        self.run.write_manifest()

    def _not_finite(self, step: int) -> ModelError:
        found = checkpoint.read_state(self.path)
        kept = f"the last good checkpoint, of step {found['step']}, is kept" if found else "there is no checkpoint yet"
        return ModelError(
            f"the loss is no longer finite in step {step + 1} (epoch {step // self.per_epoch + 1}); {kept}. Lower the "
            f"learning rate (learning_rate={self.recipe.learning_rate:g}) or the largest weight, or clip=1.0"
        )


def changed(pixels: Tensor, recipe: Recipe, seed: int) -> Tensor:
    """Pixels (B, 3, H, W) in [0, 1] as a step sees them: augmented by chance that depends on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    if recipe.augment == "affact":
        return augmented(pixels, generator=generator)[0]
    if recipe.augment == "light":
        return augment(pixels, generator)
    if recipe.augment == "flip":
        turned = torch.rand(len(pixels), generator=generator) < 0.5
        return torch.where(turned[:, None, None, None], pixels.flip(-1), pixels)
    return pixels


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """PyTorch's own generators from a seed, and back to where they were: dropout draws from them."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
