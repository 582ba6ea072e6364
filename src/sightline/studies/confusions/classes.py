"""How alike two classes are: by the weights of the classifier's head, and by how often they are confused."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from sightline.classifier import BlackBox, Classifier
from sightline.errors import SightlineError


@dataclass(frozen=True)
class Likeness:
    """How alike the classes are to a linear head.

    Attributes:
        U: (C, K) float64: the rows of the head, their mean row taken away, each of length 1.
    """

    U: Tensor

    def of(self, a: int) -> Tensor:
        """(C,) cosines of a class with all classes."""
        return (self.U @ self.U[a]).clamp(-1, 1)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the cosines over all pairs of different classes; 0 where there is one pair only.

        From sum_ab cos = |sum_a U_a|^2 and sum_ab cos^2 = |U' U|^2, so that no (C, C) matrix is made.
        """
        C = len(self.U)
        if C < 3:
            return 0.0
        count, ones = C * (C - 1), float(self.U.square().sum())
        total = float(self.U.sum(0).square().sum()) - ones
        squares = float((self.U.T @ self.U).square().sum()) - float(self.U.square().sum(1).square().sum())
        return math.sqrt(max(0.0, (squares - total**2 / count) / (count - 1)))


def likeness(classifier: Classifier | BlackBox) -> Likeness | None:
    """How alike the classes are in the linear head; None where there is no such head.

    A softmax does not see what all rows have in common, so it is taken away. A head is the last `nn.Linear`, or 1 x 1
    `nn.Conv2d` before a pooling, with as many outputs as there are classes, whose outputs are the model's (after a ReLU
    and a mean over positions, if any).
    """
    if isinstance(classifier, BlackBox):
        return None
    weights = _head(classifier)
    if weights is None:
        return None
    W = weights.detach().flatten(1).double().cpu()  # (C, K)
    W = W - W.mean(0)
    length = W.norm(dim=1, keepdim=True)
    return Likeness(W / torch.where(length > 0, length, 1.0))


def _head(classifier: Classifier) -> Tensor | None:
    width = classifier.width
    found = [
        (name, module)
        for name, module in classifier.twin().named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == width)
        or (isinstance(module, nn.Conv2d) and module.out_channels == width and module.kernel_size == (1, 1))
    ]
    blank = classifier.check_pixels(torch.full((1, classifier.channels, *classifier.size), 0.5))
    for name, module in reversed(found):
        try:
            with classifier.differentiable():
                run = classifier.forward(blank, layers=(name,))
        except SightlineError:  # it takes no part in the forward pass
            continue
        seen, outputs = run.seen[name].detach().float(), run.outputs.detach()
        if seen.shape[:2] != outputs.shape:
            continue
        forms = (seen, seen.relu())
        if any(torch.allclose(v.reshape(*v.shape[:2], -1).mean(2), outputs, rtol=1e-3, atol=1e-4) for v in forms):
            weight: Tensor = module.weight
            return weight
    return None


def unlike(alike: Likeness | None, a: int, b: int, width: int) -> list[int]:
    """Classes with which two are compared for control: the half of all others that is least like either in the head.

    Args:
        alike: Of the head; without it all others count as unlike.
        a: One class.
        b: The other one.
        width: C.
    """
    others = [c for c in range(width) if c not in (a, b)]
    if alike is None or not others:
        return others
    nearest = torch.maximum(alike.of(a), alike.of(b))[others]
    order = nearest.argsort(stable=True).tolist()
    return sorted(others[i] for i in order[: -(-len(others) // 2)])


def both_ways(counts: Mapping[tuple[int, int], int], a: int, b: int) -> float | None:
    """2 min(n_ab, n_ba) / (n_a + n_b), n_ab images of class a that were called b: 0 unless it goes both ways.

    Args:
        counts: (true class, predicted class) -> images.
        a: One class.
        b: The other one.

    Returns:
        In [0, 1]; None where one of the classes has no image.
    """
    totals = [sum(n for (true, _), n in counts.items() if true == c) for c in (a, b)]
    if not all(totals):
        return None
    return 2 * min(counts.get((a, b), 0), counts.get((b, a), 0)) / sum(totals)
