"""The decision of a member on an image: what is explained, what it decided, and what would be right."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sightline import target as targets
from sightline.errors import TargetError
from sightline.studies.generalising.family import Member
from sightline.target import Attribute, Category, Contrast, Target

Question = Literal["category", "answer"]


def resolved(member: Member, outputs: Tensor) -> list[Target]:
    """The decision that is explained, one an image, fixed on the unaltered images.

    A contrast is turned so that it explains the side that the model took, as an attribute is.

    Args:
        member: Whose.
        outputs: (B, C) of the unaltered images.

    Raises:
        TargetError: A target that does not fit the outputs, or that is no decision.
    """
    _, found = targets.resolve(member.target, outputs, member.classifier.head())
    made: list[Target] = []
    for target, row in zip(found, outputs, strict=True):
        if isinstance(target, Contrast) and float(row[int(target.a)]) < float(row[int(target.b)]):
            target = Contrast(target.b, target.a, labels=target.labels[::-1])
        made.append(target)
    return made


def check(member: Member) -> None:
    """Refuse what is no decision, before any work.

    Raises:
        TargetError: The text names the member and what to do.
    """
    blank = torch.zeros(1, member.classifier.width, device=member.classifier.device)
    if member.classifier.decision in ("segmentation", "embedding"):
        raise TargetError(
            f"{member.name}: a {member.classifier.decision} makes no decision on a whole image; the study takes "
            "classifiers of categories, and yes-or-no outputs"
        )
    try:
        (target,) = resolved(member, blank)
    except TargetError as reason:
        raise TargetError(f"{member.name}: {reason}") from reason
    if not isinstance(target, Category | Attribute | Contrast):
        raise TargetError(f"{member.name}: {target} is no decision; take a Category, an Attribute or a Contrast")
    if isinstance(member.target, Contrast) and {"predicted", "runner-up"} & {member.target.a, member.target.b}:
        raise TargetError(
            f"{member.name}: a contrast of the study names both categories, such as Contrast('male', 'female'); for "
            "the decision made leave target away"
        )


def question(member: Member) -> Question:
    """Whether the member chooses a `category`, or gives an `answer`, 1 for yes and 0 for no."""
    categorical = member.classifier.decision == "categorical" and not isinstance(member.target, Contrast)
    return "category" if categorical else "answer"


def decisions(member: Member, outputs: Tensor) -> Tensor:
    """What the member decides for outputs (m, C): (m,) int64, the category, or 1 for yes (the first of a contrast)."""
    if question(member) == "category":
        return outputs.argmax(1)
    head = member.classifier.head()
    if isinstance(member.target, Contrast):
        a, b = (head.index(i, "category") for i in (member.target.a, member.target.b))
        return (outputs[:, a] >= outputs[:, b]).long()
    return (outputs[:, _output(member)] >= 0).long()


def _output(member: Member) -> int:
    given, head = member.target, member.classifier.head()
    name: Any = given.attribute if isinstance(given, Attribute) else 0 if given is None else given
    return head.index(name, "attribute")


def again(member: Member, decision: int) -> Target:
    """The decision that is explained on an image, from what the member decided there; see `resolved`."""
    outputs = torch.zeros(1, member.classifier.width)
    if question(member) == "category":
        outputs[0, decision] = 1.0
    elif isinstance(member.target, Contrast):
        head = member.classifier.head()
        outputs[0, head.index(member.target.a if decision else member.target.b, "category")] = 1.0
    else:
        outputs[0, _output(member)] = 1.0 if decision else -1.0
    return resolved(member, outputs)[0]


def truth_name(member: Member, known: Sequence[str]) -> str | None:
    """The attribute of the data that says what is right; None for the class label, or where nothing does."""
    if member.truth is not None or question(member) == "category" or isinstance(member.target, Contrast):
        return member.truth
    label = member.classifier.head().label(_output(member))
    return label if label in known else None


def truth_of(member: Member, known: Sequence[str], truth: Mapping[str, int], label: int | None) -> int | None:
    """What would be right on one image; None where it is not known."""
    name = truth_name(member, known)
    if name is not None:
        return truth.get(name)
    return label if question(member) == "category" else None


def read(member: Member, rows: Sequence[Target], outputs: Tensor) -> Tensor:
    """(m, 2) float64 of outputs (m, C) on altered images: the probability of the decision explained, the decision."""
    p = targets.probabilities(rows, outputs)
    return torch.stack([p.double(), decisions(member, outputs).double()], 1)
