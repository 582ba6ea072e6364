"""What the cells of lists and tables say: yes and no, points, boxes, names of groups."""

import json
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sightline.errors import InputError

POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
"""Landmarks of a face in CelebA's order; left and right as seen in the image."""

COORDINATES = tuple(f"{name}_{axis}" for name in POINTS for axis in "xy")
"""Columns of a table with a number each, as CelebA names them."""


def truth(values: Iterable[object], what: str) -> None:
    """Refuse values that are not all of 1 and 0, or all of 1 and -1; None is unknown.

    Raises:
        InputError: Another value, or -1 beside 0: then it is open which of them means no. The text begins with `what`.
    """
    seen: set[object] = set()
    for value in values:
        if value is None:
            continue
        if value not in (-1, 0, 1):
            raise InputError(f"{what} holds {value!r}; an attribute is 1 for yes and 0 or -1 for no")
        seen.add(value)
    if {-1, 0} <= seen:
        raise InputError(
            f"{what} holds both 0 and -1; write no in one way, and leave the cell empty where it is unknown"
        )


def points(cell: object) -> Tensor:
    """(k, 2) float64 of one cell: pairs, 2k numbers, or either as JSON or as plain numbers.

    Raises:
        InputError: Neither, or numbers that are not finite.
    """
    try:
        values: object = cell
        if isinstance(cell, str):
            text = cell.strip()
            values = json.loads(text) if text.startswith("[") else [float(v) for v in text.replace(",", " ").split()]
        found = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"landmarks must be pairs of x and y, not {cell!r}") from error
    if found.numel() == 0 or found.numel() % 2 or (found.ndim == 2 and found.shape[1] != 2) or found.ndim > 2:
        raise InputError(f"landmarks must be pairs of x and y, not {tuple(found.shape)} numbers")
    if not bool(found.isfinite().all()):
        raise InputError(f"landmarks must be finite, not {found.flatten().tolist()}")
    return found.reshape(-1, 2)


def boxes(cell: object) -> list[list[float]]:
    """Boxes of one cell: lists, JSON, or numbers with `;` between boxes."""
    if not isinstance(cell, str):
        return [list(box) for box in cell]  # type: ignore[attr-defined]
    if cell.lstrip().startswith("["):
        values = json.loads(cell)
        return [values] if values and not isinstance(values[0], list) else values
    return [[float(v) for v in box.replace(",", " ").split()] for box in cell.split(";") if box.strip()]


def group(cell: object) -> str | None:
    """The name of a group in one cell, as text; whole numbers without a point, truth values as yes and no."""
    if cell is None or cell == "" or cell != cell:  # NaN
        return None
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def known(asked: Sequence[str], there: Sequence[str], where: str) -> tuple[str, ...]:
    """The columns that were asked for.

    Raises:
        InputError: One of them is not there; the text lists those that are.
    """
    for name in asked:
        if name not in there:
            raise InputError(f"{where}: has no column {name!r}; it has {', '.join(there)}")
    return tuple(asked)
