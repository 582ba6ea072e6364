"""The decision against another one: the next likely category, the other answer."""

from collections.abc import Callable

import torch
from torch import Tensor

from sightline.target import Attribute, Category, Contrast, Region, Target


def rival(target: Target, outputs: Tensor, label: Callable[[int], str | None]) -> Target | None:
    """The decision against a resolved one; None where there is none.

    Args:
        target: Of `Category`, the most likely other category is the rival; of `Attribute`, the same output with the
            other sign; of `Region`, the class of the largest mean logit on the same pixels; of `Contrast`, the exchange
            of a and b; `Similarity` has none.
        outputs: (C, ...) of the image.
        label: Name of an output.
    """
    match target:
        case Attribute(attribute=i, sign=s) if s in (1, -1):
            return Attribute(i, -s, label=target.label)
        case Contrast(a=a, b=b):
            return Contrast(b, a, labels=target.labels[::-1])
        case Category(category=c) if len(outputs) > 1:
            j = _strongest(outputs, int(c))
            return Category(j, label=label(j))
        case Region(category=c, pixels=T) if isinstance(T, Tensor) and len(outputs) > 1:
            j = _strongest(outputs[:, T.to(outputs.device)].mean(1), int(c))
            return Region(j, T, label=label(j))
    return None


def _strongest(values: Tensor, own: int) -> int:
    return int(values.index_fill(0, torch.tensor(own, device=values.device), -torch.inf).argmax())
