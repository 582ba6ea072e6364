"""A table of images: CSV or Parquet with a row for each."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.data.annotations._shapes import MaskFile
from sightline.data.annotations.record import Record, Records
from sightline.data.boxes import as_boxes
from sightline.data.images import Failure
from sightline.errors import InputError

if TYPE_CHECKING:
    import polars


def manifest(
    table: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    attributes: Sequence[str] | None = None,
) -> Records:
    """Records of a table, by its columns.

    - `path`: the image, relative to `root`;
    - `label` (optional): the index of its class, or its name;
    - `boxes` (optional): left, top, right, bottom in pixels, as edges: a list of lists in Parquet, in CSV as JSON
      `[[10, 20, 110, 90]]` or plain `10 20 110 90; 30 40 60 80`;
    - `mask` (optional): an image of the same size, relative to `root`; what is not black is inside;
    - further columns of whole numbers: attributes.

    An empty cell means that nothing is known.

    Args:
        table: A file that ends in `.csv`, `.tsv` or `.parquet`.
        root: To what paths are relative; by default the folder of the table.
        classes: Names of the classes in the order of the classifier's outputs; by default, where labels are names,
            those that occur, in alphabetical order.
        attributes: Columns to read as attributes; by default all of whole numbers or truth values that have no other
            meaning.

    Returns:
        Records in the order of the table. `failures` names images that are not there; they are left out.

    Raises:
        InputError: The table cannot be read, has no column `path`, or none of its images is there; a column or a
            label that does not exist. Where a record is read: boxes that cannot be understood.
    """
    table = Path(table)
    frame = _read(table)
    if "path" not in frame.columns:
        raise InputError(f"{table}: has the columns {', '.join(frame.columns)}; one must be 'path'")
    columns = _attributes(table, frame, attributes)
    reader = _Reader(table, Path(root) if root is not None else table.parent, _labels(table, frame, classes), columns)
    entries, failures = [], []
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        if not row["path"]:
            raise InputError(f"{table}: row {number} has no path")
        path = reader.root / str(row["path"])
        if path.is_file():
            entries.append((path, (number, row)))
        else:
            failures.append(Failure(path, f"is row {number} of {table}, but there is no such file"))
    if not entries:
        what = f"{failures[0].path} and the others are not there; give root=" if failures else "has no rows"
        raise InputError(f"{table}: {what}")
    return Records(entries, reader.record, classes=tuple(reader.labels), failures=failures)


@dataclass(frozen=True)
class _Reader:
    table: Path
    root: Path
    labels: Mapping[str, int]
    attributes: tuple[str, ...]

    def record(self, path: Path, entry: tuple[int, Mapping[str, Any]]) -> Record:
        number, row = entry
        label, boxes, mask = row.get("label"), row.get("boxes"), row.get("mask")
        if isinstance(label, str):
            label = self.labels[label]
        try:
            found = None if boxes in (None, "") else as_boxes(_boxes(boxes))
        except ValueError as error:  # InputError is one
            raise InputError(f"{path}: boxes in row {number} of {self.table}: {error}") from error
        return Record(
            path=path,
            label=label,
            name=next((name for name, index in self.labels.items() if index == label), None),
            boxes=found,
            mask=None if mask in (None, "") else MaskFile(self.root / str(mask)),
            attributes={name: int(row[name]) for name in self.attributes if row[name] is not None},
        )


def _read(table: Path) -> "polars.DataFrame":
    import polars

    suffix = table.suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise InputError(f"{table}: must end in .csv, .tsv or .parquet")
    try:
        if suffix == ".parquet":
            return polars.read_parquet(table)
        return polars.read_csv(table, separator="\t" if suffix == ".tsv" else ",", infer_schema_length=None)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise InputError(f"{table}: cannot be read as a table ({error})") from error


def _labels(table: Path, frame: "polars.DataFrame", classes: Sequence[str] | None) -> dict[str, int]:
    """Index of each class name; none where labels are numbers and no classes were given."""
    import polars

    column = frame["label"].drop_nulls() if "label" in frame.columns else polars.Series(dtype=polars.Int64)
    if column.dtype == polars.String:
        there = sorted(column.unique().to_list())
        names = list(there if classes is None else classes)
        if strange := [name for name in there if name not in names]:
            raise InputError(f"{table}: the label {strange[0]!r} is none of the {len(names)} classes")
        return {name: index for index, name in enumerate(names)}
    if not column.dtype.is_integer() and len(column):
        raise InputError(f"{table}: labels must be whole numbers or names, not {column.dtype}")
    if len(column) and (int(column.min()) < 0 or (classes is not None and int(column.max()) >= len(classes))):  # type: ignore[arg-type]
        raise InputError(f"{table}: labels go from {column.min()!r} to {column.max()!r}; they must name a class")
    return {name: index for index, name in enumerate(classes or ())}


def _attributes(table: Path, frame: "polars.DataFrame", asked: Sequence[str] | None) -> tuple[str, ...]:
    import polars

    whole = {n: t.is_integer() or t == polars.Boolean for n, t in frame.schema.items()}
    if asked is None:
        return tuple(n for n in frame.columns if whole[n] and n not in ("path", "label", "boxes", "mask"))
    for name in asked:
        if not whole.get(name, False):
            raise InputError(f"{table}: {name!r} is no column of whole numbers or truth values")
    return tuple(asked)


def _boxes(cell: object) -> list[list[float]]:
    """Boxes of one cell: lists, JSON, or numbers with `;` between boxes."""
    if not isinstance(cell, str):
        return [list(box) for box in cell]  # type: ignore[attr-defined]
    if cell.lstrip().startswith("["):
        values = json.loads(cell)
        return [values] if values and not isinstance(values[0], list) else values
    return [[float(v) for v in box.replace(",", " ").split()] for box in cell.split(";") if box.strip()]
