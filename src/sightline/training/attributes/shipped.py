"""Trains the attribute classifiers that Sightline ships: ``python -m sightline.training.attributes``.

Both networks see the same faces, drawn at CelebA's natural rates. ``unbalanced`` minimises plain binary cross-entropy
and so learns to say "no" to what is rare. ``balanced`` weighs the two answers of each attribute: weight 1 for the
minority, N_minority / N_majority for the majority (MOON with a balanced target; Rudd, Günther & Boult, 2016,
arXiv 1603.07027).

The loop is its own, so that the shipped weights can be made again bit for bit; `fit_attributes` is the one for users.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Generator, Tensor

from sightline.data import faces
from sightline.errors import InputError, StorageError
from sightline.models.facenet import MEAN, SHIPPED, STD, FaceNet
from sightline.training._augment import augment
from sightline.training.weights import moon

#: Rates of the faces on which networks are compared: every attribute is frequent enough to count both its answers.
HELD_OUT_RATES: Final[Mapping[str, float]] = {
    name: 0.25 if name in ("Bald", "Bangs", "Black_Hair", "Blond_Hair", "Wearing_Hat") else 0.4 for name in faces.NAMES
}
HELD_OUT_SEED: Final = 20_000_003

StepReport = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a training run depends on, apart from the versions of the libraries.

    Attributes:
        weighting: ``"unbalanced"`` (plain) or ``"balanced"`` (MOON's weights).
        seed: Names the faces, the initial weights, the order and the augmentation.
        count: How many different faces are drawn.
        epochs: How often each is seen.
        batch: Faces a step.
        learning_rate: Peak of the one-cycle schedule of AdamW.
        size: Side of the images in pixels.

    Raises:
        InputError: A number that is not positive, or an unknown weighting.
    """

    weighting: str = "balanced"
    seed: int = 0
    count: int = 16_000
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 6e-3
    size: int = 64

    def __post_init__(self) -> None:
        if self.weighting not in SHIPPED:
            raise InputError(f"unknown weighting {self.weighting!r}; choose {' or '.join(map(repr, SHIPPED))}")
        for name in ("count", "epochs", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)}; it must be more than 0")
        if self.batch > self.count:
            raise InputError(
                f"batch = {self.batch} is more than count = {self.count}; draw more faces or shrink the batch"
            )


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        network: In evaluation mode, with labels.
        losses: (steps,) float32: the loss of each step.
        seconds: How long the steps took.
    """

    network: FaceNet
    losses: Tensor
    seconds: float


def normalise(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] as FaceNet wants it."""
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def train(recipe: Recipe, *, report: StepReport | None = None) -> Trained:
    """Train one network on rendered faces.

    On one machine, with one version of PyTorch and one number of threads, the same recipe gives the same weights.

    Args:
        recipe: The settings.
        report: Called after each step with the number of steps done, the number of all steps, and the loss.
    """
    torch_state = torch.get_rng_state()
    try:
        torch.manual_seed(recipe.seed)
        network = FaceNet(len(faces.NAMES))
    finally:
        torch.set_rng_state(torch_state)
    drawn = faces.sample(recipe.count, seed=recipe.seed, size=recipe.size)
    pixels, labels = (drawn.pixels * 255).to(torch.uint8), drawn.attributes
    weights = moon(labels).float() if recipe.weighting == "balanced" else torch.ones(2, labels.shape[1])
    generator = Generator().manual_seed(recipe.seed)
    per_epoch = recipe.count // recipe.batch
    total = per_epoch * recipe.epochs
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=max(total, 2))
    losses, start = torch.zeros(total), time.perf_counter()
    for step in range(total):
        if step % per_epoch == 0:
            order = torch.randperm(recipe.count, generator=generator)
        rows = order[step % per_epoch * recipe.batch :][: recipe.batch]
        images = augment(pixels[rows].float() / 255, generator)
        target = labels[rows].float()
        weight = torch.where(labels[rows], weights[1], weights[0])
        loss = F.binary_cross_entropy_with_logits(network(normalise(images)), target, weight=weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses[step] = loss.item()
        if report is not None:
            report(step + 1, total, float(losses[step]))
    network.labels = faces.NAMES
    return Trained(network.eval(), losses, time.perf_counter() - start)


@torch.no_grad()
def balanced_accuracy(network: FaceNet, drawn: faces.Faces) -> dict[str, dict[str, float]]:
    """How well a network answers each attribute of some faces.

    Args:
        network: In evaluation mode.
        drawn: Faces in which each attribute has both answers.

    Returns:
        By name: ``sensitivity`` (share of "yes" found), ``specificity`` (share of "no" found) and their mean,
        ``balanced_accuracy``; all in [0, 1], at the threshold logit 0; NaN where an answer does not occur.
    """
    said = torch.cat([network(normalise(chunk)) for chunk in torch.split(drawn.pixels, 256)]) > 0
    truth, out = drawn.attributes, {}
    for column, name in enumerate(drawn.names):
        yes = truth[:, column]
        sensitivity = float(said[yes, column].float().mean())
        specificity = float((~said[~yes, column]).float().mean())
        out[name] = {
            "sensitivity": round(sensitivity, 4),
            "specificity": round(specificity, 4),
            "balanced_accuracy": round((sensitivity + specificity) / 2, 4),
        }
    return out


def save(trained: Trained, recipe: Recipe, metrics: Mapping[str, Any], path: Path) -> None:
    """Write a network with all that is known about it in the header of a safetensors file.

    Raises:
        StorageError: The file cannot be written.
    """
    header = {
        "model": "FaceNet",
        "attributes": list(faces.NAMES),
        "recipe": asdict(recipe),
        "loss": "binary cross-entropy with logits, " + ("MOON weights" if recipe.weighting == "balanced" else "plain"),
        "training_rates": dict(faces.NATURAL_RATES),
        "normalisation": {"mean": MEAN, "std": STD},
        "held_out": {"seed": HELD_OUT_SEED, "rates": dict(HELD_OUT_RATES), "metrics": dict(metrics)},
        "versions": {name: version(name) for name in ("sightline", "torch", "numpy")},
        "licence": "Apache-2.0",
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {key: value.contiguous() for key, value in trained.network.state_dict().items()}
        save_file(state, path, metadata={"format": "pt", "sightline": json.dumps(header)})
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; choose another folder with --out") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sightline.training.attributes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train FaceNet, the small attribute classifier, on rendered faces, and write it as safetensors.\n"
        "Nothing is downloaded: the faces are drawn here. Two CPU cores need some minutes a network.",
        epilog="examples:\n"
        "  both shipped networks, into ./out      python -m sightline.training.attributes --out out\n"
        "  one of them, with another seed         ... --out out --weighting balanced --seed 7\n"
        "  a glance whether it learns at all      ... --out out --count 1000 --epochs 2\n\n"
        "then: sightline.models.facenet.load_facenet(Path('out/facenet-balanced.safetensors'))",
    )
    default = Recipe()
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the files (default: out)")
    parser.add_argument("--weighting", choices=[*SHIPPED, "both"], default="both", help="which loss (default: both)")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of faces, weights and order (default: 0)")
    parser.add_argument("--count", type=int, default=default.count, help="faces to draw (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=default.epochs, help="passes over them (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=4000, help="faces to test on (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="CPU threads (default: %(default)s)"
    )
    return parser


def _train_with_bar(recipe: Recipe, console: Console) -> Trained:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(f"{recipe.weighting}: drawing {recipe.count} faces", total=None)
        first = time.perf_counter()

        def report(done: int, total: int, loss: float) -> None:
            bar.update(task, completed=done, total=total, description=f"{recipe.weighting}: loss {loss:.4f}")
            if not console.is_terminal and done % max(1, total // 10) == 0:  # a bar is lost in a log
                left = (total - done) * (time.perf_counter() - first) / done
                console.print(f"{recipe.weighting}: step {done} of {total}, loss {loss:.4f}, {left:.0f} s left")

        return train(recipe, report=report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What stands after the command's name; None: those of the process.

    Returns:
        0, or 2 when the settings cannot be used.
    """
    options, console = _parser().parse_args(arguments), Console()
    torch.set_num_threads(max(1, options.threads))
    try:
        for weighting in SHIPPED if options.weighting == "both" else (options.weighting,):
            recipe = Recipe(weighting=weighting, seed=options.seed, count=options.count, epochs=options.epochs)
            trained = _train_with_bar(recipe, console)
            drawn = faces.sample(options.held_out, seed=HELD_OUT_SEED, rates=HELD_OUT_RATES)
            metrics = balanced_accuracy(trained.network, drawn)
            path = options.out / f"facenet-{weighting}.safetensors"
            save(trained, recipe, metrics, path)
            for name, row in metrics.items():
                console.print(f"  {name:22s} balanced error {1 - row['balanced_accuracy']:.3f}", highlight=False)
            console.print(f"{path}: trained in {trained.seconds:.0f} s", highlight=False)
    except (InputError, StorageError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False)
        return 2
    return 0
