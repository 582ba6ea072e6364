"""Tables of a study as files: one as CSV, told by the file's name, or all of it as JSON."""

import os
from collections.abc import Sequence
from pathlib import Path

from sightline.errors import InputError
from sightline.files import atomic_write


def table_of(path: str | os.PathLike[str], tables: Sequence[str], prefix: str) -> str | None:
    """The table that a file's name ends on (`runs/audit-errors.csv` -> `errors`); None for a `.json` of all of them.

    Args:
        path: The file to be written.
        tables: Names of the tables.
        prefix: What may stand before a table's name, for the error's example.

    Raises:
        InputError: Neither `.json` nor `.csv`, or a `.csv` that names no table.
    """
    file = Path(path)
    if file.suffix.lower() == ".json":
        return None
    found = next((name for name in tables if file.stem.lower().endswith(name)), None)
    if file.suffix.lower() != ".csv" or found is None:
        raise InputError(
            f"{path}: a table is written as .csv and named after what is in it ({', '.join(tables)}), such as "
            f"{tables[0]}.csv or {prefix}-{tables[0]}.csv; all of them go into a .json"
        )
    return found


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text, whole or not at all.

    Raises:
        StorageError: It cannot be written.
    """
    file, data = Path(path), text.encode("utf-8")
    with atomic_write(file, size=len(data)) as out:
        out.write(data)
    return file
