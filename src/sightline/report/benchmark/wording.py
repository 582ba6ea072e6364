"""Numbers and names as they stand on the page and in exported tables."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sightline.report.benchmark.numbers import FEWEST, Cell

_MANY = 4


def decimals(cells: Iterable[Cell]) -> int:
    """Digits after the point for a column: one more than the narrowest interval can tell, 2 to 5 of values below 1."""
    cells = [cell for cell in cells if not math.isnan(cell.mean)]
    largest = max((abs(cell.mean) for cell in cells), default=1.0)
    widths = [cell.high - cell.low for cell in cells if cell.high > cell.low]
    told = math.ceil(-math.log10(min(widths))) + 1 if widths else 3
    room = 5 - (math.floor(math.log10(largest)) + 1 if largest >= 1 else 0)
    return max(0, min(max(told, 2), room, 3 if largest >= 0.05 else 5))


def number(value: float, digits: int) -> str:
    """A value; a dash for none, and never a negative zero."""
    if math.isnan(value):
        return "-"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def interval(cell: Cell, digits: int) -> str:
    """The 95 % interval."""
    if math.isnan(cell.low):
        return f"no interval: fewer than {FEWEST} images"
    return f"95 % interval {number(cell.low, digits)} to {number(cell.high, digits)}"


def counts(cell: Cell) -> str:
    """What the mean is of, and what is not in it."""
    rows = "" if cell.rows == cell.images else f", {many(cell.rows, 'row')}"
    rest = "".join(f", {count} {status}" for status, count in cell.others.items())
    return f"{many(cell.images, 'image')}{rows}{rest and f'; not counted{rest[1:]}'}"


def many(count: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], *, most: int = _MANY) -> str:
    """`a, b and c`; of many, the first and how many more."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def duration(seconds: float) -> str:
    """A time in its own unit."""
    if math.isnan(seconds):
        return "-"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def value(anything: Any) -> str:
    """An entry of the manifest as text."""
    if isinstance(anything, str):
        return anything
    if isinstance(anything, Mapping):
        return settings(anything)
    if isinstance(anything, list):
        return ", ".join(value(one) for one in anything) or "none"
    return "none" if anything is None else json.dumps(anything)


def settings(entries: Mapping[str, Any]) -> str:
    """Names with their values."""
    return ", ".join(f"{name.replace('_', ' ')} {value(entry)}" for name, entry in entries.items()) or "none"
