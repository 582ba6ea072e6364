"""From what a caller asks to rows: which image, which resolved target; and rows scored together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sightline.errors import TargetError
from sightline.target.base import Decision, Head, Sign, Target
from sightline.target.decisions import Attribute, Category, Contrast
from sightline.target.pixels import Region


@dataclass(frozen=True)
class Each:
    """Several targets for every image; made by `each`."""

    items: tuple[Target | int | str, ...]


def each(items: Iterable[Target | int | str]) -> Each:
    """Explain several targets of every image: rows come out image-major, from one forward pass.

    Args:
        items: Targets, label names or indices (for yes-or-no classifiers these mean `Attribute`, else `Category`).

    Raises:
        TargetError: There are none.
    """
    found = (items,) if isinstance(items, str | int | Target) else tuple(items)
    if not found:
        raise TargetError("each(...) holds no target")
    return Each(found)


AnyTarget = Target | Each | int | str | Sequence[Any] | None


def _one(item: Target | int | str | None, head: Head) -> Target:
    if isinstance(item, Target):
        return item
    if isinstance(item, int | str) and not isinstance(item, bool):
        if head.decision in ("binary", "multilabel"):
            return Attribute(item)
        return Region(item) if head.decision == "segmentation" else Category(item)
    if item is not None:
        raise TargetError(f"{item!r} is no target; use Category, Attribute, Region, Contrast, Similarity or each")
    if head.decision == "multilabel":
        raise TargetError(
            "a multi-label classifier makes many decisions: say which, by sl.Attribute(name) or "
            "sl.each(classifier.labels)"
        )
    if head.decision == "embedding":
        raise TargetError("an embedding makes no decision of its own: use sl.Similarity(reference)")
    defaults: dict[str, Target] = {"categorical": Category(), "binary": Attribute(), "segmentation": Region()}
    return defaults[head.decision]


def resolve(
    target: AnyTarget, outputs: Tensor, head: Head, truth: Tensor | None = None
) -> tuple[list[int], tuple[Target, ...]]:
    """Turn what the caller asked into rows: which image, and which resolved target.

    Args:
        target: None (the decision made), one target for all images, one for each image in a list, or `each(...)`.
        outputs: Outputs of the unaltered images (B, C, ...).
        head: The classifier's head.
        truth: True labels (B,) or (B, C), where a target asks for them.

    Raises:
        TargetError: A count that fits neither one, nor the images, nor `each`; or a target that cannot be answered.
    """
    images = len(outputs)
    asked: list[Any] = list(target) if isinstance(target, Sequence) and not isinstance(target, str) else [target]
    if len(asked) == 1:
        asked = asked * images
    if len(asked) != images:
        raise TargetError(
            f"{len(asked)} targets do not fit {images} images: give one target for all, one for each image, "
            "or each([...]) for several targets of every image"
        )
    if truth is not None and len(truth) != images:
        raise TargetError(f"truth has {len(truth)} entries for {images} images")
    values = outputs.detach()
    image: list[int] = []
    rows: list[Target] = []
    for i, item in enumerate(asked):
        for part in item.items if isinstance(item, Each) else (item,):
            rows.append(_one(part, head).resolve(values[i], head, None if truth is None else truth[i]))
            image.append(i)
    return image, tuple(rows)


def _by_class(targets: Sequence[Target], outputs: Tensor, function: str) -> Tensor:
    kinds = {type(t) for t in targets}
    if len(kinds) == 1:
        result: Tensor = getattr(kinds.pop(), function)(targets, outputs)
        return result
    rows = [getattr(type(t), function)([t], outputs[i : i + 1]) for i, t in enumerate(targets)]
    return torch.cat(rows)


def scores(targets: Sequence[Target], outputs: Tensor) -> Tensor:
    """Scores of N resolved targets, one for each of N rows of outputs (N, C, ...): shape (N,), differentiable."""
    return _by_class(targets, outputs, "scores")


def probabilities(targets: Sequence[Target], outputs: Tensor) -> Tensor:
    """Probabilities of N resolved targets, in [0, 1]: shape (N,)."""
    return _by_class(targets, outputs, "probabilities")


def margins(targets: Sequence[Target], outputs: Tensor) -> Tensor:
    """Log-odds of the probabilities of N resolved targets: shape (N,), float64."""
    return _by_class(targets, outputs, "margins")


def together(asked: Sequence[AnyTarget], decision: Decision) -> AnyTarget:
    """What several `parse` give, asked of every image: none is the decision made, one stays, more become `each`."""
    if len(asked) < 2:
        return asked[0] if asked else None
    made: dict[str, Target] = {"binary": Attribute(), "segmentation": Region()}
    items: list[Target | int | str] = []
    for target in asked:
        if isinstance(target, Each):
            items += target.items
        else:
            items.append(target if isinstance(target, Target | int | str) else made.get(decision, Category()))
    return each(items)


def parse(text: str) -> AnyTarget:
    """Read a target as it is typed in a shell.

    `predicted`, `207`, `tench`, `category:tench`, `attribute:Smiling:+1`, `both:Smiling`, `contrast:male:female`,
    `region:dog`, `each:Smiling,Wearing_Hat`. A name that contains a colon must be given by its index.

    Raises:
        TargetError: A word in front of a colon that is not one of these.
    """
    kind, colon, rest = text.partition(":")
    if text == "predicted":
        return None
    if not colon:
        return int(text) if text.isdigit() else text
    parts: list[int | str] = [int(p) if p.isdigit() else p for p in rest.split(":")]
    match kind.casefold(), parts:
        case "category", [name]:
            return Category(name)
        case "attribute", [name]:
            return Attribute(name)
        case "attribute", [name, sign]:
            named: dict[str, Sign] = {"+1": 1, "1": 1, "yes": 1, "-1": -1, "no": -1, "predicted": "predicted"}
            if str(sign) in named:
                return Attribute(name, named[str(sign)])
        case "both", [name]:
            return each([Attribute(name, 1), Attribute(name, -1)])
        case "contrast", [a, b]:
            return Contrast(a, b)
        case "region", [name]:
            return Region(name)
        case "each", [names]:
            return each([int(n) if n.isdigit() else n for n in str(names).split(",")])
    raise TargetError(
        f"cannot read the target {text!r}; write predicted, a label or index, category:NAME, attribute:NAME:+1, "
        "both:NAME, contrast:A:B, region:NAME or each:A,B,C"
    )
