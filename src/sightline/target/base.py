"""What all targets share: the classifier's head as they see it, and the base class."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from sightline.errors import TargetError

Decision = Literal["categorical", "binary", "multilabel", "segmentation", "embedding"]
Sign = Literal["predicted", "label", 1, -1]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a target must know of the classifier: kind of decision, number of outputs, labels, and a way to embed."""

    decision: Decision
    width: int
    labels: tuple[str, ...] | None = None
    embed: Callable[[Tensor], Tensor] | None = None

    def index(self, name: int | str, noun: str) -> int:
        """The output's index for an index or a label name.

        Raises:
            TargetError: Out of range, unknown or ambiguous.
        """
        if isinstance(name, bool) or not isinstance(name, int | str):
            raise TargetError(f"{noun} {name!r} must be an index or a label name")
        if isinstance(name, int):
            if not 0 <= name < self.width:
                raise TargetError(
                    f"{noun} {name} is out of range: this classifier has {self.width} outputs (0 to {self.width - 1})"
                )
            return name
        if self.labels is None:
            if name.lstrip("-").isdigit():
                return self.index(int(name), noun)
            raise TargetError(
                f"{noun} {name!r} is a name, but this classifier has no labels; give labels=, or an index"
            )
        hits = [i for i, label in enumerate(self.labels) if label == name]
        hits = hits or [i for i, label in enumerate(self.labels) if label.casefold() == name.casefold()]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise TargetError(f"the label {name!r} stands at outputs {hits}; say which by index")
        if name.isdigit():
            return self.index(int(name), noun)
        near = difflib.get_close_matches(name, self.labels, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else f"labels are {', '.join(self.labels[:5])}, ..."
        )
        raise TargetError(f"there is no label {name!r}; {hint}")

    def label(self, index: int) -> str | None:
        """The label of an output, if there are labels."""
        return self.labels[index] if self.labels is not None else None


class Target:
    """A decision that can be explained; see the table at the top of the module."""

    def resolve(self, outputs: Tensor, head: Head, truth: Tensor | None = None) -> "Target":
        """Fix what is left open ("predicted", names) on one image's outputs (C,) or (C, h, w)."""
        raise NotImplementedError

    def score(self, outputs: Tensor) -> Tensor:
        """The differentiable scalar that is explained, for outputs (N, C, ...): shape (N,)."""
        return type(self).scores([self] * len(outputs), outputs)

    def probability(self, outputs: Tensor) -> Tensor:
        """The probability of the decision, in [0, 1], for outputs (N, C, ...): shape (N,)."""
        return type(self).probabilities([self] * len(outputs), outputs)

    @classmethod
    def scores(cls, targets: Sequence[Any], outputs: Tensor) -> Tensor:
        """Scores of N resolved targets of this class, one for each of N rows of outputs."""
        raise NotImplementedError

    @classmethod
    def probabilities(cls, targets: Sequence[Any], outputs: Tensor) -> Tensor:
        """Probabilities, likewise."""
        raise NotImplementedError

    @classmethod
    def margins(cls, targets: Sequence[Any], outputs: Tensor) -> Tensor:
        """Log-odds of the probabilities, float64, likewise: they stay apart where probabilities round to 0 or 1."""
        return torch.logit(cls.probabilities(targets, outputs.double()))


def needs(head: Head, allowed: tuple[Decision, ...], target: str) -> None:
    """Raise a TargetError that names the right target, unless the head makes one of the allowed decisions."""
    if head.decision in allowed:
        return
    fix = {
        "binary": "this classifier has one output: use Attribute(0, sign=+1), Attribute(0, sign=-1) or the "
        "default (the side it chose)",
        "multilabel": "this classifier answers yes or no for each attribute: use Attribute(name, sign) or each(...)",
        "categorical": "this classifier chooses one category: use Category(name) or Contrast(a, b), "
        "or build it with decision='multilabel' (or 'binary')",
        "segmentation": "this classifier labels pixels: use Region(category, pixels)",
        "embedding": "this classifier gives an embedding: use Similarity(reference)",
    }[head.decision]
    raise TargetError(f"{target} does not fit a {head.decision} classifier; {fix}")


def indices(targets: Sequence[Any], name: str, device: torch.device) -> Tensor:
    """One integer field of N resolved targets as a tensor (N,)."""
    values = [getattr(t, name) for t in targets]
    if not all(isinstance(v, int) for v in values):
        raise TargetError(
            f"{targets[0]} is not resolved; pass it through sl.explain, or use an index and a sign of +1 or -1"
        )
    return torch.tensor(values, device=device)


def pick(outputs: Tensor, index: Tensor) -> Tensor:
    """Entry `index[n]` of row n of outputs (N, C): shape (N,)."""
    if outputs.ndim != 2:
        raise TargetError(f"this target needs outputs of shape (N, C), not {tuple(outputs.shape)}")
    if len(index) and int(index.max()) >= outputs.shape[1]:
        raise TargetError(f"output {int(index.max())} is out of range: there are {outputs.shape[1]} outputs")
    return outputs.gather(1, index[:, None])[:, 0]


def word(label: str | None, index: int | str) -> str:
    """The label where there is one, else the index."""
    return f"{label}" if label is not None else f"{index}"


def required_truth(truth: Tensor | None, asker: str) -> Tensor:
    """The true labels of one image; a TargetError where none were given."""
    if truth is None:
        raise TargetError(f"{asker} needs the true labels: give truth=, one entry (or one row) an image")
    return truth
