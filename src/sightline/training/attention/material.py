"""The images of a run, parted by their content: to train on, to choose the epoch by, and left out."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.data.fitting import How
from sightline.errors import InputError
from sightline.training.attention.pictures import CENTRE, Pictures, View


@dataclass
class Material:
    """Images by position.

    Attributes:
        items: (whose, which) for every image that is used.
        train, valid: Positions among the items.
        labels: One entry or row an item, or None.
        excluded: How many images were left out because they are to be evaluated on, or stand in the other part.
        digest: 16 hex digits over the content of all items, in order, with their sides.
        movable: Whether a view may crop elsewhere than in the centre.
        failed: Positions that could not be read, with the reasons; filled as they are met.
    """

    items: list[tuple[Pictures, int]]
    train: list[int]
    valid: list[int]
    labels: Tensor | None
    excluded: int
    digest: str
    movable: bool
    failed: dict[int, str] = field(default_factory=dict)

    def name(self, position: int) -> str:
        """What an image is called."""
        pictures, index = self.items[position]
        return pictures.names[index]

    def read(self, position: int, view: View = CENTRE) -> Tensor:
        """One image (C, H, W).

        Raises:
            InputError: It cannot be read.
        """
        pictures, index = self.items[position]
        return pictures.read(index, view)

    def counts(self) -> dict[str, int]:
        """For a manifest."""
        return {"train": len(self.train), "validation": len(self.valid), "excluded": self.excluded}


def material(
    data: Any,
    classifier: Classifier,
    *,
    share: float,
    validation: Any = None,
    exclude: Any = (),
    how: How = "crop",
) -> Material:
    """Part images by what is in them, so that copies of one image never stand on both sides.

    Args:
        data: What to train on.
        classifier: Tells size and head.
        share: The share of `data` that chooses the epoch, where `validation` is not given.
        validation: Other images to choose the epoch by.
        exclude: Images that will be evaluated on: their copies are left out.
        how: How images become the input.

    Raises:
        InputError: No image is left to train on, or none to choose the epoch by.
    """
    pictures = Pictures(data, classifier, how=how)
    contents = _digests(pictures)
    barred = _barred(exclude, classifier)
    others = None if validation is None else Pictures(validation, classifier, how=how)
    apart = [] if others is None else _digests(others)
    items: list[tuple[Pictures, int]] = []
    found: tuple[list[int], list[int]] = ([], [])
    kept: list[str] = []

    def take(whose: Pictures, index: int, content: str, side: int) -> None:
        found[side].append(len(items))
        items.append((whose, index))
        kept.append(f"{side}{content}")

    known = {content for content in apart if content not in barred}
    for index, content in enumerate(contents):
        if content not in barred and content not in known:
            take(pictures, index, content, int(others is None and _share(content) < share))
    for index, content in enumerate(apart):
        if content not in barred and others is not None:
            take(others, index, content, 1)
    _check(found, len(contents), share, validation is not None)
    return Material(
        items,
        *found,
        labels=_joined(pictures, others, items),
        excluded=len(contents) + len(apart) - len(items),
        digest=hashlib.sha256("".join(kept).encode()).hexdigest()[:16],
        movable=pictures.movable,
    )


def _share(content: str) -> float:
    """A number in [0, 1) that depends on the content alone."""
    return int(content[:8], 16) / 2**32


def _digests(pictures: Pictures) -> list[str]:
    with ThreadPoolExecutor(4, thread_name_prefix="sightline-digest") as pool:
        return list(pool.map(pictures.digest, range(len(pictures))))


def _barred(exclude: Any, classifier: Classifier) -> set[str]:
    if isinstance(exclude, Sequence) and not isinstance(exclude, str) and not len(exclude):
        return set()
    return set(_digests(Pictures(exclude, classifier)))


def _check(found: tuple[list[int], list[int]], count: int, share: float, given: bool) -> None:
    train, valid = found
    if not train:
        raise InputError(
            f"of {count} images none is left to train on: all are excluded or chosen for validation; give more images"
        )
    if not valid and (share > 0 or given):
        what = "are all excluded" if given else f"too few for a share of {share:g}: none fell to validation"
        raise InputError(
            f"{count} images: {what}; give more images or validation= others, or take select='last', validation=0"
        )


def _joined(first: Pictures, second: Pictures | None, items: Sequence[tuple[Pictures, int]]) -> Tensor | None:
    if first.labels is None or (second is not None and second.labels is None):
        return None
    return torch.stack([whose.labels[index] for whose, index in items if whose.labels is not None])
