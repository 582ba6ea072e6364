"""Weights bound to a classifier: read, checked, and copied, before any image is asked about."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sightline import replica
from sightline.classifier import BlackBox, Classifier
from sightline.errors import MethodError
from sightline.explainers.learned._features import seen_by
from sightline.explainers.learned._file import Learned, load
from sightline.explainers.learned._fits import check_fit
from sightline.explainers.learned._modules import Attention
from sightline.layers import split_name
from sightline.registry import Bind

Fit = Callable[[Any], Learned | str | os.PathLike[str]]


class Retrained:
    """Weights that are trained for whatever network is explained: `weights=Retrained(fit)`.

    With it `parameter-randomisation` trains the attention again beside each randomised network, where plain weights
    are kept as they are. Each network (by its weights, normalisation and labels) is trained for once.

    Args:
        fit: Takes the classifier, returns a `Learned` or the path of one.
    """

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self._found: dict[Any, Learned] = {}
        self._lock = threading.RLock()

    def learned(self, classifier: BlackBox | Classifier) -> Learned:
        """The attention for a classifier, trained at the first call."""
        with self._lock:
            # A black box has no fingerprint; it is kept, so that no other object can take its identity.
            key = _identity(classifier) if isinstance(classifier, Classifier) else classifier
            if key not in self._found:
                made = self.fit(classifier)
                self._found[key] = made if isinstance(made, Learned) else load(made, classifier)
            return self._found[key]


def _identity(classifier: Classifier) -> str:
    """What `check_fit` tells classifiers apart by."""
    told = classifier.describe()
    parts = [told[name] for name in ("weights", "decision", "outputs", "mean", "std")]
    return json.dumps([*parts, list(classifier.labels)])


@dataclass(frozen=True, eq=False)
class Bound(Learned):
    """A frozen copy of an attention on the device of what it reads, with what trains it again if anything does."""

    pinned: str = ""
    again: Retrained | None = None

    @property
    def digest(self) -> str:
        """As it was when it was bound."""
        return self.pinned


def binding(kind: str, method: str | None = None) -> Bind:
    """What a method does with its `weights=` when it is bound; see `registry.Method.bind`.

    Args:
        kind: Of the attention.
        method: Its name in the registry, where that is another.
    """
    name = method or kind

    def bind(
        classifier: BlackBox | Classifier, layer: tuple[str, ...], settings: Mapping[str, Any]
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        helped = kind == "p-tame"
        auxiliary = _auxiliary(settings["auxiliary"], classifier) if helped else None
        source = seen_by(kind, classifier, auxiliary)
        bound = _bound(name, kind, settings["weights"], classifier, auxiliary)
        layers = bound.attention.layers
        if layer and tuple(split_name(n)[0] for n in layer) != tuple(split_name(n)[0] for n in layers):
            raise MethodError(
                f"{name} reads the layers it was trained with ({', '.join(layers)}), not {', '.join(layer)}; leave "
                "layer= away, or train another attention"
            )
        mine = {**settings, "weights": bound} | ({"auxiliary": auxiliary} if helped else {})
        return (layers if source is classifier else ()), mine

    return bind


def _bound(
    name: str, kind: str, weights: Any, classifier: BlackBox | Classifier, auxiliary: Classifier | None
) -> Bound:
    again = weights if isinstance(weights, Retrained) else weights.again if isinstance(weights, Bound) else None
    learned = again.learned(classifier) if again is not None else weights
    if learned is None:
        raise MethodError(
            f"{name} explains with weights that were trained for this classifier: give weights=FILE. To train them: "
            f"`sightline train attention --method {name}`, or sl.training.fit_attention(classifier, images, "
            f'method="{name}", out=FOLDER)'
        )
    if isinstance(learned, str | os.PathLike):
        learned = load(learned, classifier, auxiliary=auxiliary)
    if not isinstance(learned, Learned):
        raise MethodError(f"weights= takes a file, a Learned or a Retrained, not {type(learned).__name__}")
    if learned.about["kind"] != kind:
        other = {"constant": "learned-constant"}.get(learned.about["kind"], learned.about["kind"])
        raise MethodError(f"{learned} was trained for {other}: use method={other!r}, or give weights of {name}")
    check_fit(learned.about, str(learned), classifier, auxiliary)
    attention = replica.replicate(learned.attention).to((auxiliary or classifier).device)
    assert isinstance(attention, Attention)  # noqa: S101 - a copy of one
    attention.fold()
    return Bound(attention, learned.about, learned.path, pinned=learned.digest, again=again)


def _auxiliary(given: Any, classifier: BlackBox | Classifier) -> Classifier | None:
    """The auxiliary classifier: one, or as text a model and its weights (`torchvision:resnet18 resnet18.pth`)."""
    if not isinstance(given, str):
        return given  # type: ignore[no-any-return] # `seen_by` refuses what is no classifier
    from sightline.loading import load as load_classifier

    spec, _, weights = given.partition(" ")
    return load_classifier(spec, weights=weights.strip() or None, device=classifier.device)
