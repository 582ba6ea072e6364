"""The rows of a trial explained again: on altered images, by another classifier, or for other targets."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.classifier import Classifier
from sightline.errors import MetricError
from sightline.explainers import Explainer
from sightline.explanation import Explanation
from sightline.metrics.trial import Trial
from sightline.target import Target, each


def explain_again(
    trial: Trial,
    *,
    pixels: Tensor | None = None,
    targets: Sequence[Target] | None = None,
    classifier: Classifier | None = None,
) -> Explanation:
    """Explain the rows of a trial once more, with its explainer.

    Args:
        trial: N rows.
        pixels: (B, C, H, W) altered versions of all images of the batch; by default the images themselves.
        targets: N resolved targets; by default the rows' own, which were fixed on the unaltered images.
        classifier: Another model; by default the trial's.

    Returns:
        N rows in the trial's order; their `image` counts only images that have rows.

    Raises:
        MetricError: The trial has no explainer.
    """
    if trial.explainer is None:
        raise MetricError("give explainer=, what made the maps: it explains again")
    explainer = trial.explainer if classifier is None else rebound(trial.explainer, classifier, trial.explanation)
    pixels = trial.session.pixels if pixels is None else pixels
    targets = trial.targets if targets is None else targets
    rows: dict[int, list[int]] = {}
    for row, image in enumerate(trial.image.tolist()):
        rows.setdefault(image, []).append(row)
    out = explainer(pixels[list(rows)], [each(targets[row] for row in mine) for mine in rows.values()])
    order = torch.tensor([row for mine in rows.values() for row in mine])
    return out.select(order.argsort())


def rebound(explainer: Explainer, classifier: Classifier, explanation: Explanation) -> Explainer:
    """The same method with the same settings at the same layers, bound to another classifier."""
    looks = explainer.method.needs & {"features", "layer"}
    return Explainer(
        explainer.method.name,
        classifier,
        layer=explainer.layer or (explanation.layers if looks else ()) or None,
        fuse=explainer.fuse,
        seed=explainer.seed,
        **explainer.settings,
    )
