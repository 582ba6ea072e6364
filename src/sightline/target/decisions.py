"""Targets on logits: a category, an attribute in one direction, one category rather than another."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sightline.errors import TargetError
from sightline.target.base import Head, Sign, Target, indices, needs, pick, required_truth, word


@dataclass(frozen=True)
class Category(Target):
    """One class of a categorical classifier: index, name, "predicted" (the chosen one) or "label" (the true one)."""

    category: int | str = "predicted"
    label: str | None = field(default=None, compare=False, kw_only=True)

    def resolve(self, outputs: Tensor, head: Head, truth: Tensor | None = None) -> "Category":
        """Fix the class."""
        needs(head, ("categorical",), "Category")
        known = head.labels or ()
        if self.category == "predicted" and "predicted" not in known:
            index = int(outputs.argmax())
        elif self.category == "label" and "label" not in known:
            index = head.index(int(required_truth(truth, "Category('label')")), "category")
        else:
            index = head.index(self.category, "category")
        return Category(index, label=head.label(index))

    @classmethod
    def scores(cls, targets: Sequence["Category"], outputs: Tensor) -> Tensor:
        """The logit of the class."""
        return pick(outputs, indices(targets, "category", outputs.device))

    @classmethod
    def probabilities(cls, targets: Sequence["Category"], outputs: Tensor) -> Tensor:
        """The softmax probability of the class."""
        e = (outputs - outputs.amax(1, keepdim=True)).exp()  # softmax() would wake PyTorch's threads for a few rows
        return pick(e, indices(targets, "category", outputs.device)) / e.sum(1)

    @classmethod
    def margins(cls, targets: Sequence["Category"], outputs: Tensor) -> Tensor:
        """y_c - log sum exp of the other logits."""
        y, index = outputs.double(), indices(targets, "category", outputs.device)
        return pick(y, index) - y.scatter(1, index[:, None], -torch.inf).logsumexp(1)

    def __str__(self) -> str:
        return word(self.label, self.category)


@dataclass(frozen=True)
class Attribute(Target):
    """One yes-or-no output z of a binary or multi-label classifier, in one direction (arXiv 2403.14435).

    `sign` is "predicted" (the side the classifier chose; z = 0 counts as yes), +1 (why yes), -1 (why no) or
    "label" (the true side, which `truth=` must give). The score is sign * z, the probability sigmoid(sign * z).
    """

    attribute: int | str = 0
    sign: Sign = "predicted"
    label: str | None = field(default=None, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.sign not in ("predicted", "label", 1, -1):
            raise TargetError(f"sign must be 'predicted', 'label', +1 or -1, not {self.sign!r}")

    def resolve(self, outputs: Tensor, head: Head, truth: Tensor | None = None) -> "Attribute":
        """Fix the attribute and the direction."""
        needs(head, ("binary", "multilabel"), "Attribute")
        index = head.index(self.attribute, "attribute")
        sign: Sign = self.sign
        if sign == "predicted":
            sign = 1 if float(outputs[index]) >= 0 else -1
        elif sign == "label":
            value = required_truth(truth, "Attribute(sign='label')").reshape(-1)
            if len(value) not in (1, head.width):
                raise TargetError(f"truth holds {len(value)} values an image, the classifier has {head.width} outputs")
            sign = 1 if float(value[index if len(value) > 1 else 0]) > 0 else -1
        return Attribute(index, sign, label=head.label(index))

    @classmethod
    def scores(cls, targets: Sequence["Attribute"], outputs: Tensor) -> Tensor:
        """sign * z."""
        sign = indices(targets, "sign", outputs.device)
        return sign * pick(outputs, indices(targets, "attribute", outputs.device))

    @classmethod
    def probabilities(cls, targets: Sequence["Attribute"], outputs: Tensor) -> Tensor:
        """sigmoid(sign * z)."""
        return cls.scores(targets, outputs).sigmoid()

    @classmethod
    def margins(cls, targets: Sequence["Attribute"], outputs: Tensor) -> Tensor:
        """sign * z."""
        return cls.scores(targets, outputs.double())

    def __str__(self) -> str:
        side = "yes" if self.sign == 1 else "no" if self.sign == -1 else self.sign
        return f"{word(self.label, self.attribute)}: {side}"


@dataclass(frozen=True)
class Contrast(Target):
    """Why `a` rather than `b`: the difference of two logits. `a` may be "predicted", `b` may be "runner-up"."""

    a: int | str = "predicted"
    b: int | str = "runner-up"
    labels: tuple[str | None, str | None] = field(default=(None, None), compare=False, kw_only=True)

    def resolve(self, outputs: Tensor, head: Head, truth: Tensor | None = None) -> "Contrast":
        """Fix both classes."""
        needs(head, ("categorical", "multilabel"), "Contrast")
        if head.width < 2:
            raise TargetError("Contrast needs two outputs")
        a = int(outputs.argmax()) if self.a == "predicted" else head.index(self.a, "category")
        if self.b == "runner-up":
            rest = outputs.clone()
            rest[a] = -torch.inf
            b = int(rest.argmax())
        else:
            b = head.index(self.b, "category")
        if a == b:
            raise TargetError(f"Contrast needs two different categories, both are {word(head.label(a), a)}")
        return Contrast(a, b, labels=(head.label(a), head.label(b)))

    @classmethod
    def scores(cls, targets: Sequence["Contrast"], outputs: Tensor) -> Tensor:
        """y_a - y_b."""
        device = outputs.device
        return pick(outputs, indices(targets, "a", device)) - pick(outputs, indices(targets, "b", device))

    @classmethod
    def probabilities(cls, targets: Sequence["Contrast"], outputs: Tensor) -> Tensor:
        """Probability of a when only a and b are offered."""
        return cls.scores(targets, outputs).sigmoid()

    @classmethod
    def margins(cls, targets: Sequence["Contrast"], outputs: Tensor) -> Tensor:
        """y_a - y_b."""
        return cls.scores(targets, outputs.double())

    def __str__(self) -> str:
        return f"{word(self.labels[0], self.a)} rather than {word(self.labels[1], self.b)}"
