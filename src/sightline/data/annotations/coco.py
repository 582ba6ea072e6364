"""COCO's instances: a JSON file with boxes and masks of objects."""

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.data.annotations._shapes import Union, shape_of
from sightline.data.annotations.record import Record, Records
from sightline.data.boxes import as_boxes
from sightline.data.images import Failure
from sightline.errors import InputError


def coco(
    images: str | os.PathLike[str],
    instances: str | os.PathLike[str],
    *,
    classes: Mapping[str, int] | None = None,
    crowds: bool = True,
) -> Records:
    """Records of COCO (Lin et al. 2014, arXiv 1405.0312): one for each image and each category in it.

    A record's mask is the union of the category's objects in the image; its boxes are theirs, one each. Images
    without an object have no record.

    Args:
        images: The folder of images.
        instances: The JSON file.
        classes: Category names -> outputs of a classifier that knows other classes, `{"orange": 950}`; categories
            that are not named are left out. By default categories are numbered in the order of their ids.
        crowds: Whether the mask holds regions marked as crowds too: heat on one is no miss. They never have a box.

    Returns:
        Records in the order of the file. `failures` names images that are annotated but not there.

    Raises:
        InputError: The file cannot be read or has another form, a category of `classes` is unknown, or no image is
            there.
    """
    instances, images = Path(instances), Path(images)
    data = _parse(instances)
    try:
        names = {c["id"]: str(c["name"]) for c in sorted(data["categories"], key=lambda c: c["id"])}
        photos = {i["id"]: i for i in data["images"]}
        place = {key: number for number, key in enumerate(photos)}
        objects: dict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
        for a in data["annotations"]:
            objects[a["image_id"], a["category_id"]].append(a)
        files = {key: images / photo["file_name"] for key, photo in photos.items()}
        sizes = {key: (int(photo["height"]), int(photo["width"])) for key, photo in photos.items()}
        strange = next((key for key in objects if key[0] not in photos or key[1] not in names), None)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{instances}: is no COCO instances file ({error!r} is missing or wrong)") from error
    if strange:
        raise InputError(
            f"{instances}: has objects of image {strange[0]}, category {strange[1]}, which it does not list"
        )
    labels = {name: index for index, name in enumerate(names.values())} if classes is None else dict(classes)
    if unknown := [name for name in labels if name not in names.values()]:
        raise InputError(f"{instances}: has no category {unknown[0]!r}; it has {', '.join(names.values())}")
    wanted = sorted((key for key in objects if names[key[1]] in labels), key=lambda key: (place[key[0]], key[1]))
    gone = dict.fromkeys(key[0] for key in wanted if not files[key[0]].is_file())  # in order
    if wanted and len(gone) == len({key[0] for key in wanted}):
        raise InputError(f"{images}: has none of the images that {instances} names, like {files[wanted[0][0]].name}")

    def make(path: Path, key: tuple[Any, Any]) -> Record:
        return _record(path, objects[key], names[key[1]], labels, sizes[key[0]], crowds)

    return Records(
        [(files[key[0]], key) for key in wanted if key[0] not in gone],
        make,
        classes=tuple(names.values()) if classes is None else (),
        failures=[Failure(files[key], f"is annotated in {instances}, but there is no such file") for key in gone],
    )


def _record(
    path: Path,
    objects: list[dict[str, Any]],
    name: str,
    labels: Mapping[str, int],
    size: tuple[int, int],
    crowds: bool,
) -> Record:
    single = [a for a in objects if not a.get("iscrowd")]
    try:
        edges = [(x, y, x + w, y + h) for x, y, w, h in (a["bbox"] for a in single) if w > 0 and h > 0]
        shapes = tuple(shape_of(a["segmentation"]) for a in (objects if crowds else single))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its annotation of {name} is broken: {error}") from error
    return Record(path=path, label=labels[name], name=name, boxes=as_boxes(edges), mask=Union(shapes), size=size)


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); copy or download it again") from error
    except OSError as error:
        raise InputError(f"{path}: could not be read ({error.strerror}); check the path") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: is no COCO instances file: it must hold images, annotations and categories")
    return data
