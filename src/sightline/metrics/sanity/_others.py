"""Another decision to explain: the strongest rival, the opposite answer, or any other output."""

from collections.abc import Callable

import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.errors import MetricError
from sightline.metrics import _rival
from sightline.metrics._again import explain_again
from sightline.metrics._similarity import Reading, Similarity, compare
from sightline.metrics.trial import Trial
from sightline.target import Attribute, Category, Contrast, Region, Target

Choose = Callable[[int, Target], Target | None]


def rival(trial: Trial, row: int, target: Target) -> Target | None:
    """The decision against the row's own: the next likely category, the other answer; None where there is none."""
    return _rival.rival(target, trial.session.outputs()[int(trial.image[row])], lambda i: _label(trial, i))


def another(trial: Trial, row: int, target: Target, draw: int) -> Target | None:
    """The same question about another output, drawn for the image; None where there is no other."""
    image = int(trial.image[row])
    width = trial.session.outputs().shape[1]

    def shuffled() -> list[int]:
        found: list[int] = torch.randperm(width, generator=trial.session.generator(image, 5)).tolist()
        return found

    order = trial.session.once(("outputs in random order", image), shuffled)

    def other(*own: int) -> int | None:
        left = [i for i in order if i not in own]
        if left and draw >= len(left):
            raise MetricError(f"{target} has {len(left)} other outputs; ask for as many draws at most")
        return left[draw] if left else None

    match target:
        case Attribute(attribute=int(i)) if (j := other(i)) is not None:
            return Attribute(j, target.sign, label=_label(trial, j))
        case Category(category=int(c)) if (j := other(c)) is not None:
            return _category(trial, j)
        case Contrast(a=int(a), b=int(b)) if (j := other(a, b)) is not None:
            return Contrast(j, b, labels=(_label(trial, j), target.labels[1]))
        case Region(category=int(c), pixels=T) if isinstance(T, Tensor) and (j := other(c)) is not None:
            return _region(trial, j, T)
    return None


def against(trial: Trial, choose: Choose, similarity: Similarity, reading: Reading) -> tuple[Tensor, Tensor]:
    """Similarity (N,) of each row's map and the map of the decision that `choose` gives, and (N,) where it is None."""
    chosen = [choose(row, target) for row, target in enumerate(trial.targets)]
    refused = torch.tensor([other is None for other in chosen], dtype=torch.bool)
    again = explain_again(trial, targets=[o or t for o, t in zip(chosen, trial.targets, strict=True)])
    return compare(trial.explanation, again, similarity, reading), refused


def _category(trial: Trial, index: int) -> Category:
    return Category(index, label=_label(trial, index))


def _region(trial: Trial, index: int, pixels: Tensor) -> Region:
    return Region(index, pixels, label=_label(trial, index))


def _label(trial: Trial, index: int) -> str | None:
    classifier = trial.session.classifier
    return classifier.head().label(index) if isinstance(classifier, Classifier) else None
