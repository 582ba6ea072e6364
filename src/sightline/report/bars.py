"""Bars with intervals, one below the other: a few means that shall be compared at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sightline.errors import InputError
from sightline.report.chart import Axis


@dataclass(frozen=True, kw_only=True)
class Line:
    """A bar.

    Attributes:
        name: Whose it is.
        value: Its length on the axis; None where it is not defined: no bar, and `note` says why.
        low: Lower end of the interval; None for no interval.
        high: Upper end.
        text: The value with its interval, as it is read.
        note: A small line below the name: counts, and what must not be missed.
        control: Drawn in grey.
        faint: Whether the interval reaches a value that means nothing; paler.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    text: str = ""
    note: str = ""
    control: bool = False
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars on one axis.

    Attributes:
        title: What they show.
        axis: The axis that all share.
        lines: From top to bottom.
        marks: Values that mean something, with what they mean: drawn through all bars.
        text: A line below the heading.
        note: The protocol, small, below.
    """

    title: str
    axis: Axis
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = ()
    text: str = ""
    note: str = ""
    kind: str = field(default="bars", init=False)

    def __post_init__(self) -> None:
        if not self.lines:
            raise InputError(f"{self.title!r} has no bars")

    @property
    def zero(self) -> float:
        """Where bars begin, in per cent."""
        return self.axis.place(min(max(0.0, self.axis.low), self.axis.high))

    def bar(self, line: Line) -> tuple[float, float]:
        """Left end and width of a bar, in per cent."""
        assert line.value is not None  # noqa: S101 - the page draws no bar without a value
        at = self.axis.place(line.value)
        return min(at, self.zero), round(abs(at - self.zero), 2)

    def whisker(self, line: Line) -> tuple[float, float] | None:
        """Left end and width of the interval, in per cent; None where there is none."""
        if line.low is None or line.high is None:
            return None
        low, high = self.axis.place(line.low), self.axis.place(line.high)
        return low, round(high - low, 2)


def axis_of(label: str, lines: Sequence[Line], *marks: float) -> Axis:
    """An axis from zero (or below) that holds all bars, their intervals and the marks."""
    ends = [end for line in lines for end in (line.value, line.low, line.high) if end is not None]
    low, high = min([0.0, *ends, *marks]), max([0.0, *ends, *marks])
    room = 0.04 * (high - low) or 0.5
    return Axis(label=label, low=low - room * (low < 0), high=high + room)
