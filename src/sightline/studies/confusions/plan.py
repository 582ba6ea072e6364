"""What a study of confusions asks: a classifier, labelled images, one method, and the limits of the kinds."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.classifier import BlackBox, Classifier
from sightline.data import annotations
from sightline.data.annotations.record import Record
from sightline.data.fitting import How
from sightline.errors import InputError
from sightline.explainers import Explainer
from sightline.explainers.masking._options import Options
from sightline.layers import default_layer
from sightline.metrics.faithfulness._curves import Fill
from sightline.studies.confusions.classes import Likeness, likeness
from sightline.versions import versions

MASKED = 10
"""Passes of an error, at most: keep and cut of two maps, object and rest, drop of two maps, and some room."""

_UNRECORDED = ("progress", "checkpoint")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits that tell the kinds of confusion apart; conventions, checked on constructed truths (see the docs).

    Attributes:
        coincide: Overlap of the two maps' hottest shares from which on they coincide; by chance it is `keep`.
        beyond: By how much it must exceed the overlap with the map of an unrelated class.
        part: Overlap up to which the maps part.
        cosine: Cosine of the two classes in the head (see `likeness`) from which on they are near-identical.
        deviations: The same in standard deviations of the cosines of all pairs, for heads of many classes, where no
            cosine is large.
        both_ways: Share of the two classes' images that are confused with one another, both ways, from which on they
            are near-identical too.
        lift: Energy of the predicted map on the true object, as a multiple of a uniform map's, up to which the map
            lies on the context.
    """

    coincide: float = 0.6
    beyond: float = 0.1
    part: float = 0.35
    cosine: float = 0.5
    deviations: float = 4.0
    both_ways: float = 0.2
    lift: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int | float) or not math.isfinite(value) or not -1 <= value <= 10:
                raise InputError(f"the threshold {name} must be a number, not {value!r}")
        if self.part >= self.coincide:
            raise InputError(f"part ({self.part}) must be below coincide ({self.coincide}): maps cannot do both")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study of confusions; see `sightline.studies.confusions.confusion` for what the fields mean."""

    classifier: Classifier | BlackBox
    records: Sequence[Record]
    method: str = "grad-cam"
    settings: Mapping[str, Any] = field(default_factory=dict)
    layer: Any = None
    name: str = "model"
    keep: float = 0.15
    mask: float = 0.35
    fill: Fill = "mean"
    thresholds: Thresholds = field(default_factory=Thresholds)
    seed: int = 0
    batch: int = 32
    fit: How = "crop"
    options: Options = field(default_factory=Options)
    pictures: int = 120
    root: str | None = None

    def __post_init__(self) -> None:
        if not len(self.records):
            raise InputError("there are no images")
        for name, value in (("keep", self.keep), ("mask", self.mask)):
            if not 0 < value < 1:
                raise InputError(f"{name} is a share of the hottest pixels, between 0 and 1, not {value!r}")
        if self.fill not in ("black", "blur", "mean", "noise"):
            raise InputError(f"fill must be 'black', 'blur', 'mean' or 'noise', not {self.fill!r}")
        if self.batch < 1:
            raise InputError(f"batch is a number of images, 1 or more, not {self.batch!r}")
        if self.fit not in ("crop", "squash", "pad"):
            raise InputError(f"fit must be 'crop', 'squash' or 'pad', not {self.fit!r}")
        decision, width = self.classifier.decision, self.classifier.width
        if decision != "categorical":
            raise InputError(
                f"a confusion is of one category with another; this classifier is {decision}. For yes-or-no outputs "
                "explain both answers: target both:NAME of `sightline explain`"
            )
        classes = getattr(self.records, "classes", ())
        if classes and len(classes) != width:
            raise InputError(
                f"the records know {len(classes)} classes and the classifier has {width} outputs, so their indices may "
                "differ; read the records with classes= in the order of the outputs"
            )
        self.explainer()  # what does not fit is told before any work

    @cached_property
    def alike(self) -> Likeness | None:
        """How alike the classes are in the head."""
        return likeness(self.classifier)

    @property
    def expected(self) -> int:
        """Masked images that will be asked if a fifth of the images are misclassified: many are worth a graph.

        It depends on the plan alone, so a run that goes on asks as the one before did.
        """
        return MASKED * len(self.records) // 5

    def explainer(self) -> Explainer:
        """The method bound to the classifier.

        Raises:
            MethodError: It does not fit the classifier, or has no such setting.
        """
        settings = dict(self.settings)
        if "progress" in registry.find(self.method).settings:
            settings["progress"] = False
        return Explainer(self.method, self.classifier, layer=self.layer, seed=self.seed, **settings)

    def described(self) -> dict[str, Any]:
        """What decides about the measured numbers; compared when a run goes on. The thresholds do not."""
        known = {**registry.find(self.method).settings, **self.settings}
        return {
            "model": {**self.classifier.describe(), "size": list(self.classifier.size)},
            "method": self.method,
            "method_settings": {k: _plain(v) for k, v in known.items() if k not in _UNRECORDED},
            "layer": self.layer if isinstance(self.layer, str | None) else list(self.layer),
            "keep": self.keep,
            "mask": self.mask,
            "fill": self.fill,
            "seed": self.seed,
            "fit": self.fit,
            "precision": self.options.precision,
            "backend": self.options.backend,
            "versions": versions(),
        }

    def manifest(self) -> dict[str, Any]:
        """All of it, as the run's folder has it."""
        settings = self.described()
        return {
            "study": "confusion",
            "settings": settings,
            "thresholds": asdict(self.thresholds),
            "name": self.name,
            "labels": list(self.classifier.labels),
            "data": {"images": len(self.records), "root": self.root},
            "protocol": self.protocol(),
            "versions": settings["versions"],
            "seed": self.seed,
        }

    def protocol(self) -> dict[str, Any]:
        """Switches that move the figures, to be printed under the tables."""
        layer = self.layer
        if layer is None and isinstance(self.classifier, Classifier):
            layer = default_layer(self.classifier, self.classifier.size)
        return {
            "explained": "predicted and true class of every image where they differ, in one explanation",
            "method": self.method,
            "layer": layer if isinstance(layer, str) else " + ".join(layer or ("none",)),
            "overlap": f"share of the hottest {self.keep:.0%} of pixels that two maps have in common",
            "IoU": "of the pixels at half of the maximum or more",
            "correlations": "raw maps at the method's resolution",
            "drop and increase": "pixels times the soft map, the map's own class",
            "masking": f"hottest {self.mask:.0%} of pixels kept, or taken out; the rest becomes {_FILLS[self.fill]}",
            "control": "the map of a class drawn from the half of the others that is least like both in the head",
            "input": f"{self.fit} to {'x'.join(map(str, self.classifier.size))}",
            "images": len(self.records),
            "precision": self.options.precision or "the model's own",
            "seed": self.seed,
        }


_FILLS = {"mean": "the image's mean colour", "black": "black", "blur": "the image under a blur", "noise": "noise"}


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | list | None) else str(value)


def records_of(images: Any, classifier: Classifier | BlackBox) -> tuple[Sequence[Record], str | None]:
    """Labelled records, and the folder that their paths are told from.

    A folder has a folder for each class. These are named like the classifier's labels (some may be missing), or there
    are as many as outputs and they stand in alphabetical order.

    Raises:
        InputError: A folder that is no class, or nothing with a label.
    """
    if not isinstance(images, str | Path):
        found = list(images) if not isinstance(images, Sequence) else images
        if not len(found) or not isinstance(found[0], Record):
            raise InputError(
                "give labelled images: records of sightline.data.annotations, or a folder of class folders"
            )
        return found, _common_folder(found)
    root = Path(images).expanduser()
    read = annotations.folders(root)
    indices = {_spelt(label): i for i, label in enumerate(classifier.labels)}
    strange = [name for name in read.classes if _spelt(name) not in indices]
    if not strange:
        own = {name: indices[_spelt(name)] for name in read.classes}
        return [
            Record(path=r.path, label=own[str(r.name)], name=classifier.labels[own[str(r.name)]]) for r in read
        ], str(root)
    if len(read.classes) == classifier.width:
        return read, str(root)
    raise InputError(
        f"{root / strange[0]}: no output of the classifier is called {strange[0]!r}; name the folders like the labels "
        f"({', '.join(classifier.labels[:3])}, ...), or give labels="
    )


def _common_folder(records: Sequence[Record]) -> str | None:
    """The folder that all files lie in."""
    paths = [
        str(records.path(i) if isinstance(records, annotations.Records) else records[i].path.resolve().parent)
        for i in range(len(records))
    ]
    try:
        return os.path.commonpath(paths)
    except ValueError:  # of several drives
        return None


def _spelt(name: str) -> str:
    return name.casefold().replace("_", " ").strip()
