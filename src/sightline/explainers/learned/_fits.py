"""Whether an attention belongs to a classifier: the same weights, normalisation, outputs, labels and layers."""

from collections.abc import Mapping
from typing import Any

from sightline.asked import Asked
from sightline.classifier import BlackBox, Classifier
from sightline.errors import LayerError, MethodError
from sightline.explainers.learned._features import layouts, seen_by

_AGAIN = "train one for it: `sightline train attention` (sl.training.fit_attention)"


def check_fit(
    about: Mapping[str, Any], where: str, classifier: BlackBox | Classifier, auxiliary: Classifier | None = None
) -> None:
    """Refuse an attention that was trained for something else.

    Args:
        about: Its manifest.
        where: Its file, for the text of errors.
        classifier: What is to be explained.
        auxiliary: For `p-tame`, where it is known.

    Raises:
        MethodError: It does not belong to the classifier; the text names what differs and what to do.
    """
    _check_outputs(about, where, classifier)
    helped = about["kind"] == "p-tame"
    if isinstance(classifier, Classifier):
        _check_backbone(about["backbone"], where, classifier, "the classifier")
    if helped and auxiliary is None:
        return
    if helped and auxiliary is not None and about.get("auxiliary"):
        _check_backbone(about["auxiliary"], where, auxiliary, "auxiliary=")
    source = seen_by(about["kind"], classifier, auxiliary)
    if source is not None:
        _check_layers(about, where, source)


def _check_outputs(about: Mapping[str, Any], where: str, classifier: Asked) -> None:
    for name, own in (("outputs", classifier.width), ("decision", classifier.decision)):
        if about[name] != own:
            said = f"{about[name]} outputs" if name == "outputs" else f"a {about[name]} classifier"
            raise MethodError(f"{where} is for {said}, the classifier has {name} {own}; {_AGAIN}")
    theirs, ours = list(about["labels"]), list(classifier.labels)
    indices = [str(i) for i in range(len(ours))]
    differs = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b), None)
    if indices not in (theirs, ours) and differs is not None:
        raise MethodError(
            f"{where} was trained with the label {theirs[differs]!r} at output {differs}, the classifier says "
            f"{ours[differs]!r}; give the classifier the same labels="
        )


def _check_backbone(trained: Mapping[str, Any], where: str, classifier: Classifier, what: str) -> None:
    whole = classifier.original or classifier  # one that stands in for another counts as that one
    weights = trained.get("weights")
    if weights is not None and weights != whole.fingerprint() and weights != classifier.fingerprint():
        raise MethodError(
            f"{where} belongs to {trained.get('model')} with the weights {weights}; {what} is "
            f"{type(whole.source).__name__} with the weights {whole.fingerprint()}: load those weights, or {_AGAIN}"
        )
    described = whole.describe()
    for name in ("mean", "std"):
        theirs, ours = trained.get(name), described[name]
        apart = (theirs is None) != (ours is None) or any(
            abs(a - b) > 1e-6 for a, b in zip(theirs or (), ours or (), strict=False)
        )
        if weights is not None and apart:
            raise MethodError(f"{where} was trained with {name}={theirs}, {what} has {name}={ours}; give the same")


def _check_layers(about: Mapping[str, Any], where: str, source: Classifier) -> None:
    layers = tuple(about["layers"])
    try:
        found = source.cached(("attention layers", layers), lambda: layouts(source, layers))
    except LayerError as reason:
        raise MethodError(f"{where} reads the layers {', '.join(layers)}: {reason}") from reason
    for name, layout, channels in zip(layers, found, about["channels"], strict=True):
        if layout.channels != channels:
            raise MethodError(
                f"{where} reads {channels} channels at layer {name!r}, where {type(source.source).__name__} has "
                f"{layout.channels}; {_AGAIN}"
            )
