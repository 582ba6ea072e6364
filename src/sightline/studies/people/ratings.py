"""Pairwise similarity judgements: how alike are these two images? The table, and what it says of pairs."""

import math
import os
from collections.abc import Sequence

import polars as pl

from sightline.errors import InputError
from sightline.studies.people.triads import _rows

SCHEMA = {"participant": pl.String, "a": pl.String, "b": pl.String, "similarity": pl.Float64}
"""Columns of ratings, with their types."""


def read_ratings(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> pl.DataFrame:
    """Similarity judgements of pairs, from tables (.csv): participant, a, b, similarity (more is more alike).

    Args:
        paths: A file or several. A participant may rate a pair more than once, and in both orders.

    Returns:
        The columns `SCHEMA`.

    Raises:
        InputError: A column is missing, or a value is no finite number; the text names file and line.
    """
    files = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    lines = []
    for path in files:
        for line, row in _rows(path, needed=tuple(SCHEMA)):
            place = f"{path}, line {line}"
            try:
                value = float(row["similarity"])
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise InputError(f"{place}: similarity must be a number, not {row['similarity']!r}")
            if not (row["participant"] and row["a"] and row["b"]):
                raise InputError(f"{place}: participant, a and b must not be empty")
            if row["a"] == row["b"]:
                raise InputError(f"{place}: {row['a']!r} is paired with itself")
            lines.append((row["participant"], row["a"], row["b"], value))
    if not lines:
        raise InputError(f"{files[0] if files else 'no file'} holds no rating")
    return pl.DataFrame(lines, schema=SCHEMA, orient="row")
