"""Names of a classifier's outputs from a file: plain text, JSON or CSV."""

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path

from sightline.errors import InputError

_INDEX = ("index", "id", "class_id", "class_index", "idx")
_NAME = ("name", "label", "class", "class_name", "title")


def read_labels(path: str | os.PathLike[str], *, column: str | None = None) -> tuple[str, ...]:
    """Read label names; the position in the result is the index of the model's output.

    The ending of the file decides its form:

    - ``.json``: ``["tench", ...]``, ``{"0": "tench", ...}`` or ImageNet's ``{"0": ["n01440764", "tench"], ...}``.
    - ``.csv``, ``.tsv``: with a header; a column ``name`` (or label, class, class_name, title) and, if the rows are
      not in order, a column ``index`` (or id, idx, class_id, class_index). ``column`` names another column to read.
    - anything else: one name a line, in UTF-8.

    Names may come twice (ImageNet has two cranes), indices may not.

    Raises:
        InputError: The file is missing, empty, not in one of these forms, or its indices are not 0, 1, 2, ...
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text ({error.reason}); save the labels as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: labels cannot be read ({error.strerror}); check the path") from error
    if not text.strip():
        raise InputError(f"{path}: has no labels; write one name a line")
    try:
        match path.suffix.lower():
            case ".json":
                return _from_json(text)
            case ".csv" | ".tsv":
                return _from_table(text, "\t" if path.suffix.lower() == ".tsv" else ",", column)
            case _:
                return _named(text.rstrip().split("\n"))
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: {error}") from error


def _from_json(text: str) -> tuple[str, ...]:
    try:
        data = json.loads(text, object_pairs_hook=list)  # pairs, since a dict would drop a repeated index in silence
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON ({error})") from error
    if isinstance(data, list) and data and all(isinstance(item, tuple) for item in data):
        return _ordered((key, value[-1] if isinstance(value, list) and value else value) for key, value in data)
    if isinstance(data, list):
        return _named(data)
    raise ValueError('must be a list of names, {"0": "name"} or {"0": ["wnid", "name"]}')


def _from_table(text: str, delimiter: str, column: str | None) -> tuple[str, ...]:
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns = {field.strip().lower(): field for field in rows.fieldnames or ()}
    index = next((columns[name] for name in _INDEX if name in columns), None)
    name = next((columns[name] for name in ((column,) if column else _NAME) if name in columns), None)
    if name is None:
        raise ValueError(f"has the columns {', '.join(columns)}; one must be {column or 'name'!r} (one may be 'index')")
    if index is None:
        return _named(row[name] for row in rows)
    return _ordered((row[index], row[name]) for row in rows)


def _ordered(pairs: Iterable[tuple[object, object]]) -> tuple[str, ...]:
    """Names by index, which must be 0, 1, 2, ... in any order."""
    names: dict[int, object] = {}
    for key, name in pairs:
        try:
            index = int(str(key))
        except ValueError:
            raise ValueError(f"{key!r} is not an index; labels are numbered 0, 1, 2, ...") from None
        if index in names:
            raise ValueError(f"index {index} comes twice: {names[index]!r} and {name!r}")
        names[index] = name
    if wrong := sorted(set(range(len(names))) ^ set(names)):
        missing = next(index for index in range(len(names) + 1) if index not in names)
        raise ValueError(f"indices must be 0 to {len(names) - 1}; {missing} is missing and {wrong[-1]} is there")
    return _named(names[index] for index in range(len(names)))


def _named(names: Iterable[object]) -> tuple[str, ...]:
    """Stripped names, none of them empty."""
    result = []
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"the label with index {index} is {name!r}, not a name; an empty line would shift the rest"
            )
        result.append(name.strip())
    if not result:
        raise ValueError("has no labels")
    return tuple(result)
