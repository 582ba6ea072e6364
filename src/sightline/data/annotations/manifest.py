"""A table of images: CSV or Parquet with a row for each."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sightline.data.annotations._cells import COORDINATES, boxes, group, known, points, truth
from sightline.data.annotations._shapes import MaskFile
from sightline.data.annotations.record import Record, Records
from sightline.data.boxes import as_boxes
from sightline.data.images import Failure
from sightline.errors import InputError

if TYPE_CHECKING:
    import polars

_MASK = "mask_"  # the beginning of a column that holds the masks of a region


def manifest(
    table: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    attributes: Sequence[str] | None = None,
    groups: Sequence[str] = (),
) -> Records:
    """Records of a table, by its columns.

    - `path`: the image, relative to `root`;
    - `label` (optional): the index of its class, or its name;
    - `boxes` (optional): left, top, right, bottom in pixels, as edges: a list of lists in Parquet, in CSV as JSON
      `[[10, 20, 110, 90]]` or plain `10 20 110 90; 30 40 60 80`;
    - `mask` (optional): an image of the same size, relative to `root`; what is not black is inside;
    - `mask_<region>` (optional): such an image for a region with a name;
    - `landmarks` (optional): x0, y0, x1, y1, ... in pixels, where 0, 0 is the centre of the top left one: a list in
      Parquet, in CSV as JSON or plain numbers; or, as CelebA names them, ten columns `lefteye_x`, `lefteye_y`,
      `righteye_x`, ..., `nose_x`, ..., `leftmouth_x`, ..., `rightmouth_x`, `rightmouth_y`;
    - the columns named by `groups`: text or numbers;
    - further columns of whole numbers: attributes, of which no is 0 or -1 and yes is 1.

    An empty cell means that nothing is known.

    Args:
        table: A file that ends in `.csv`, `.tsv` or `.parquet`.
        root: To what paths are relative; by default the folder of the table.
        classes: Names of the classes in the order of the classifier's outputs; by default, where labels are names,
            those that occur, in alphabetical order.
        attributes: Columns to read as attributes of yes and no; by default all of whole numbers or truth values that
            have no other meaning. Then a column that holds other numbers is left as it is.
        groups: Columns whose values are groups to compare.

    Returns:
        Records in the order of the table. `failures` names images that are not there; they are left out.

    Raises:
        InputError: The table cannot be read, has no column `path`, or none of its images is there; a column or a
            label that does not exist; an attribute that is asked for and holds other values than yes and no. Where a
            record is read: boxes or landmarks that cannot be understood.
    """
    table = Path(table)
    frame = _read(table)
    if "path" not in frame.columns:
        raise InputError(f"{table}: has the columns {', '.join(frame.columns)}; one must be 'path'")
    reader = _Reader(
        table,
        Path(root) if root is not None else table.parent,
        _labels(table, frame, classes),
        _attributes(table, frame, attributes, groups),
        known(groups, frame.columns, str(table)),
        _coordinates(table, frame),
    )
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
    attributes: Mapping[str, bool]  # whether it is one of yes and no
    groups: tuple[str, ...]
    coordinates: tuple[str, ...]

    def record(self, path: Path, entry: tuple[int, Mapping[str, Any]]) -> Record:
        number, row = entry
        label, mask = row.get("label"), row.get("mask")
        if isinstance(label, str):
            label = self.labels[label]
        found = {name: group(row[name]) for name in self.groups}
        return Record(
            path=path,
            label=label,
            name=next((name for name, index in self.labels.items() if index == label), None),
            boxes=self._cell(path, number, "boxes", row.get("boxes"), lambda cell: as_boxes(boxes(cell))),
            mask=None if mask in (None, "") else MaskFile(self.root / str(mask)),
            attributes=self._values(row),
            landmarks=self._cell(path, number, "landmarks", self._points(row), points),
            groups={name: value for name, value in found.items() if value is not None},
            masks={
                name.removeprefix(_MASK): MaskFile(self.root / str(cell))
                for name, cell in row.items()
                if name.startswith(_MASK) and cell not in (None, "")
            },
        )

    def _values(self, row: Mapping[str, Any]) -> dict[str, int]:
        there = {n: row[n] for n in self.attributes if row[n] is not None and row[n] == row[n]}  # NaN is unknown
        return {name: int(v == 1) if self.attributes[name] else int(v) for name, v in there.items()}

    def _points(self, row: Mapping[str, Any]) -> object:
        if not self.coordinates:
            return row.get("landmarks")
        cells = [row[name] for name in self.coordinates]
        return None if None in cells else cells

    def _cell(
        self, path: Path, number: int, name: str, cell: object, understood: Callable[[object], Tensor]
    ) -> Tensor | None:
        if cell is None or cell == "":
            return None
        try:
            return understood(cell)
        except (TypeError, ValueError) as error:  # InputError and broken JSON are the latter
            raise InputError(f"{path}: {name} in row {number} of {self.table}: {error}") from error


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


def _attributes(
    table: Path, frame: "polars.DataFrame", asked: Sequence[str] | None, groups: Sequence[str]
) -> dict[str, bool]:
    """Columns of attributes, and of each whether it is one of yes and no."""
    import polars

    if asked is None:
        other = {"path", "label", "boxes", "mask", "landmarks", *COORDINATES, *groups}
        there = [n for n, t in frame.schema.items() if t.is_integer() or t == polars.Boolean]
        return {n: _binary(frame[n]) for n in there if n not in other and not n.startswith(_MASK)}
    for name in known(asked, frame.columns, str(table)):
        if not (frame.schema[name].is_numeric() or frame.schema[name] == polars.Boolean):
            raise InputError(f"{table}: {name!r} is no column of whole numbers or truth values")
        truth(frame[name].fill_nan(None).to_list() if frame.schema[name].is_float() else frame[name].to_list(),
              f"{table}: the column {name!r}")  # fmt: skip
    return dict.fromkeys(asked, True)


def _binary(column: "polars.Series") -> bool:
    try:
        truth(column.unique().to_list(), "")
    except InputError:
        return False
    return True


def _coordinates(table: Path, frame: "polars.DataFrame") -> tuple[str, ...]:
    """CelebA's ten columns of landmarks, or none."""
    there = [name for name in COORDINATES if name in frame.columns]
    if there and len(there) < len(COORDINATES):
        gone = ", ".join(name for name in COORDINATES if name not in there)
        raise InputError(f"{table}: has {', '.join(there)}, but not {gone}; landmarks need all ten")
    if there and "landmarks" in frame.columns:
        raise InputError(f"{table}: has landmarks twice, as 'landmarks' and as {there[0]!r} and so on; leave one out")
    for name in there:
        if not frame.schema[name].is_numeric():
            raise InputError(f"{table}: the column {name!r} must hold numbers, not {frame.schema[name]}")
    return tuple(there)
