"""What a training run will cost, from two batches that are tried before it."""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sightline.progress import duration
from sightline.training.attention.loop import Stepper
from sightline.training.attention.recipe import Recipe
from sightline.training.attention.source import Batch, Source


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        epochs: In all.
        steps: That are left.
        rows: Views of images of which features will be computed first; 0 where that is done or not wanted.
        seconds: Roughly how long all of it takes.
    """

    epochs: int
    steps: int
    rows: int
    seconds: float

    def __str__(self) -> str:
        first = f"features of {self.rows:,} views, then " if self.rows else ""
        return f"{first}{self.steps:,} steps to the end of epoch {self.epochs}, about {duration(self.seconds)}"


def estimate(stepper: Stepper, source: Source, recipe: Recipe, *, done: int, rows: int, device: torch.device) -> Cost:
    """Cost of what is left: two batches are read, looked at, and sent through a copy of the attention and back.

    Args:
        stepper: Not changed: its attention is copied.
        source: As it is before features are kept.
        recipe: Epochs and batch.
        done: Steps that are finished.
        rows: Views that will be kept; 0 for none.
        device: To wait for.
    """
    trial = Stepper(copy.deepcopy(stepper.masks), recipe, stepper.directions, stepper.labels)
    reading, stepping = 0.0, 0.0
    batches = source.epoch(0)
    for _ in range(2):  # the first one warms up
        begun = time.perf_counter()
        batch = next(batches, None)
        if batch is None or batch.looked is None:
            break
        reading, stepping = _now(device) - begun, _tried(trial, batch, device)
    _close(batches)
    left = max(0, source.steps() * recipe.epochs - done)
    looks = -(-len(source.material.valid) // recipe.batch) * recipe.epochs * left / max(1, left + done)
    again = 0.0 if rows else reading
    seconds = rows / recipe.batch * reading + left * (stepping + again) + looks * (stepping / 2 + again)
    return Cost(recipe.epochs, left, rows, seconds)


def _tried(trial: Stepper, batch: Batch, device: torch.device) -> float:
    begun = time.perf_counter()
    trial.masks.train()
    trial.lambdas(trial(batch, 0).terms).backward()  # type: ignore[no-untyped-call]
    return _now(device) - begun


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _close(batches: Iterator[Batch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()
