"""Maps of a bound attention: one forward pass, then the rows of its last convolution that the targets ask for."""

from typing import Any

import torch

from sightline.classifier import Classifier
from sightline.explainers.learned._bind import Bound
from sightline.explainers.learned._channels import terms_of
from sightline.explainers.learned._features import tapped
from sightline.explainers.method import Maps
from sightline.explainers.question import Question


def learned_maps(question: Question, learned: Bound, auxiliary: Classifier | None = None) -> Maps:
    """c of each row's channel, before the sigmoid.

    Args:
        question: What is asked.
        learned: Weights that fit the question's classifier.
        auxiliary: Whose features are read; by default the question's own classifier's.

    Returns:
        (N, h, w), signed, at the attention's resolution.

    Raises:
        MethodError: A target that no channel explains.
    """
    attention, layers = learned.attention, learned.attention.layers
    if auxiliary is not None:
        question.ask()
        _, features = tapped(auxiliary, auxiliary.check_pixels(question.pixels), layers)
        question.named = layers
    elif layers:
        outputs, features = tapped(question.model, question.pixels, layers)
        question.resolve(outputs)
    else:
        question.ask()
        features = []
    width = learned.about["outputs"]
    terms = [terms_of(target, width, attention.directions) for target in question.targets]
    with torch.no_grad():
        S = attention.rows(features, question.image.tolist(), terms)
    return Maps(S.to(question.pixels.device), record={"learned": _record(learned), "fuse": None})


def _record(learned: Bound) -> dict[str, Any]:
    """What an explanation's manifest says of the attention: all but the labels."""
    return {**{k: v for k, v in learned.about.items() if k != "labels"}, "weights": learned.digest}
