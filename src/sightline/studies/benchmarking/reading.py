"""A plan from a TOML file."""

import inspect
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.classifier import BlackBox, Classifier
from sightline.data import annotations
from sightline.data.annotations import Record, Records
from sightline.data.images import find_images
from sightline.errors import InputError
from sightline.loading import load
from sightline.target import AnyTarget, parse, together

MODEL = ("model", "weights", "labels", "decision", "mean", "std", "size", "precision", "device")
SETTINGS = ("methods", "metrics", "controls", "seeds", "batch", "fit", "precision", "backend", "pictures")
FORMATS: dict[str, tuple[Callable[..., Sequence[Record]], tuple[str, ...]]] = {
    "folders": (annotations.folders, ("root", "classes")),
    "imagenet": (annotations.imagenet, ("images", "boxes", "classes", "first_pixel")),
    "coco": (annotations.coco, ("images", "instances", "classes", "crowds")),
    "celeba": (annotations.celeba, ("root", "part", "label", "images")),
    "manifest": (annotations.manifest, ("table", "root", "classes", "attributes")),
    "shards": (annotations.shards, ("files",)),
}

_PATHS = ("images", "root", "boxes", "instances", "table", "files")
_SPREAD = ("images", "folders", "imagenet")  # formats whose folders may be classes


def read_plan(path: str | os.PathLike[str], *, limit: int | None = None) -> tuple[dict[str, Any], str | None]:
    """Arguments of `plan_of` (and `protocol`, if there is one) and the run's folder from a plan.

        out = "runs/first"
        methods = ["grad-cam", { name = "rise", masks = 2000 }]
        metrics = ["average-drop", { name = "insertion", steps = 50 }]
        protocol = "lcam"               # a preset: it adds methods and metrics, and needs no target
        target = "predicted"            # or a list: ["attribute:Smiling:+1", "attribute:Smiling:-1"]
        [models.resnet50]
        model = "torchvision:resnet50"
        weights = "resnet50.pth"
        [data]
        images = ["photos/"]            # or format = "folders", "imagenet", "coco", "celeba", "manifest",
                                        # "shards" with their settings
        limit = 300                     # of folders: one of each in turn

    Files are looked for from the current folder, as in the shell; in paths of data and in weights `~` and variables of
    the environment (`$PHOTOS/val`) are filled in. The smaller one of `limit` and the plan's counts.

    Raises:
        InputError: The file cannot be read, or has a key that no plan has; the text names it.
        ModelError: A model that cannot be loaded.
    """
    try:
        with Path(path).open("rb") as file:
            given = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as reason:
        raise InputError(f"{path}: the plan cannot be read ({reason})") from reason
    check_keys(given, (*SETTINGS, "out", "target", "models", "data", "protocol"), str(path))
    named = given.get("models", {})
    if not isinstance(named, Mapping) or not all(isinstance(v, Mapping) for v in named.values()) or not named:
        raise InputError(f"{path}: name at least one model: [models.NAME] with model = ...")
    records, root = data_of(given, path, limit)
    models = {name: read_model(values, f"{path}: models.{name}") for name, values in named.items()}
    first = next(iter(models.values()))
    arguments = {k: v for k, v in given.items() if k in (*SETTINGS, "protocol")}
    return {
        "models": models,
        "images": records,
        "target": read_target(given.get("target"), first),
        "root": root,
        **arguments,
    }, given.get("out")


def data_of(
    given: Mapping[str, Any], path: str | os.PathLike[str], limit: int | None
) -> tuple[Sequence[Record], str | None]:
    """As `read_data`, from the table [data] of a plan; of `limit` and the plan's own the smaller one counts."""
    data = {k: expanded(v, f"{path}: data.{k}") if k in _PATHS else v for k, v in given.get("data", {}).items()}
    if isinstance(data.get("classes"), str):  # a file; a list has names
        data["classes"] = expanded(data["classes"], f"{path}: data.classes")
    if limit is not None and isinstance(own := data.get("limit", limit), int):
        data["limit"] = min(limit, own)
    return read_data(data, str(path))


def read_model(values: Mapping[str, Any], where: str) -> Classifier | BlackBox:
    """The model of a table [models.NAME]; `where` names it in errors."""
    check_keys(values, MODEL, where)
    if "model" not in values:
        raise InputError(f"{where} has no entry model, such as torchvision:resnet50")
    settings = dict(values)
    if "weights" in settings:
        settings["weights"] = expanded(settings["weights"], f"{where}.weights")
    size = settings.get("size")
    settings["size"] = tuple(size) if isinstance(size, list) else size
    return load(settings.pop("model"), **settings)


def read_data(values: Mapping[str, Any], where: str) -> tuple[Sequence[Record], str | None]:
    """Records and the folder that their paths are told from.

    Raises:
        InputError: An unknown format or key, or what the reader of the format says.
    """
    given = dict(values)
    limit, form = given.pop("limit", None), given.pop("format", "images")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"{where}: limit must be a number of images, 1 or more, not {limit!r}")
    records: Sequence[Record]
    if form == "images":
        check_keys(given, ("images",), f"{where}: data")
        found = given.get("images") or []
        single = found if isinstance(found, str) else found[0] if len(found) == 1 else None
        records = [Record(path=path) for path in find_images(found)] if found else []
        root = str(Path(single).expanduser()) if single and Path(single).expanduser().is_dir() else None
    else:
        if form not in FORMATS:
            raise InputError(f"{where}: the format of data must be images, {', '.join(FORMATS)}, not {form!r}")
        read, keys = FORMATS[form]
        check_keys(given, keys, f"{where}: data")
        try:
            inspect.signature(read).bind(**given)
        except TypeError as reason:
            raise InputError(f"{where}: data of format {form} takes {', '.join(keys)}: {reason}") from reason
        records = read(**given)
        place = given.get("root") or given.get("images")  # a table without a root lies where its images do
        root = str(place or Path(given["table"]).parent) if form != "shards" else None
    if not len(records):
        raise InputError(f"{where}: data names no images; write [data] with images = [...]")
    return _limited(records, limit, spread=form in _SPREAD), root


def _limited(records: Sequence[Record], limit: int | None, *, spread: bool) -> Sequence[Record]:
    """The first images of all; of folders one of each in turn, so a larger limit adds to what a smaller one took.

    The folders' turns are in an order whose every beginning is spread evenly (bits reversed), for limits below their
    number.
    """
    if limit is None or limit >= len(records):
        return records
    if not spread:
        return records[:limit]
    paths = (
        [records.path(i) for i in range(len(records))] if isinstance(records, Records) else [r.path for r in records]
    )
    members: dict[Path, list[int]] = {}
    for index, path in enumerate(paths):
        members.setdefault(path.parent, []).append(index)
    bits = (len(members) - 1).bit_length()
    places = sorted(range(len(members)), key=lambda place: f"{place:0{bits}b}"[::-1])
    groups = list(members.values())
    turns = [groups[place] for place in places]
    taken = sorted((rank, turn, index) for turn, group in enumerate(turns) for rank, index in enumerate(group))
    indices = [index for _, _, index in taken[:limit]]
    return records.chosen(indices) if isinstance(records, Records) else [records[i] for i in indices]


def read_target(texts: str | Sequence[str] | None, classifier: Classifier | BlackBox) -> AnyTarget:
    """One target, or several for each image, as they are typed in a shell."""
    return together([parse(text) for text in ([texts] if isinstance(texts, str) else texts or [])], classifier.decision)


def expanded(value: Any, where: str) -> Any:
    """A path, or several, with `~` and variables of the environment filled in.

    Raises:
        InputError: A variable is not set.
    """
    if isinstance(value, list):
        return [expanded(item, where) for item in value]
    if not isinstance(value, str):
        return value
    for bare, braced in re.findall(r"\$(?:(\w+)|\{(\w+)\})", value):
        if (bare or braced) not in os.environ:
            name = bare or braced
            raise InputError(
                f"{where}: {value} names the variable {name}, which is not set; export {name}=FOLDER first"
            )
    return os.path.expandvars(str(Path(value).expanduser()) if value.startswith("~") else value)


def check_keys(given: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    """Refuse a key that nothing reads; the error lists those that there are."""
    strange = next((key for key in given if key not in keys), None)
    if strange is not None:
        raise InputError(f"{where}: there is no {strange!r}; known are {', '.join(keys)}")
