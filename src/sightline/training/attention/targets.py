"""What each image of a batch is asked: a category, or one attribute with its side, and the channel that explains it."""

from typing import NamedTuple

import torch
from torch import Tensor

from sightline.errors import InputError
from sightline.explainers.learned._channels import Directions


class Asked(NamedTuple):
    """N questions.

    Attributes:
        y: (N,) the output explained.
        side: (N,) +1 or -1 for yes-or-no outputs; None for categories.
        channel: (N,) the channel of c that explains it.
        sign: (N,) what that channel is multiplied by.
    """

    y: Tensor
    side: Tensor | None
    channel: Tensor
    sign: Tensor


def ask(outputs: Tensor, labels: Tensor | None, directions: Directions, seed: int) -> Asked:
    """The targets of a batch.

    Args:
        outputs: (N, C) on the unaltered images: without labels the decisions made are explained.
        labels: (N,) or (N, C); None for the classifier's own decisions.
        directions: How channels belong to targets.
        seed: Of the attributes drawn, one an image.
    """
    N, C = outputs.shape
    ones = torch.ones(N, device=outputs.device)
    if directions == "category":
        y = outputs.argmax(1) if labels is None else labels.to(outputs.device)
        return Asked(y, None, y, ones)
    y = torch.randint(C, (N,), generator=torch.Generator().manual_seed(seed)).to(outputs.device)
    z = (outputs if labels is None else labels.to(outputs.device) - 0.5).gather(1, y[:, None])[:, 0]
    side = torch.where(z >= 0, ones, -ones)
    if directions == "two":
        return Asked(y, side, torch.where(side > 0, y, y + C), ones)
    return Asked(y, side, y, side)


def check_labels(targets: str, labels: Tensor | None, what: str) -> None:
    """Refuse targets='label' without labels.

    Raises:
        InputError: The text says how labels are given.
    """
    if targets == "label" and labels is None:
        raise InputError(
            f"targets='label' needs the labels of the {what}: give records (sightline.data.annotations.folders reads a "
            "folder a class), or a pair (pixels, labels); targets='predicted' needs none"
        )
