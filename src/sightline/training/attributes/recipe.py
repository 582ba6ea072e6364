"""All that training a classifier of attributes depends on beside data and architecture."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sightline.errors import InputError
from sightline.training.attributes.losses import Loss

Optimiser = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "constant"]
Precision = Literal["32-true", "bf16-mixed"]
Augment = Literal["affact", "light", "flip", "none"]
Select = Literal["loss", "unweighted", "balanced-error", "last"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training.

    Attributes:
        loss: See `losses`: `bce` is unbalanced; `moon`, `moon-euclidean`, `inverse-frequency`, `effective-number`,
            `focal` and `logit-adjusted` make up for rare answers.
        wanted: For moon: the share of yes that is wanted.
        cap: For inverse-frequency: the largest weight; None for none.
        beta: For effective-number.
        gamma: For focal.
        tau: For logit-adjusted: how much of the log odds is added.
        optimiser: `adamw`, or `sgd` with `momentum` (Nesterov).
        learning_rate: The peak for `one-cycle`.
        weight_decay: Of weights; biases and normalisations have none.
        schedule: `one-cycle` over all epochs, or `constant`.
        epochs, batch: Passes over the images at most, images a step.
        clip: Greatest norm of the gradient; None leaves it alone.
        precision: `32-true`, or `bf16-mixed`: autocast to bfloat16.
        augment: `affact` (scale, angle, shift, flip, blur, gamma, as AFFACT was trained: arXiv 1611.06158), `light`
            (small moves and colours, of the shipped networks), `flip`, or `none`.
        select: What chooses the epoch on validation data: the least loss that is trained, the least `unweighted` loss,
            the least mean `balanced-error`, or simply the `last` epoch.
        patience: Stop when so many epochs in a row brought nothing better; None never does.
        validation: The share of images that choose the epoch where no part of the data is for that, told by content.
        seed: Of the initial weights' noise in training (dropout), the order, and the augmentation.

    Raises:
        InputError: A value out of range; the text names it.
    """

    loss: Loss = "bce"
    wanted: float = 0.5
    cap: float | None = 20.0
    beta: float = 0.999
    gamma: float = 2.0
    tau: float = 1.0
    optimiser: Optimiser = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.05
    schedule: Schedule = "one-cycle"
    epochs: int = 20
    batch: int = 64
    clip: float | None = 5.0
    precision: Precision = "32-true"
    augment: Augment = "light"
    select: Select = "loss"
    patience: int | None = 5
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(map(repr, get_args(kind)))
                raise InputError(f"{name} must be one of {known}, not {getattr(self, name)!r}")
        for name in ("epochs", "batch", "learning_rate"):
            _in(name, getattr(self, name), low=0, open_=True)
        for name in ("gamma", "tau", "momentum", "weight_decay"):
            _in(name, getattr(self, name), low=0)
        _in("validation", self.validation, low=0, high=0.5)
        _in("wanted", self.wanted, low=0, high=1, open_=True)
        for name in ("clip", "patience", "cap"):
            if getattr(self, name) is not None:
                _in(name, getattr(self, name), low=0, open_=True)
        if self.select == "last" and self.patience is not None:
            raise InputError("patience= stops by what chooses the epoch; with select='last' give patience=None")

    def described(self) -> dict[str, Any]:
        """As plain values, for a manifest."""
        return dataclasses.asdict(self)

    @property
    def measure(self) -> str | None:
        """The column of the history that chooses the epoch; less is better. None takes the last one."""
        return _MEASURES[self.select]


_CHOICES: Final = {
    "loss": Loss,
    "optimiser": Optimiser,
    "schedule": Schedule,
    "precision": Precision,
    "augment": Augment,
    "select": Select,
}
_MEASURES: Final = {
    "loss": "valid_weighted",
    "unweighted": "valid_unweighted",
    "balanced-error": "valid_balanced_error",
    "last": None,
}


def _in(name: str, value: float, *, low: float, high: float = math.inf, open_: bool = False) -> None:
    if not (low < value <= high if open_ else low <= value <= high):
        most = f" and at most {high:g}" if high < math.inf else ""
        raise InputError(f"{name} = {value}; it must be {'more than' if open_ else 'at least'} {low:g}{most}")


def recipe_of(recipe: Recipe | None, **changes: Any) -> Recipe:
    """A recipe, changed.

    Raises:
        InputError: A field that does not exist, or a value out of range.
    """
    fields = {f.name for f in dataclasses.fields(Recipe)}
    strange = next((key for key in changes if key not in fields), None)
    if strange is not None:
        raise InputError(f"a recipe has no {strange!r}; it has {', '.join(sorted(fields))}")
    return dataclasses.replace(recipe or Recipe(), **changes)
