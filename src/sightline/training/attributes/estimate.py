"""What a training is about to do, and what it will cost, from two steps that are tried before it."""

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sightline.training.attributes.run import Trainer, changed


def announced(trainer: Trainer, say: Callable[[str], object]) -> None:
    """Say what is trained on what, and what it costs."""
    images, recipe, about = trainer.material, trainer.recipe, trainer.about
    parameters = sum(p.numel() for p in trainer.model.parameters())
    say(f"{about['backbone']} ({parameters:,} parameters) for {len(images.names)} attributes, loss {recipe.loss}")
    say(f"{len(images.train):,} images to train on, {len(images.valid):,} to choose the epoch by")
    w = trainer.objective.weights
    if bool((w != 1).any()):
        place = int(w.max(0).values.argmax()), int(w.min(0).values.argmin())
        say(
            f"weights of answers from {float(w.min()):.3g} ({images.names[place[1]]}) to {float(w.max()):.3g} "
            f"({images.names[place[0]]})"
        )
    for name, reason in list(images.failed.items())[:5]:
        say(f"left out: {name}: {reason}")
    if len(images.failed) > 5:
        say(f"and {len(images.failed) - 5} more left out")
    left = trainer.left()
    if left:
        seconds = estimate(trainer) * left
        spoken = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        say(f"{left:,} steps to the end of epoch {recipe.epochs}, at most about {spoken}")


def estimate(trainer: Trainer) -> float:
    """Seconds a step, with its share of the validation: two are tried on a copy of the network."""
    trial = copy.deepcopy(trainer.model).to(trainer.fabric.device)
    images, recipe = trainer.material, trainer.recipe
    rows = images.train[: recipe.batch]
    bf16 = recipe.precision == "bf16-mixed"
    seconds = 0.0
    with torch.random.fork_rng():
        for _ in range(2 if len(rows) > 1 else 0):  # the first one warms up
            begun = time.perf_counter()
            pixels = changed(images.pixels[rows].float() / 255, recipe, 0).to(trainer.fabric.device)
            x = ((pixels - trainer.mean) / trainer.std).contiguous(memory_format=torch.channels_last)
            with torch.autocast(trainer.fabric.device.type, torch.bfloat16, enabled=bf16):
                z = trial(x)
            if isinstance(z, Tensor) and z.shape == (len(rows), len(images.names)):  # else the first step will say so
                trainer.objective(z.float(), trainer.answers(rows)[0])[0].backward()  # type: ignore[no-untyped-call]
            seconds = time.perf_counter() - begun
    return seconds * (1 + len(images.valid) / (3 * max(1, len(images.train))))
