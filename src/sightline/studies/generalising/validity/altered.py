"""What a map is held against: the same classifier with random weights, and the decision that it did not make."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.errors import TargetError
from sightline.metrics._randomised import Randomiser
from sightline.metrics._rival import rival
from sightline.target import Target

Part = Literal["all", "upper"]


def randomised(
    classifier: Classifier | BlackBox, seed: int = 0, *, part: Part = "all", pixels: Tensor | None = None
) -> Classifier:
    """The classifier with random weights: normal, with the mean and spread of what they replace; statistics are kept.

    Args:
        classifier: It is never written to.
        seed: Of the weights, which hang on the classifier's own as well: members of one architecture get other ones.
            With the seed of the cascade of `rows`, this is its last stage (or its `upper half`).
        part: `all` of the modules, or the `upper` half of them, counted from the output in the order in which they run.
        pixels: (1, C, H, W), an image of the size that the classifier takes; by default grey, of `classifier.size`.

    Raises:
        MetricError: A BlackBox, or a model without parameters.
    """
    random = randomiser(classifier, seed, pixels)
    names = random.order if part == "all" else upper(random.order)
    return random.classifier_with(names)


def randomiser(classifier: Classifier | BlackBox, seed: int, pixels: Tensor | None = None) -> Randomiser:
    """What draws the weights of a member; the draws of members whose own weights differ do so too.

    Raises:
        MetricError: A BlackBox.
    """
    if pixels is None:
        pixels = torch.full((1, classifier.channels, *classifier.size), 0.5)
    pixels = classifier.check_pixels(pixels[:1])
    own = int(classifier.fingerprint()[:8], 16) if isinstance(classifier, Classifier) else 0
    return Randomiser(classifier, pixels, (seed + own) % 2**31)


def upper(order: Sequence[str]) -> tuple[str, ...]:
    """The half of the modules next to the output; one at least."""
    return tuple(order[: max(1, len(order) // 2)])


def turned(altered: Tensor, own: Tensor) -> Tensor:
    """Maps of a classifier with random weights, with the sign in which each is closer to the learned map: <S', S> >= 0.

    Random weights next to the output give a score of either sign, and relevance that starts below 0 is the negative of
    what it is above. A rule that draws the same picture whatever the upper layers are would get a map and its negative
    in turn, as if the picture depended on them, and its masks would keep the worst pixels. So a map and its negative
    count as one. Where both have nothing to do with each other this makes them a little more alike than chance, so it
    can only make it harder to acquit a rule.

    Args:
        altered: (n, h, w).
        own: (n, h, w) by the learned weights, of the same images and targets.
    """
    product = (altered.double() * own.to(altered.device).double()).sum((1, 2))
    return torch.where((product < 0)[:, None, None], -altered, altered)


def other_targets(classifier: Classifier | BlackBox, outputs: Tensor, targets: Sequence[Target]) -> list[Target]:
    """The decision that was not made, one a row.

    Of `Category` the most likely other category, of `Attribute` the other answer of the same output, of `Region` the
    strongest other class on the same pixels, of `Contrast` the exchange of both. The other answer of one output has the
    score -z: a rule that is linear in what it starts from (all rules of LRP, and the gradient) gives the negative of
    the first map, whatever the network is. Class swap tells nothing there, and the table says so.

    Args:
        classifier: It has the labels.
        outputs: (B, C, ...) of the unaltered images.
        targets: B resolved targets.

    Raises:
        TargetError: A target that has no rival: `Similarity`, or the only category there is.
    """
    head = classifier.head()
    found = [rival(target, row, head.label) for target, row in zip(targets, outputs, strict=True)]
    for target, other in zip(targets, found, strict=True):
        if other is None:
            raise TargetError(f"{target} has no decision against it; leave the control 'other-class' out")
    return [other for other in found if other is not None]
