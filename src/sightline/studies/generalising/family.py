"""A family of models: members that differ in named factors, such as pretraining, task and seed."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from sightline.classifier import Classifier
from sightline.data import faces
from sightline.data.alignment import Preparation
from sightline.data.regions import Regions
from sightline.errors import InputError
from sightline.explainers.masking._options import Options
from sightline.studies.benchmarking.reading import MODEL, check_keys, data_of, read_model
from sightline.target import AnyTarget, parse
from sightline.target.rows import Each

ABSENT = "-"
_MEMBER = (*MODEL, "target", "truth", "factors", "layer", "settings")
_STUDY = ("methods", "levels", "fills", "modes", "controls", "validity", "parts", "smooth", "grid", "batch", "seed")
_OTHERS = ("name", "out", "fit", "regions", "limit", "precision", "backend", "models", "data")
_FACES = ("count", "seed", "size", "rates")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model of a family.

    Attributes:
        name: Letters, digits and . _ + - only.
        classifier: What is explained and asked.
        factors: Factor -> value, such as {"pretraining": "imagenet", "task": "Male", "seed": "0"}.
        target: Which decision: of a categorical classifier its own decision on the unaltered image (None), a category,
            or a contrast of two; of yes-or-no outputs an attribute, whose answer on the unaltered image is explained.
        truth: The attribute of the data that says what is right: 1 for yes (and for the first of a contrast), or the
            number of the category. By default the class label for categories, and for an
            attribute the data's attribute of the same name; where nothing is known, accuracy is not defined, while
            agreement and score are.
        layer: For methods that look at a layer; by default the method's own.
        settings: Of the methods, for this member alone.
    """

    name: str
    classifier: Classifier
    factors: Mapping[str, str] = field(default_factory=dict)
    target: AnyTarget = None
    truth: str | None = None
    layer: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]+", self.name):
            raise InputError(f"the name of a model may have letters, digits and . _ + - only, not {self.name!r}")
        if not isinstance(self.classifier, Classifier):
            raise InputError(
                f"{self.name}: relevance needs the inside of a model, so give a sl.Classifier, not "
                f"{type(self.classifier).__name__}"
            )
        if isinstance(self.target, list | tuple | Each):
            raise InputError(
                f"{self.name}: a member explains one decision of each image; give one target (another decision of the "
                "same model is another member), not several"
            )
        object.__setattr__(self, "factors", {str(k): str(v) for k, v in self.factors.items()})


@dataclass(frozen=True, kw_only=True)
class Family(Sequence[Member]):
    """Members that differ in factors; a factor that a member does not name has the value "-".

    Attributes:
        name: What it is called.
        members: In the order in which tables show them; it decides about nothing else.

    Raises:
        InputError: Fewer than two members, or two of one name.
    """

    members: Sequence[Member]
    name: str = "family"

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if len(names) < 2:
            raise InputError(f"a family has two models or more, and {self.name!r} has {len(names)}; add a member")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"two models of the family are called {twice[0]!r}; give one of them another name")
        every = dict.fromkeys(factor for member in self.members for factor in member.factors)
        filled = [replace(m, factors={f: m.factors.get(f, ABSENT) for f in every}) for m in self.members]
        object.__setattr__(self, "members", tuple(filled))

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, in the order of first use."""
        return tuple(self.members[0].factors)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members."""
        return tuple(member.name for member in self.members)

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Member]: ...
    def __getitem__(self, index: int | slice) -> Member | Sequence[Member]:
        return self.members[index]

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)


def read_family(path: str | os.PathLike[str]) -> Family:
    """The models of a TOML file; see `read_study` for what else stands there.

        name = "faces"
        [models.imagenet-male-0]
        model = "python:nets.py:squeezenet:0"    # and weights, labels, decision, mean, std, size, device, precision
        target = "Male"                          # as in the shell: a label, category:NAME, contrast:A:B
        truth = "Male"
        factors = { pretraining = "imagenet", task = "Male", seed = "0" }

    Files are looked for from the current folder, as in the shell.

    Raises:
        InputError: The file cannot be read, or has a key that no family has; the text names it.
        ModelError: A model that cannot be loaded.
    """
    return _family(_read(path), path)


def read_study(path: str | os.PathLike[str], *, limit: int | None = None) -> tuple[dict[str, Any], str | None]:
    """Arguments of `plan_of` and the run's folder from a TOML file with a family, data and settings.

        name = "faces"
        out = "runs/faces"
        methods = [{ name = "lrp", composite = "epsilon-plus" }, { name = "lrp", composite = "epsilon" }]
        levels = [1, 2, 5, 10, 20, 30, 50, 75]      # percent
        fills = ["dataset-mean", "blur"]
        modes = ["keep", "remove"]
        fit = "align"                               # crop, squash, pad or align
        regions = "face-grid"                       # grid, face-grid, landmarks or a file of regions
        [models.NAME]                               # see `read_family`
        [data]                                      # as in a benchmark's plan; or rendered faces:
        format = "faces"                            # with count, seed, size, rates
        count = 200

    Of `limit` here and in the file the smaller one counts.

    Raises:
        InputError, ModelError: As `read_family`.
    """
    given = _read(path)
    if limit is None or (isinstance(own := given.get("limit", limit), int) and own < limit):
        limit = given.get("limit")
    records, root = _records(given, path, limit)
    arguments = {k: given[k] for k in _STUDY if k in given}
    preparation = Preparation(fit=given["fit"]) if "fit" in given else None
    options = Options(precision=given.get("precision"), backend=given.get("backend", "auto"), progress=False)
    return {
        "family": _family(given, path),
        "records": records,
        "root": root,
        "preparation": preparation,
        "regions": _regions(given.get("regions"), path),
        "options": options,
        **arguments,
    }, given.get("out")


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            given = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as reason:
        raise InputError(f"{path}: the family cannot be read ({reason})") from reason
    check_keys(given, (*_STUDY, *_OTHERS), str(path))
    return given


def _family(given: Mapping[str, Any], path: str | os.PathLike[str]) -> Family:
    named = given.get("models", {})
    if not isinstance(named, Mapping) or not all(isinstance(v, Mapping) for v in named.values()) or not named:
        raise InputError(f"{path}: name at least two models: [models.NAME] with model = ... and factors = {{...}}")
    members = [_member(name, values, f"{path}: models.{name}") for name, values in named.items()]
    return Family(name=str(given.get("name", Path(path).stem)), members=members)


def _member(name: str, values: Mapping[str, Any], where: str) -> Member:
    check_keys(values, _MEMBER, where)
    factors, target, settings = (values.get(k, e) for k, e in (("factors", {}), ("target", None), ("settings", {})))
    if not isinstance(factors, Mapping) or not isinstance(settings, Mapping):
        raise InputError(f'{where}: factors and settings are tables, such as factors = {{ seed = "0" }}')
    if target is not None and not isinstance(target, str):
        raise InputError(f"{where}: target is one text, such as 'Male' or 'category:tench', not {target!r}")
    classifier = read_model({k: v for k, v in values.items() if k in MODEL}, where)
    if not isinstance(classifier, Classifier):
        raise InputError(f"{where}: relevance needs the inside of a model, which a black box does not show")
    return Member(
        name=name,
        classifier=classifier,
        factors=factors,
        target=None if target is None else parse(target),
        truth=values.get("truth"),
        layer=values.get("layer"),
        settings=settings,
    )


def _records(given: Mapping[str, Any], path: str | os.PathLike[str], limit: int | None) -> tuple[Any, str | None]:
    data = given.get("data", {})
    if data.get("format") != "faces":
        return data_of(given, path, limit)
    check_keys(data, ("format", "limit", *_FACES), f"{path}: data")
    count = data.get("count")
    if not isinstance(count, int) or count < 1:
        raise InputError(f"{path}: data of format faces takes count, a number of faces, not {count!r}")
    drawn = faces.sample(count, **{k: v for k, v in data.items() if k in _FACES[1:]})
    most = min(n for n in (count, limit, data.get("limit")) if n is not None)
    return drawn[:most], None


def _regions(given: Any, path: str | os.PathLike[str]) -> Regions | None:
    made = {
        "grid": lambda: Regions.grid(),
        "face-grid": lambda: Regions.grid(frame="face"),
        "landmarks": lambda: Regions.landmarks(frame="face"),
    }
    if given is None:
        return None
    if given in made:
        return made[given]()
    if str(given).endswith(".toml"):
        return Regions.read(str(given))
    raise InputError(f"{path}: regions must be {', '.join(made)} or a .toml file, not {given!r}")
