"""What an audit asks: a classifier, images with known attributes, regions, methods, layers, groups and edits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from sightline import registry
from sightline.capture import INPUT, module_of, unknown_layer
from sightline.classifier import BlackBox, Classifier
from sightline.data.alignment import Preparation
from sightline.data.annotations.record import Record
from sightline.data.faces import Faces
from sightline.errors import InputError, LayerError, MethodError
from sightline.explainers import Explainer
from sightline.layers import default_layer, split_name
from sightline.loading.trained import preparation_of
from sightline.studies.auditing.head import Head, head
from sightline.studies.auditing.readout import Asked, Readout, readout
from sightline.studies.auditing.source import FaceSource, RecordSource, Source
from sightline.versions import versions

if TYPE_CHECKING:
    from sightline.data.regions import Regions

METHODS = ("grad-cam", "hires-cam", "grad-cam++")
AFTER, BEFORE = "after", "before"
_RECTIFIERS = ("ReLU", "ReLU6")
_BIASED = 32


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A bias audit; see `sightline.studies.auditing.audit` for what the fields mean."""

    classifier: Classifier | BlackBox
    records: Sequence[Record] | Faces
    attributes: Asked = None
    regions: "Regions | None" = None
    preparation: Preparation = field(default_factory=lambda: Preparation(fit="crop"))
    methods: Sequence[str] = METHODS
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    layers: Mapping[str, str] | None = None
    groups: Sequence[str] = ()
    edits: Sequence[Any] = ()
    rates: Mapping[str, float] | None = None
    bias_images: int | None = None
    pictures: bool = True
    reference: Literal["balanced", "plain"] = "balanced"
    batch: int = 64
    seed: int = 0
    min_group: int = 20
    name: str = "model"
    root: str | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or self.min_group < 1:
            raise InputError(f"batch and min_group must be 1 or more, not {self.batch!r} and {self.min_group!r}")
        if isinstance(self.methods, str):
            raise InputError(f"methods is a list of names, not the text {self.methods!r}")
        if len(set(self.methods)) != len(self.methods):
            raise InputError(f"a method is named twice in {', '.join(self.methods)}")
        if self.reference not in ("balanced", "plain"):
            raise InputError(f"reference must be 'balanced' or 'plain', not {self.reference!r}")
        _ = self.readout  # what does not fit is told before any work
        for method in self.methods:
            self.explainer(method)
        self._check_layers()
        if self.edits:
            from sightline.studies.auditing import edits

            object.__setattr__(self, "edits", edits.resolved(self.edits, self))

    def _check_layers(self) -> None:
        if not isinstance(self.classifier, Classifier):
            return
        twin = self.classifier.twin()
        for layer in self.named_layers.values():
            name, _ = split_name(layer)
            try:
                module_of(twin, name)
            except AttributeError as reason:
                raise LayerError(unknown_layer(twin, name.removesuffix(INPUT))) from reason

    @cached_property
    def source(self) -> Source:
        """The images."""
        size, groups = self.classifier.size, tuple(self.groups)
        if isinstance(self.records, Faces):
            return FaceSource(self.records, size, groups, self.regions)
        return RecordSource(self.records, size, groups, self.regions, self.preparation, self.root)

    @cached_property
    def readout(self) -> Readout:
        """How each attribute's z is read from the outputs."""
        return readout(self.classifier, self.attributes, self.source.known)

    @cached_property
    def named_layers(self) -> dict[str, str]:
        """Label -> layer of the CAMs: `after` and, where the default layer ends on a ReLU, `before` it."""
        if self.layers is not None:
            return dict(self.layers)
        if not isinstance(self.classifier, Classifier):
            return {}
        last = default_layer(self.classifier, self.classifier.size)
        found = {AFTER: last}
        before = _before(self.classifier, last)
        return found if before is None else {**found, BEFORE: before}

    @property
    def cams(self) -> tuple[str, ...]:
        """Methods that are pure functions of activations and gradients: all of them share one forward pass."""
        return tuple(m for m in self.methods if registry.find(m).runner == "cam")

    @property
    def others(self) -> tuple[str, ...]:
        """All other methods: each is asked by itself."""
        return tuple(m for m in self.methods if registry.find(m).runner != "cam")

    @cached_property
    def head(self) -> Head:
        """What comes after the last layer with a map."""
        return head(self.classifier, self.readout, self.named_layers.get(AFTER))

    def head_bias(self) -> dict[str, float] | None:
        """Attribute -> b_eff; None where the head is not affine."""
        b = self.head.bias
        return None if b is None else dict(zip(self.readout.names, b.tolist(), strict=True))

    @cached_property
    def biased(self) -> int:
        """For how many images, the first of the run, the bias of every layer is told apart."""
        if self.bias_images is not None or not isinstance(self.classifier, Classifier):
            return self.bias_images or 0
        return 0 if self.head.bias is not None else _BIASED

    def training_rates(self) -> dict[str, float]:
        """Attribute -> share of the training images that have it, as told by `rates` or else by the network's file."""
        told = self.rates if self.rates is not None else _metadata(self.classifier).get("training_rates", {})
        return {n: float(told[n]) for n in self.readout.names if told.get(n) is not None}

    def explainer(self, method: str) -> Explainer:
        """A method bound to the classifier.

        Raises:
            MethodError: It does not fit the classifier, or has no such setting.
        """
        record = registry.find(method)
        settings = dict(self.settings.get(method, {}))
        for quiet in {"progress", "account"} & set(record.settings):  # LRP's books are not kept for each of many maps
            settings.setdefault(quiet, False)
        if record.runner == "cam" and not self.named_layers:
            raise MethodError(f"{method} needs the inside of a model, which a BlackBox does not show")
        return Explainer(method, self.classifier, seed=self.seed, **settings)

    def described(self) -> dict[str, Any]:
        """What decides about the numbers; compared when a run goes on."""
        found: dict[str, Any] = {
            "model": {**self.classifier.describe(), "size": list(self.classifier.size)},
            "attributes": self.readout.described(),
            "regions": self.source.regions,
            "regions_of": {name: self.source.region(name) for name in self.readout.names},
            "preparation": self.preparation.described() if not isinstance(self.records, Faces) else "rendered faces",
            "methods": {m: {k: _plain(v) for k, v in self.settings.get(m, {}).items()} for m in self.methods},
            "layers": self.named_layers,
            "groups": list(self.groups),
            "bias_images": self.biased,
            "seed": self.seed,
            "versions": versions(),
        }
        if self.edits:
            from sightline.studies.auditing import edits

            found["edits"] = edits.described(self.edits)
        return found

    def manifest(self) -> dict[str, Any]:
        """All of it, as the run's folder has it."""
        settings = self.described()
        return {
            "study": "audit",
            "settings": settings,
            "name": self.name,
            "attributes": list(self.readout.names),
            "labels": list(self.classifier.labels),
            "min_group": self.min_group,
            "reference": self.reference,
            "head": {"affine": self.head.bias is not None, "why": self.head.why, "bias": self.head_bias()},
            "training_rates": self.training_rates(),
            "data": {"images": len(self.source.keys), "root": self.root},
            "protocol": self.protocol(),
            "versions": settings["versions"],
            "seed": self.seed,
        }

    def protocol(self) -> dict[str, Any]:
        """Switches that move the figures, to be printed under the tables."""
        height, width = self.classifier.size
        return {
            "decision": "yes where z >= 0; z is the logit, or the difference of two",
            "explained": "the decision that the classifier made, |z|",
            "methods": ", ".join(self.methods),
            "layers": "; ".join(f"{label} = {layer}" for label, layer in self.named_layers.items()) or "none",
            "regions": self.source.regions,
            "energy": "positive part, min-max scaled at the map's resolution, bilinear to the input; empty maps 0",
            "input": f"{height}x{width}, {self.described()['preparation']}",
            "intervals": "95 %; Wilson for rates, bootstrap over images for means",
            "images": len(self.source.keys),
            "seed": self.seed,
        }


def _before(classifier: Classifier, layer: str) -> str | None:
    """The input of the rectifier that made a layer's output; None where no module of that kind made it."""
    twin = classifier.twin()
    for info in classifier.layers():
        if layer in (info.name, *info.aliases) and info.module in _RECTIFIERS:
            for name in (*info.aliases, info.name):
                if type(twin.get_submodule(name)).__name__ in _RECTIFIERS:
                    return f"{name}@input"
    return None


def told_preparation(classifier: Classifier | BlackBox) -> Preparation:
    """How a network that was trained here got its images; else the centre is cropped."""
    about = _metadata(classifier)
    return preparation_of(about) if "preparation" in about else Preparation(fit="crop")


def _metadata(classifier: Classifier | BlackBox) -> Mapping[str, Any]:
    """What the file of a network that was trained here says of it."""
    found = getattr(getattr(classifier, "source", None), "metadata", None)
    return found if isinstance(found, Mapping) else {}


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | list | None) else str(value)
