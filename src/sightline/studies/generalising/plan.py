"""What the study asks: a family, images, methods, levels, fills, controls, and the switches that decide about it."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from sightline import registry
from sightline.classifier import Classifier
from sightline.data.alignment import Preparation
from sightline.errors import InputError, MethodError
from sightline.explainers import Explainer
from sightline.explainers.masking._options import Options
from sightline.studies.auditing.plan import told_preparation
from sightline.studies.benchmarking import weights
from sightline.studies.benchmarking.plan import Contender, contender, settled
from sightline.studies.generalising import targets
from sightline.studies.generalising.family import Family, Member
from sightline.studies.generalising.maps import OWN, VARIANTS
from sightline.studies.generalising.masks import CONTROLS
from sightline.studies.generalising.source import Given, Size, Source, source_of
from sightline.versions import versions

if TYPE_CHECKING:
    from sightline.data.regions import Regions

METHODS = (("lrp", {"composite": "epsilon-plus"}),)
LEVELS = (1, 2, 5, 10, 20, 30, 50, 75)
FILLS = ("dataset-mean", "image-mean", "grey", "blur", "black")
MODES = ("keep", "remove")
_ALSO = {"mean": "dataset-mean"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A generalisation study; see `sightline.studies.generalising.generalise` for what the fields mean."""

    family: Family
    records: Given
    methods: tuple[Contender, ...]
    levels: tuple[float, ...] = LEVELS
    fills: tuple[str, ...] = FILLS[:1]
    modes: tuple[str, ...] = MODES[:1]
    controls: tuple[str, ...] = CONTROLS
    preparation: Preparation = field(default_factory=lambda: Preparation(fit="crop"))
    regions: "Regions | None" = None
    validity: int = 32
    parts: bool = True
    smooth: float = 0.0
    grid: int = 48
    batch: int = 16
    seed: int = 0
    options: Options = field(default_factory=Options)
    root: str | None = None

    def __post_init__(self) -> None:
        _check_levels(self.levels)
        _known("fills", self.fills, FILLS)
        _known("modes", self.modes, MODES)
        _known("controls", self.controls, CONTROLS, none="a table without controls proves nothing")
        _known("methods", self.labels, self.labels)
        for name, least in (("batch", 1), ("grid", 2), ("validity", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"{name} must be a whole number, {least} or more, not {value!r}")
        if not 0 <= self.smooth < 0.5:
            raise InputError(f"smooth is a share of the map's width, from 0 to below 0.5, not {self.smooth!r}")
        clash = [name for name in self.family.names if name in CONTROLS]
        if clash:
            raise InputError(f"a model cannot be called {clash[0]!r}, as a control is; give it another name")
        for member in self.family:
            targets.check(member)
            for method in self.methods:
                self.explainer(member, method)
        self._check_truths()

    def _check_truths(self) -> None:
        known = self.source.known
        for member in self.family:
            if member.truth is not None and member.truth not in known:
                there = ", ".join(known[:8]) or "none"
                raise InputError(
                    f"{member.name}: the data does not know the attribute {member.truth!r} that truth= names; it knows "
                    f"{there}; leave truth away where nothing says what is right"
                )

    @cached_property
    def source(self) -> Source:
        """The images."""
        return source_of(self.records, self.sizes, self.preparation, self.regions, self.root)

    @cached_property
    def sizes(self) -> tuple[Size, ...]:
        """Sizes of the members' inputs, the largest first."""
        return tuple(sorted({member.classifier.size for member in self.family}, reverse=True))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the methods in the tables."""
        return tuple(method.label for method in self.methods)

    @property
    def sources(self) -> tuple[str, ...]:
        """Whose relevance masks: members, then controls."""
        return (*self.family.names, *self.controls)

    @property
    def variants(self) -> tuple[str, ...]:
        """Which maps of a member are kept."""
        return tuple(v for v in VARIANTS if v == OWN or v in self.controls)

    @property
    def passes(self) -> int:
        """Masked forward passes for one image, target and method."""
        return len(self.sources) * len(self.fills) * len(self.modes) * len(self.levels)

    def explainer(self, member: Member, method: Contender, classifier: Classifier | None = None) -> Explainer:
        """A method bound to a member, or to another classifier in its place.

        Raises:
            MethodError: It does not fit the member, or has no such setting.
        """
        layer = member.layer if member.layer is not None else method.layer
        layer = layer.get(member.name) if isinstance(layer, Mapping) else layer
        given = {**method.settings, **member.settings}
        if "weights" in given:
            given["weights"] = weights.of_model(given["weights"], member.name, method.label)
        for quiet in {"progress", "account"} & set(registry.find(method.name).settings):
            given.setdefault(quiet, False)
        try:
            return Explainer(method.name, classifier or member.classifier, layer=layer, seed=self.seed, **given)
        except MethodError as reason:
            raise MethodError(f"{member.name}: {reason}") from reason

    def settings(self) -> dict[str, Any]:
        """What decides about the numbers; compared when a run goes on."""
        source = self.source
        content = "\0".join(f"{key}\0{stamp}" for key, stamp in zip(source.keys, source.stamps, strict=True))
        digest = hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:16]
        return {
            "models": {m.name: self._described(m) for m in self.family},
            "methods": {m.label: settled(m) for m in self.methods},
            "levels": list(self.levels),
            "fills": list(self.fills),
            "modes": list(self.modes),
            "controls": list(self.controls),
            "images": {"count": len(source.keys), "content": digest, **source.described},
            "validity": self.validity,
            "parts": self.parts,
            "smooth": self.smooth,
            "grid": self.grid,
            "batch": self.batch,
            "seed": self.seed,
            "precision": self.options.precision,
            "backend": self.options.backend,
            "versions": versions("openvino"),
        }

    def _described(self, member: Member) -> dict[str, Any]:
        return {
            **member.classifier.describe(),
            "size": list(member.classifier.size),
            "target": "the decision made" if member.target is None else str(member.target),
            "truth": targets.truth_name(member, self.source.known) or _class_label(member),
            "layer": member.layer if isinstance(member.layer, str | None) else str(member.layer),
            "settings": {k: v if isinstance(v, int | float | str) else str(v) for k, v in member.settings.items()},
        }


def plan_of(
    family: Family | Sequence[Member],
    records: Given,
    *,
    methods: Sequence[Any] = METHODS,
    levels: Sequence[float] = LEVELS,
    fills: Sequence[str] = FILLS[:1],
    modes: Sequence[str] = MODES[:1],
    controls: Sequence[str] = CONTROLS,
    preparation: Preparation | None = None,
    limit: int | None = None,
    options: Options | None = None,
    **others: Any,
) -> Plan:
    """A checked plan; settings as for `generalise`, and `root`, the folder from which rows name the images.

    Raises:
        InputError, TargetError, MethodError: What cannot be asked; the text names it.
    """
    family = family if isinstance(family, Family) else Family(members=tuple(family))
    for name, value in (("methods", methods), ("levels", levels), ("fills", fills), ("modes", modes)):
        if isinstance(value, str | int | float):
            raise InputError(f"{name} is a list, such as [{value!r}], not {value!r}")
    if limit is not None:
        if not isinstance(limit, int) or limit < 1:
            raise InputError(f"limit is a number of images, 1 or more, not {limit!r}")
        records = _limited(records, limit)
    return Plan(
        family=family,
        records=records,
        methods=tuple(contender(m) for m in methods),
        levels=tuple(levels),
        fills=tuple(_ALSO.get(fill, fill) for fill in fills),
        modes=tuple(modes),
        controls=tuple(controls),
        preparation=preparation or _told(family),
        options=options or Options(progress=False),
        **others,
    )


def _limited(records: Given, limit: int) -> Given:
    if isinstance(records, tuple) and len(records) == 2 and isinstance(records[0], torch.Tensor):
        pixels: Any = records[0]
        known: Any = records[1]
        if isinstance(known, Mapping):
            return pixels[:limit], {name: values[:limit] for name, values in known.items()}
        return pixels[:limit], None if known is None else known[:limit]
    some: Any = records
    chosen: Given = some[:limit]
    return chosen


def _told(family: Family) -> Preparation:
    """How the members' files say that images were prepared."""
    told = {member.name: told_preparation(member.classifier) for member in family}
    first, *rest = told.items()
    for name, other in rest:
        if other != first[1]:
            raise InputError(
                f"{first[0]} and {name} were trained on images that were prepared otherwise ({first[1].described()}; "
                f"{other.described()}); say by preparation= (fit in a file) how all of them get theirs"
            )
    return first[1]


def _check_levels(levels: Sequence[float]) -> None:
    numbers = all(isinstance(q, int | float) and not isinstance(q, bool) and 0 < q < 100 for q in levels)
    if not levels or not numbers or any(b <= a for a, b in itertools.pairwise(levels)) or len(levels) > 255:
        raise InputError(f"levels are percent between 0 and 100, rising, such as [1, 5, 20, 50], not {list(levels)!r}")


def _known(what: str, given: Sequence[str], known: Sequence[str], *, none: str = "name at least one") -> None:
    if not given:
        raise InputError(f"{what}: {none}; there are {', '.join(known)}")
    for name in given:
        if name not in known:
            raise InputError(f"{what}: there is no {name!r}; there are {', '.join(known)}")
        if list(given).count(name) > 1:
            raise InputError(f"{what}: {name!r} is named twice; give one of them another label, or leave it away")


def _class_label(member: Member) -> str | None:
    return "class label" if targets.question(member) == "category" else None
