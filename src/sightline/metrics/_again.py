"""The rows of a trial explained again: on altered images, by another classifier, or for other targets."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline import layers as layering
from sightline.classifier import Classifier
from sightline.errors import MetricError
from sightline.explainers import Explainer, recorded
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


def check_made_by(explainer: Explainer, explanation: Explanation) -> None:
    """Check that an explainer is what made the maps, as far as the explanation says what did: method, settings, layers.

    The seed is no part of it. Maps that were made elsewhere say nothing, and are taken on trust.

    Raises:
        MetricError: It is another one; the text names what differs.
    """
    record = explanation.provenance
    if "settings" not in record:
        return
    if explainer.method.name != explanation.method:
        differs = [f"the method {explanation.method}, not {explainer.method.name}"]
    else:
        mine = recorded(explainer)
        differs = [
            f"{name}={record['settings'].get(name)!r}, not {mine.get(name)!r}"
            for name in sorted({*mine, *record["settings"]})
            if record["settings"].get(name) != mine.get(name)
        ]
        named = _layers(explainer, explanation.size)
        if explainer.method.needs & {"features", "layer"} and not _same(explainer, named, explanation):
            differs.append(f"layers {', '.join(explanation.layers) or 'none'}, not {', '.join(named) or 'none'}")
    if differs:
        raise MetricError(
            f"explainer= is not what made the maps: they have {'; '.join(differs[:3])}. Give the explainer that the "
            "explanation came from, or explain again with this one"
        )


def _layers(explainer: Explainer, size: tuple[int, int]) -> tuple[str, ...]:
    """The layers that an explainer looks at: those named, or the default one."""
    if explainer.layer:
        return tuple(layering.split_name(name)[0] for name in explainer.layer)
    if "features" in explainer.method.needs and isinstance(explainer.classifier, Classifier):
        return (layering.default_layer(explainer.classifier, size),)
    return ()


def _same(explainer: Explainer, named: tuple[str, ...], explanation: Explanation) -> bool:
    """Whether these are the explanation's layers, by whichever of their names."""
    if named == explanation.layers or not isinstance(explainer.classifier, Classifier):
        return named == explanation.layers
    known = explainer.classifier.layers(explanation.size)
    name = {alias: info.name for info in known for alias in (info.name, *info.aliases)}
    return [name.get(n, n) for n in named] == [name.get(n, n) for n in explanation.layers]
