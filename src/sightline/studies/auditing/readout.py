"""What an audit asks of a classifier's outputs: for each attribute a number z, and yes where z >= 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.errors import InputError
from sightline.target import Attribute, Contrast, Target

Asked = Sequence[str] | Mapping[str, Attribute | Contrast] | None


@dataclass(frozen=True)
class Readout:
    """z = outputs @ R: column a picks the logit of attribute a, or the difference of two logits.

    Attributes:
        names: The A attributes, as the data calls them.
        positive, negative: (A,) output that says yes, and the one that says no (None for a single logit).
        width: Outputs of the classifier.
    """

    names: tuple[str, ...]
    positive: tuple[int, ...]
    negative: tuple[int | None, ...]
    width: int

    def matrix(self) -> Tensor:
        """R (outputs, A), float64, entries 1, 0 and -1."""
        R = torch.zeros(self.width, len(self.names), dtype=torch.float64)
        for a, (yes, no) in enumerate(zip(self.positive, self.negative, strict=True)):
            R[yes, a] = 1
            if no is not None:
                R[no, a] = -1
        return R

    def z(self, outputs: Tensor) -> Tensor:
        """(B, outputs) -> (B, A) in the precision of the outputs, differentiable."""
        return outputs @ self.matrix().to(outputs)

    def target(self, a: int, sign: int) -> Target:
        """Attribute a in one direction: its score is sign * z."""
        yes, no = self.positive[a], self.negative[a]
        if no is None:
            return Attribute(yes, 1 if sign > 0 else -1)
        return Contrast(yes, no) if sign > 0 else Contrast(no, yes)

    def described(self) -> dict[str, str]:
        """Attribute -> how z is read, for the manifest."""
        pairs = zip(self.names, self.positive, self.negative, strict=True)
        return {n: f"output {yes}" if no is None else f"output {yes} - output {no}" for n, yes, no in pairs}


def signs(z: Tensor) -> Tensor:
    """+1 where the decision is yes (z >= 0), else -1."""
    return torch.where(z >= 0, 1, -1)


def readout(classifier: Classifier | BlackBox, asked: Asked, known: Sequence[str]) -> Readout:
    """Fit what is asked to a classifier and to what the data knows.

    Args:
        classifier: With yes-or-no outputs, or with categories of which pairs are contrasted.
        asked: Names that the data and the labels share, a target for each name of the data, or None: all shared names.
        known: Attributes that the data knows.

    Raises:
        InputError: A kind of decision that is no yes or no, or names that data and classifier do not share.
        TargetError: A target that the classifier does not have.
    """
    head = classifier.head()
    if head.decision in ("segmentation", "embedding"):
        raise InputError(f"an audit is of yes-or-no decisions; this classifier is of the kind {head.decision}")
    if not isinstance(asked, Mapping):
        asked = _shared(classifier, asked, known)
    names: list[str] = []
    positive: list[int] = []
    negative: list[int | None] = []
    for name, target in asked.items():
        if name not in known:
            raise InputError(f"the data does not know the attribute {name!r}; it knows {_listed(known)}")
        if isinstance(target, Contrast):
            found = Contrast(head.index(target.a, "category"), head.index(target.b, "category"))
            if found.a == found.b:
                raise InputError(f"{name}: a contrast needs two different outputs, both are {target.a!r}")
            positive.append(int(found.a))
            negative.append(int(found.b))
        elif isinstance(target, Attribute) and head.decision != "categorical":
            positive.append(head.index(target.attribute, "attribute"))
            negative.append(None)
        else:
            raise InputError(
                f"{name}: an audit takes sl.Attribute(output) of a yes-or-no classifier or sl.Contrast(yes, no) of a "
                f"categorical one, not {target!r} of a {head.decision} one"
            )
        names.append(name)
    if not names:
        raise InputError("no attribute is asked")
    return Readout(tuple(names), tuple(positive), tuple(negative), head.width)


def _shared(
    classifier: Classifier | BlackBox, asked: Sequence[str] | None, known: Sequence[str]
) -> dict[str, Attribute | Contrast]:
    head = classifier.head()
    if head.decision == "categorical":
        labels = head.labels or ("a", "b")
        raise InputError(
            f"this classifier chooses one of {head.width} categories, so say which of them mean yes and no: "
            f'attributes={{"{known[0] if known else "Male"}": sl.Contrast({labels[0]!r}, {labels[1]!r})}}'
        )
    if head.labels is None:
        raise InputError(
            f"the classifier's {head.width} outputs have no names, so they cannot be matched with the data's "
            f"{len(known)} attributes ({_listed(known)}); give labels= to the classifier, in the order of its outputs"
        )
    spelt = {_spelt(label): label for label in head.labels}
    data = {_spelt(name): name for name in known}
    if asked is not None:
        for name in asked:
            if _spelt(name) not in spelt:
                raise InputError(f"the classifier has no output {name!r}; it has {_listed(head.labels)}")
            if _spelt(name) not in data:
                raise InputError(f"the data does not know the attribute {name!r}; it knows {_listed(known)}")
        return {data[_spelt(name)]: Attribute(spelt[_spelt(name)]) for name in asked}
    both = [s for s in spelt if s in data]
    if not both:
        raise InputError(
            f"classifier and data share no attribute: the outputs are {_listed(head.labels)}, the data knows "
            f"{_listed(known)}; name them alike, or give attributes={{name in the data: sl.Attribute(output)}}"
        )
    return {data[s]: Attribute(spelt[s]) for s in both}


def _spelt(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"
