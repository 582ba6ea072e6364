"""Cells of tables that are more than text: a share as a bar, a mean with its interval, parts of a whole."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A cell of a table: a share in [0, 1] as a bar, with its text."""

    share: float
    text: str

    @property
    def percent(self) -> str:
        """The length of the bar."""
        return f"{100 * min(max(self.share, 0.0), 1.0):.1f}"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A cell of a table: a mean with its interval as a bar on the scale of its column.

    Attributes:
        text: The mean.
        value: What the column is sorted by.
        mean: Position of the mean on the column's scale, in [0, 1].
        low: Position of the interval's lower end.
        high: Position of its upper end.
        detail: Interval and counts in words, for those who point at the cell or have it read to them.
        note: A small line below: what must not be missed.
        best: Whether it is the best of its column; bold.
    """

    text: str
    value: float
    mean: float
    low: float
    high: float
    detail: str
    note: str = ""
    best: bool = False

    @property
    def style(self) -> str:
        """Where bar and tick lie."""
        low, mean, high = (100 * min(max(part, 0.0), 1.0) for part in (self.low, self.mean, self.high))
        return f"--low: {low:.1f}%; --wide: {high - low:.1f}%; --mean: {mean:.1f}%"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A cell of a table: parts of a whole side by side; negative parts lie to the left of zero.

    Attributes:
        parts: Shares of the whole; they add up to 1 and may be negative or above 1.
        names: What they are, in the same order.
        detail: The parts in words, with their intervals.
        low: Left end of the column's scale, 0 or less.
        high: Right end, 1 or more.
        order: What the column is sorted by; the first part unless given.
    """

    parts: Sequence[float]
    names: Sequence[str]
    detail: str
    low: float = 0.0
    high: float = 1.0
    order: float | None = None

    @property
    def value(self) -> float:
        """What the column is sorted by."""
        return self.parts[0] if self.order is None else self.order

    @property
    def zero(self) -> str:
        """Where zero lies, in per cent of the cell."""
        return f"{100 * -self.low / (self.high - self.low):.2f}"

    @property
    def one(self) -> str:
        """Where the whole ends, in per cent of the cell."""
        return f"{100 * (1 - self.low) / (self.high - self.low):.2f}"

    @property
    def pieces(self) -> list[tuple[int, str, str, str]]:
        """(number, name, left, width) of each part, in per cent of the cell."""
        right = left = 0.0
        found = []
        for i, (part, name) in enumerate(zip(self.parts, self.names, strict=True)):
            start = right if part >= 0 else left + part
            if part >= 0:
                right += part
            else:
                left += part
            low, high = (min(max(end, self.low), self.high) for end in (start, start + abs(part)))
            scale = 100 / (self.high - self.low)
            found.append((i, name, f"{scale * (low - self.low):.2f}", f"{scale * (high - low):.2f}"))
        return found


Cell = str | Bar | Estimate | Stack
