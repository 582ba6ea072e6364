"""Figures with their intervals as they stand on the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.report.benchmark import wording

Row = Mapping[str, Any]
UNDEFINED = "not defined"


def known(value: Any) -> bool:
    """Whether a figure is there."""
    return value is not None and math.isfinite(value)


def number(value: Any, digits: int = 2) -> str:
    """Two digits; a dash for what is not defined."""
    return wording.number(float(value), digits) if known(value) else "-"


def ends(low: Any, high: Any, digits: int = 2) -> str:
    """` [0.10, 0.20]`; nothing where there is no interval."""
    return f" [{number(low, digits)}, {number(high, digits)}]" if known(low) and known(high) else ""


def told(row: Row, name: str, low: str = "low", high: str = "high", digits: int = 2) -> str:
    """`0.15 [0.10, 0.20]`."""
    if not known(row.get(name)):
        return UNDEFINED
    return number(row[name], digits) + ends(row.get(low), row.get(high), digits)


def spoken(low: Any, high: Any) -> str:
    """The interval in a sentence."""
    return f"95 % interval {number(low)} to {number(high)}" if known(low) and known(high) else "no interval"


def probability(p: Any) -> str:
    """A p-value."""
    if not known(p):
        return "-"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def spans(low: Any, high: Any, at: float = 0.0) -> bool:
    """Whether an interval holds a value; one that is not there holds it."""
    return not (known(low) and known(high)) or low <= at <= high


def short(value: Any) -> str:
    """`.43`, `-.05`, `1.1`: for a small cell."""
    if not known(value):
        return "–"
    text = f"{value:.2f}" if abs(value) < 0.995 else f"{value:.1f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def differing(differs: str | None) -> str:
    """`pretraining, seed` -> `differ in pretraining and seed`."""
    if differs in (None, ""):
        return ""
    if differs == "nothing":
        return "differ in no factor"
    return f"differ in {wording.listed(str(differs).split(', '), most=9)}"


def joined(parts: Sequence[str]) -> str:
    """Non-empty parts with semicolons."""
    return "; ".join(part for part in parts if part)
