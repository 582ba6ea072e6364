"""Figures of an audit as cells: rates in per cent with their intervals; what is not defined is a dash that says why."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.report.page import Estimate
from sightline.studies.auditing._rules import JOINED
from sightline.studies.auditing._sentences import between, percent

Line = Mapping[str, Any]

UNDEFINED = "-"


def spoken(attribute: str) -> str:
    """`Wearing_Hat` -> `Wearing Hat`."""
    return attribute.replace("_", " ")


def group_of(by: str, group: str) -> str:
    """(`Male x Young`, `no x yes`) -> `Male: no, Young: yes`."""
    columns, values = by.split(JOINED), group.split(JOINED)
    return ", ".join(f"{spoken(c)}: {v.replace('_', ' ')}" for c, v in zip(columns, values, strict=True))


def known(value: Any) -> bool:
    """Whether a figure is there."""
    return value is not None and math.isfinite(value)


def top(lines: Sequence[Line], names: Sequence[str]) -> float:
    """The right end of a scale that several columns share: the greatest upper end, 0.05 at least, 1 at most."""
    ends = [line.get(f"{name}_high", line.get(name)) for line in lines for name in names]
    return min(1.0, max([0.05, *(float(end) for end in ends if known(end))]))


def rate(line: Line, name: str, high: float, *, counts: str = "", note: str = "") -> Estimate | str:
    """A share with its interval on a scale from 0 to `high`.

    Args:
        line: A line of a table.
        name: The column; its interval is in `<name>_low` and `<name>_high`.
        high: Right end of the scale.
        counts: Behind the interval, for those who point at the cell.
        note: A small line below.
    """
    value = line.get(name)
    if value is None or not known(value):
        return UNDEFINED
    low, upper = line.get(f"{name}_low"), line.get(f"{name}_high")
    ends = (low, upper) if known(low) and known(upper) else (value, value)
    said = f"95 % interval{between(low, upper)} %" if known(low) and known(upper) else "no interval"
    return Estimate(
        text=percent(value),
        value=float(value),
        mean=value / high,
        low=float(ends[0]) / high,  # type: ignore[arg-type]
        high=float(ends[1]) / high,  # type: ignore[arg-type]
        detail=f"{said}{counts and f'; {counts}'}",
        note=note,
    )


def signed(line: Line, name: str, least: float, most: float) -> Estimate | str:
    """A number that may be negative, on a scale from `least` to `most`."""
    value = line.get(name)
    if value is None or not known(value):
        return UNDEFINED
    low, high = line.get(f"{name}_low"), line.get(f"{name}_high")
    wide = (most - least) or 1.0
    a, b = (low, high) if known(low) and known(high) else (value, value)
    places = [(float(v) - least) / wide for v in (value, a, b)]  # type: ignore[arg-type]
    said = f"95 % interval{between(low, high)} %" if known(low) and known(high) else "no interval"
    return Estimate(text=percent(value), value=float(value), mean=places[0], low=places[1], high=places[2], detail=said)


def number(value: Any, digits: int = 2) -> str:
    """A plain number, or a dash."""
    return f"{value:.{digits}f}" if known(value) else UNDEFINED


def count(value: Any) -> str:
    """A count without separators, so that columns of them sort."""
    return UNDEFINED if value is None else str(int(value))
