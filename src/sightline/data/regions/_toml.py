"""Tables of regions as TOML that a person can edit."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from sightline.data.regions._shapes import Area, Bound, Box, Ellipse, FrameOf
from sightline.errors import InputError

_HEAD = """\
# Where in a face the evidence of an attribute may lie. The frame is `unit` wide and `unit` high; x runs to the right, y
# down. A bound is a number, or a point of the face with a number: "left_eye.x - 15". The points are left_eye,
# right_eye, nose, left_mouth, right_mouth, and the middles eyes and mouth.
# frame = "input": the frame is the network's input; "face": it is the crop that alignment would cut out, wherever the
# face is. whole_pixels = true: bounds are cut to whole units. A region may have boxes (top, bottom, left, right),
# ellipses (x, y, and the half axes wide and tall), minus_boxes, minus_ellipses; or `given = true`: then its masks come
# with the images.
"""
_SHAPES: dict[str, type[Box] | type[Ellipse]] = {
    "boxes": Box,
    "ellipses": Ellipse,
    "minus_boxes": Box,
    "minus_ellipses": Ellipse,
}
_KEYS = ("name", "unit", "frame", "whole_pixels", "regions")


class Table(NamedTuple):
    """What a file says."""

    name: str
    unit: float
    frame: FrameOf
    whole: bool
    areas: dict[str, Area]
    attributes: dict[str, str]


def parsed(text: str, where: str) -> Table:
    """Read a table.

    Args:
        text: TOML.
        where: The name of the file, for errors; its stem is the table's name if it has none of its own.

    Raises:
        InputError: It cannot be understood; the text names the file, the region, and what is wrong.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: is no TOML ({error})") from error
    _only(data, _KEYS, where)
    unit, frame = data.get("unit", 1), data.get("frame", "input")
    if not isinstance(unit, int | float) or isinstance(unit, bool) or not 0 < unit < float("inf"):
        raise InputError(f"{where}: unit must be a number above 0, not {unit!r}")
    if frame not in get_args(FrameOf):
        raise InputError(f"{where}: frame must be 'input' or 'face', not {frame!r}")
    whole = data.get("whole_pixels", False)
    if not isinstance(whole, bool):
        raise InputError(f"{where}: whole_pixels must be true or false, not {whole!r}")
    regions = data.get("regions", {})
    if not isinstance(regions, dict) or not regions:
        raise InputError(f"{where}: has no regions; write [regions.NAME] with boxes and attributes")
    areas: dict[str, Area] = {}
    attributes: dict[str, str] = {}
    for region, entry in regions.items():
        areas[region] = _area(entry, f"{where}: region {region!r}")
        for attribute in _attributes(entry, f"{where}: region {region!r}"):
            if attribute in attributes:
                raise InputError(f"{where}: {attribute!r} is in the regions {attributes[attribute]!r} and {region!r}")
            attributes[attribute] = region
    name = data.get("name", Path(where).stem)
    return Table(str(name), float(unit), frame, whole, areas, attributes)


def _only(entry: object, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a table with {', '.join(keys)}, not {entry!r}")
    for key in entry:
        if key not in keys:
            raise InputError(f"{where}: does not know {key!r}; there are {', '.join(keys)}")
    return entry


def _attributes(entry: Mapping[str, Any], where: str) -> list[str]:
    found = entry.get("attributes", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InputError(f"{where}: attributes must be a list of names, not {found!r}")
    return found


def _area(entry: object, where: str) -> Area:
    found = _only(entry, ("attributes", "given", *_SHAPES), where)
    given = found.get("given", False)
    if not isinstance(given, bool):
        raise InputError(f"{where}: given must be true or false, not {given!r}")
    there = {kind: _shapes(found[kind], kind, f"{where}, {kind}") for kind in _SHAPES if kind in found}
    if given and there:
        raise InputError(f"{where}: has given = true and {', '.join(there)}; keep one of them")
    if not given and not (there.get("boxes") or there.get("ellipses")):
        raise InputError(f"{where}: has no boxes, no ellipses and not given = true: it is empty")
    return Area(given=given, **there)


def _shapes(entries: object, kind: str, where: str) -> tuple[Any, ...]:
    form = _SHAPES[kind]
    keys = tuple(form.__dataclass_fields__)
    if not isinstance(entries, list):
        raise InputError(f"{where}: must be a list of tables with {', '.join(keys)}")
    made = []
    for entry in entries:
        found = _only(entry, keys, where)
        if gone := [key for key in keys if key not in found]:
            raise InputError(f"{where}: lacks {', '.join(gone)}; give {', '.join(keys)}")
        try:
            made.append(form(**{key: Bound.parse(found[key]) for key in keys}))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return tuple(made)


def written(table: Table) -> str:
    """TOML that `parsed` reads back as the same table."""
    lines = [_HEAD, f"name = {json.dumps(table.name, ensure_ascii=False)}", f"unit = {table.unit:g}"]
    lines += [f'frame = "{table.frame}"', f"whole_pixels = {str(table.whole).lower()}"]
    for name, area in table.areas.items():
        key = name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
        lines += ["", f"[regions.{key}]"]
        if area.given:
            lines.append("given = true")
        for kind in _SHAPES:
            if shapes := getattr(area, kind):
                lines += [f"{kind} = [", *(f"  {_inline(shape)}," for shape in shapes), "]"]
        own = [attribute for attribute, region in table.attributes.items() if region == name]
        lines.append(f"attributes = {json.dumps(own, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _inline(shape: Box | Ellipse) -> str:
    def value(bound: Bound) -> str:
        found = bound.written()
        return json.dumps(found) if isinstance(found, str) else f"{found:.17g}"

    return "{ " + ", ".join(f"{key} = {value(bound)}" for key, bound in vars(shape).items()) + " }"
