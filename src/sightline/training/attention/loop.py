"""The steps of a training run: forward, loss, backward, and where it stands."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sightline.errors import InputError, ModelError
from sightline.explainers.learned._channels import Directions
from sightline.training.attention.losses import Lambdas, Terms, terms_of
from sightline.training.attention.recipe import Recipe
from sightline.training.attention.schedule import factor, one_cycle
from sightline.training.attention.source import Batch, Source, seed_of
from sightline.training.attention.targets import Asked, ask

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MEASURES = ("loss", "ce", "av", "tv")


@dataclass(frozen=True)
class Stepped:
    """What one batch gave: its terms, and what the mask did to the probability of the decision.

    Attributes:
        terms: CE, AV and TV, with a graph where one was asked for.
        before, after: (N,) probability of the target on the unaltered and on the masked images, without a graph.
        count: N.
    """

    terms: Terms
    before: Tensor
    after: Tensor
    count: int


def optimiser_of(masks: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW with two groups: weights, and biases (parameters whose name ends in `bias`)."""
    named = list(masks.named_parameters())
    groups = [
        {"params": [p for n, p in named if not n.endswith("bias")], "weight_decay": recipe.weight_decay},
        {
            "params": [p for n, p in named if n.endswith("bias")],
            "weight_decay": recipe.weight_decay if recipe.decay_biases else 0.0,
        },
    ]
    for group, rate in zip(groups, (1.0, recipe.bias_factor), strict=True):
        group["lr"] = recipe.learning_rate * rate
    groups = [group for group in groups if group["params"]]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, amsgrad=recipe.amsgrad)
    nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov)


def set_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, per_epoch: int) -> float:
    """Set the rates (and momenta) of a step from 0; returns the weights' rate."""
    share, momentum = 1.0, None
    if recipe.schedule == "factor":
        share = factor(step // per_epoch, recipe.factor, recipe.factor_epochs)
    elif recipe.schedule == "one-cycle":
        share, momentum = one_cycle(step, per_epoch * recipe.epochs)
    for group in optimiser.param_groups:
        group.setdefault("first_lr", group["lr"])
        group["lr"] = group["first_lr"] * share
        if momentum is not None and recipe.cycle_momentum:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
    return recipe.learning_rate * share


class Stepper:
    """Runs batches through attention, mask and frozen classifier.

    Args:
        masks: The attention, as Fabric wraps it.
        recipe: What it is trained by.
        directions: How channels belong to targets.
        labels: One entry or row an image of the material, or None for the classifier's decisions.
    """

    def __init__(self, masks: nn.Module, recipe: Recipe, directions: Directions, labels: Tensor | None) -> None:
        self.masks, self.recipe, self.directions = masks, recipe, directions
        self.labels = labels if recipe.targets == "label" else None
        self.lambdas = recipe.lambdas

    def __call__(self, batch: Batch, seed: int) -> Stepped:
        """One batch, with a graph where gradients are on.

        Raises:
            NotFiniteError: Maps that are not finite.
        """
        looked = batch.looked
        assert looked is not None  # noqa: S101 - batches without an image are left out before
        labels = None if self.labels is None else self.labels[batch.positions]
        asked = ask(looked.outputs, labels, self.directions, seed)
        a, maps, times = self.masks(looked.features, asked.channel, asked.sign)
        if not bool(a.detach().isfinite().all()):
            raise NotFiniteError
        with _seeded(seed, a.device) if self.recipe.dropout_active else _nothing():
            outputs = looked.masked(a)
        terms = terms_of(outputs, asked.y, asked.side, maps, self.lambdas, times)
        return Stepped(terms, _probability(looked.outputs, asked), _probability(outputs.detach(), asked), len(a))

    def loss(self, found: Stepped) -> Tensor:
        """L of a batch.

        Raises:
            NotFiniteError: It is NaN or infinite.
        """
        loss = self.lambdas(found.terms)
        if not bool(loss.detach().isfinite()):
            raise NotFiniteError
        return loss


class NotFiniteError(ArithmeticError):
    """A loss or maps that are not finite."""


def not_finite(recipe: Recipe, step: int, epoch: int, kept: str) -> ModelError:
    """What is said of it: where, what was kept, what to lower."""
    return ModelError(
        f"the loss is no longer finite in step {step + 1} (epoch {epoch + 1}); {kept}. Lower the learning rate "
        f"(learning_rate={recipe.learning_rate:g}), clip the gradient (clip=1.0), or lower l1 (TV sums over the maps)"
    )


def _probability(outputs: Tensor, asked: Asked) -> Tensor:
    """(N,) of the target: softmax, or the sigmoid of its side."""
    with torch.no_grad():
        z = outputs.gather(1, asked.y[:, None])[:, 0]
        if asked.side is not None:
            return torch.sigmoid(asked.side * z)
        return torch.exp(z - outputs.logsumexp(1))


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """PyTorch's own generators from a seed, and back to where they were: dropout draws from them."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class Sums:
    """Means over images of what batches gave; as numbers that a checkpoint holds exactly."""

    def __init__(self, values: dict[str, float] | None = None) -> None:
        names = (*MEASURES, "drop", "increase", "images")
        self.values = dict.fromkeys(names, 0.0) if values is None else dict(values)

    def add(self, found: Stepped, loss: Tensor) -> None:
        """One batch."""
        terms, n = found.terms, found.count
        drop = ((found.before - found.after).clamp(min=0) / found.before.clamp(min=1e-12)).sum()
        rise = (found.after > found.before).sum()
        scalars = [loss.detach(), *(t.detach() for t in terms)]
        sums = [*(float(s) * n for s in scalars), float(drop) * 100, float(rise) * 100, n]
        for name, value in zip(self.values, sums, strict=True):
            self.values[name] += value

    def reduced(self, fabric: "Fabric") -> "Sums":
        """Over all processes."""
        if fabric.world_size == 1:
            return self
        found = torch.tensor(list(self.values.values()), dtype=torch.float64, device=fabric.device)
        total: Any = fabric.all_reduce(found, reduce_op="sum")
        return Sums(dict(zip(self.values, total.tolist(), strict=True)))

    def means(self) -> dict[str, float]:
        """Per image; `drop` and `increase` in per cent, under the mask that is trained."""
        n = self.values["images"] or math.nan
        return {name: value / n for name, value in self.values.items() if name != "images"}


def balanced(stepper: Stepper, source: Source, recipe: Recipe, reduce: Callable[[Tensor], Tensor]) -> Lambdas:
    """l1 and l2 times the powers of ten that bring their terms to CE's order of magnitude, before the first step.

    l -> l * 10^round(log10(l3 CE / (l term))), with the means of the terms over the first `balance_batches` batches of
    the first epoch. Afterwards no weighted term is more than sqrt(10) times greater or less than that of CE. A lambda
    of 0 stays 0.

    Args:
        stepper: With the lambdas that were given.
        source: Where the batches come from.
        recipe: How many.
        reduce: Sums over all processes.
    """
    total = torch.zeros(4, dtype=torch.float64)
    was = stepper.masks.training
    stepper.masks.eval()
    with torch.no_grad():
        for batch in source.epoch(0):
            if batch.number >= recipe.balance_batches:
                break
            if batch.looked is not None:
                found = stepper(batch, seed_of("balance", recipe.seed, batch.number))
                total += torch.tensor([*(float(t) for t in found.terms), 1.0], dtype=torch.float64)
    stepper.masks.train(was)
    ce, av, tv, count = reduce(total).tolist()
    if not count:
        raise InputError("the terms of the loss cannot be balanced: none of the first images can be read")
    given = stepper.lambdas

    def brought(value: float, term: float) -> float:
        share = given.l3 * ce / (value * term) if value * term > 0 else 0.0
        return float(value * 10.0 ** round(math.log10(share))) if share > 0 else value

    return replace(given, l1=brought(given.l1, tv), l2=brought(given.l2, av))
