"""What a benchmark asks: models, images, methods, metrics, and the switches that decide about the numbers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sightline import registry
from sightline.classifier import BlackBox, Classifier
from sightline.data.annotations.record import Record
from sightline.data.fitting import How
from sightline.errors import InputError, MethodError
from sightline.explainers import Explainer
from sightline.explainers.masking._options import Options
from sightline.layers import default_layer
from sightline.metrics.evaluation import asked, label
from sightline.metrics.metric import Metric
from sightline.studies.benchmarking import weights
from sightline.target import AnyTarget
from sightline.versions import versions

OTHER_IMAGE = "other-image"
CONTROLS = ("uniform", "random", "centre", "edges", "fake-cam", OTHER_IMAGE)
"""Maps that know nothing of the decision: five of the registry, and the first method's map of another image."""

METRICS = ("average-drop", "increase-in-confidence", "average-gain", "insertion", "deletion")
_UNRECORDED = ("progress", "checkpoint")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method with its settings, as a line of the table.

    Attributes:
        name: In the registry, or `other-image`.
        label: In the table; by default the name with the settings that differ from the defaults.
        settings: Of the method; `weights` may be a mapping, for each model its own.
        layer: A layer, several, or for each model its own; the default one unless given.
        control: Whether it is there to be beaten.
    """

    name: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    layer: Any = None
    control: bool = False

    def explainer(self, model: str, classifier: Classifier | BlackBox, seed: int) -> Explainer:
        """The method bound to a model.

        Raises:
            MethodError: It does not fit the model, or has no such setting.
        """
        layer = self.layer.get(model) if isinstance(self.layer, Mapping) else self.layer
        settings = dict(self.settings)
        if "weights" in settings:
            settings["weights"] = weights.of_model(settings["weights"], model, self.label)
        if "progress" in registry.find(self.name).settings:
            settings["progress"] = False
        return Explainer(self.name, classifier, layer=layer, seed=seed, **settings)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A metric with its settings, as a column of the table."""

    record: Metric
    label: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A benchmark; see `sightline.studies.benchmarking.benchmark` for what the fields mean."""

    models: Mapping[str, Classifier | BlackBox]
    records: Sequence[Record]
    methods: tuple[Contender, ...]
    judges: tuple[Judge, ...]
    target: AnyTarget = None
    seeds: tuple[int, ...] = (0,)
    batch: int = 8
    fit: How = "crop"
    options: Options = field(default_factory=Options)
    pictures: int = 24
    root: str | None = None

    def __post_init__(self) -> None:
        if not self.models or not len(self.records) or not self.seeds or not self.judges:
            raise InputError("a benchmark needs at least one model, one image, one method, one metric and one seed")
        for what, names in (
            ("model", list(self.models)),
            ("method", [m.label for m in self.methods]),
            ("metric", [j.label for j in self.judges]),
            ("seed", [str(s) for s in self.seeds]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise InputError(f"the {what} {twice[0]!r} is asked twice; give one of them another label")
        strange = next((name for name in self.models if not re.fullmatch(r"[\w.+-]+", name)), None)
        if strange is not None:
            raise InputError(f"the name of a model may have letters, digits and . _ + - only, not {strange!r}")
        if isinstance(self.target, list | tuple):
            raise InputError("a benchmark asks every image the same: one target or each([...]), not a list of one each")
        if self.batch < 2:
            raise InputError("batch must be 2 or more: the control other-image needs another image beside each")
        if self.fit not in ("crop", "squash", "pad"):
            raise InputError(f"fit must be 'crop', 'squash' or 'pad', not {self.fit!r}")

    def expected(self, model: str) -> int:
        """Altered images that all metrics will ask of a model, one target an image: a graph is made if they are many.

        It depends on the plan alone, so a run that goes on asks as the one before did.
        """
        each = sum(j.record.forwards(j.settings, self.models[model].size) for j in self.judges)
        return each * len(self.methods) * len(self.records)

    @property
    def donor(self) -> Contender | None:
        """The method whose maps of other images are a control."""
        return next((m for m in self.methods if not m.control), None)

    def settings(self) -> dict[str, Any]:
        """What decides about the numbers; compared when a run goes on."""
        return {
            "models": {name: _described(classifier) for name, classifier in self.models.items()},
            "methods": {m.label: settled(m) for m in self.methods},
            **weights.files({m.label: m.settings.get("weights") for m in self.methods}),
            "metrics": {j.label: {"name": j.record.name, "settings": _plain(j.settings)} for j in self.judges},
            "target": "predicted" if self.target is None else str(self.target),
            "seeds": list(self.seeds),
            "batch": self.batch,
            "fit": self.fit,
            "precision": self.options.precision,
            "backend": self.options.backend,
            "versions": versions("numba", "openvino"),
        }

    def protocol(self) -> dict[str, Any]:
        """Switches that move the figures, one value each, to be printed under the table."""
        spaces = sorted({str(j.settings["space"]) for j in self.judges if "space" in j.settings})
        sizes = {name: "x".join(map(str, c.size)) for name, c in self.models.items()}
        return {
            "class": "predicted, resolved once on the unaltered image" if self.target is None else str(self.target),
            "score": "probability of the target (softmax, or sigmoid in its direction)",
            "mask space": ", ".join(spaces) or "none",
            "layer": {name: _default(c) for name, c in self.models.items()},
            "maps": "energy, min-max at the method's resolution, then bilinear to the input; ties in a random order "
            "that belongs to the image",
            "empty and flat maps": "counted, not averaged in; flat ones of the control uniform are",
            "input": {name: f"{self.fit} to {size}" for name, size in sizes.items()},
            "images": len(self.records),
            "batch": self.batch,
            "precision": self.options.precision or "the model's own",
            "backend": self.options.backend,
            "seeds": ", ".join(map(str, self.seeds)),
        }

    def manifest(self) -> dict[str, Any]:
        """All of it, as the run's folder has it."""
        settings = self.settings()
        return {
            "study": "benchmark",
            "settings": settings,
            "plan": {
                k: v for k, v in settings.items() if k not in ("models", "methods", "metrics", "versions", "files")
            },
            "models": settings["models"],
            "methods": [
                {"name": m.name, "label": m.label, "control": m.control, **settled(m), "forwards": _forwards(m)}
                for m in self.methods
            ],
            "metrics": [_of_metric(j) for j in self.judges],
            "data": {"images": len(self.records), "root": self.root},
            "protocol": self.protocol(),
            "versions": settings["versions"],
            "seed": self.seeds[0],
        }


def contender(spec: Any, *, control: bool = False) -> Contender:
    """A method from its name, a pair (name, settings), or a mapping with `name`, `layer`, `label` and settings.

    Raises:
        MethodError: Unknown method or setting.
    """
    if isinstance(spec, Contender):
        return spec
    given = _mapping(spec, "method")
    name, layer, shown = given.pop("name"), given.pop("layer", None), given.pop("label", None)
    if name == OTHER_IMAGE:
        return Contender(name=name, label=shown or name, control=True)
    record = registry.find(name)
    registry.check_settings(record, given)
    given = {k: dict(v) if isinstance(v, Mapping) else v for k, v in given.items()}
    changed = {
        k: v for k, v in given.items() if not isinstance(v, dict) and v != record.settings[k] and k not in _UNRECORDED
    }
    shown = shown or name + (f" ({_text(changed)})" if changed else "") + (f" @ {_text_of(layer)}" if layer else "")
    return Contender(
        name=name, label=str(shown), settings=given, layer=layer, control=control or record.family == "control"
    )


def judge_of(spec: Any) -> Judge:
    """A metric from its name, a pair (name, settings), or a mapping with `name`, `label` and settings.

    Raises:
        MetricError: Unknown metric or setting.
    """
    if isinstance(spec, Judge):
        return spec
    given = _mapping(spec, "metric")
    name, shown = given.pop("name"), given.pop("label", None)
    ((record, settings),) = asked([(name, given)])
    changed = label(record, settings)
    return Judge(record=record, label=str(shown or name + (f" ({changed})" if changed else "")), settings=settings)


def _mapping(spec: Any, what: str) -> dict[str, Any]:
    if isinstance(spec, str):
        return {"name": spec}
    if isinstance(spec, Mapping) and "name" in spec:
        return dict(spec)
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[1], Mapping):
        return {"name": spec[0], **spec[1]}
    raise InputError(f"a {what} is a name, (name, settings), or a mapping with a name, not {spec!r}")


def check(plan: Plan) -> None:
    """Bind every method to every model once, so that what cannot work is told before any work.

    Raises:
        MethodError: A method or setting that does not fit; a layer given for a model that is not there.
    """
    for m in plan.methods:
        if isinstance(m.layer, Mapping) and (unknown := sorted(set(m.layer) - set(plan.models))):
            raise MethodError(f"{m.label} names a layer of {unknown[0]!r}; the models are {', '.join(plan.models)}")
        weights.check_models(m.settings.get("weights"), plan.models, m.label)
        for name, classifier in plan.models.items():
            if m.name != OTHER_IMAGE:
                m.explainer(name, classifier, plan.seeds[0])
    if any(m.name == OTHER_IMAGE for m in plan.methods) and plan.donor is None:
        raise MethodError(f"{OTHER_IMAGE} shows a method's map of another image, and there is no method; name one")


def _described(classifier: Classifier | BlackBox) -> dict[str, Any]:
    return {**classifier.describe(), "size": list(classifier.size)}


def _default(classifier: Classifier | BlackBox) -> str:
    if isinstance(classifier, BlackBox):
        return "none: a black box"
    return default_layer(classifier, classifier.size)


def settled(m: Contender) -> dict[str, Any]:
    """A method with all its settings, defaults too, as manifests have it."""
    defaults = {} if m.name == OTHER_IMAGE else dict(registry.find(m.name).settings)
    return {"name": m.name, "settings": _plain({**defaults, **m.settings}), "layer": _text_of(m.layer)}


def _forwards(m: Contender) -> int | str:
    """Forward passes an image, where no setting of a masking method changed their number."""
    if m.name == OTHER_IMAGE:
        return 0
    record = registry.find(m.name)
    return "by its settings" if record.family == "masking" and m.settings else record.forwards


def _of_metric(j: Judge) -> dict[str, Any]:
    record = j.record
    ends = [float(v) if abs(v) != float("inf") else None for v in record.range]
    return {
        "name": record.name,
        "label": j.label,
        "settings": _plain(j.settings),
        "direction": record.better(j.settings),
        "range": ends,
        "family": record.family,
        "summary": record.summary,
    }


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in settings.items() if k not in _UNRECORDED}
    return {k: v if isinstance(v, int | float | str | list | None) else str(v) for k, v in kept.items()}


def _text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v if isinstance(v, str) else json.dumps(v, default=str)}" for k, v in settings.items())


def _text_of(layer: Any) -> Any:
    return layer if isinstance(layer, str | None) else json.dumps(layer)
