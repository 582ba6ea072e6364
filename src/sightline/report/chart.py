"""Charts without a library: lines and points as SVG that stretches, words as HTML that does not.

A plotting library would make one page of numbers several megabytes large and needs scripts to draw. Here a chart is
some kilobytes, follows the page's colours (light, dark, print) and is there without a script.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sightline.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A scale.

    Attributes:
        label: What it measures, with the unit.
        low: The value at its beginning.
        high: The value at its end.
        log: Whether equal steps are equal factors; both ends must then be positive.
    """

    label: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"the axis {self.label!r} must go up from one finite value to another")
        if self.log and self.low <= 0:
            raise InputError(f"the axis {self.label!r} is logarithmic and must begin above zero, not at {self.low:g}")

    def place(self, value: float) -> float:
        """The position of a value in per cent of the axis; values beyond its ends lie on them."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(100 * share, 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions in per cent with round numbers, three to seven of them."""
        values = _decades(self.low, self.high) if self.log else _steps(self.low, self.high)
        return [(self.place(value), f"{value:.4g}") for value in values]


def _steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    least = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten; with twice and five times of each where there are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [factor * 10.0**i for i in decades for factor in factors]
        inside = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(inside) >= 3:
            break
    else:
        inside = inside or [low, high]
    every = math.ceil(len(inside) / 7)
    return inside[::every]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, one point with its uncertainty, or a cloud of points.

    Attributes:
        name: Who it is; picked by this name.
        x: Where.
        y: Values, as many as there are places.
        low: Lower ends of the intervals; as many as values, or none.
        high: Upper ends.
        control: Drawn in grey.
        picked: Whether it stands out at first.
        labels: Of a cloud, what each point is.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    control: bool = False
    picked: bool = False
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        counts = {len(self.x), len(self.y), *(len(end) for end in (self.low, self.high, self.labels) if end)}
        if len(counts) != 1 or not self.x or bool(self.low) != bool(self.high):
            raise InputError(f"the series {self.name!r} has places, values and intervals of different number")


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines or points over two axes.

    Attributes:
        title: What it shows.
        alt: What is to be seen, for those who do not see it.
        x: The axis to the right.
        y: The axis upwards.
        series: What is drawn; later ones on top.
        form: `lines` with bands, `points` (one a series) with whiskers, or `cloud` (many a series).
    """

    title: str
    alt: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    form: Literal["lines", "points", "cloud"] = "lines"

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("a chart needs a text (alt) for those who cannot see it")

    def line(self, series: Series) -> str:
        """The path of a series, in per cent of the axes, downwards."""
        return "M" + " ".join(self._points(series.x, series.y))

    def band(self, series: Series) -> str:
        """The outline of its intervals; of a point, a whisker."""
        forth, back = self._points(series.x, series.low), self._points(series.x, series.high)
        return "M" + " ".join(forth + back[::-1]) + "Z"

    def spots(self, series: Series) -> list[tuple[float, float, str]]:
        """(left, bottom, what it is) of each point, in per cent."""
        labels = series.labels or [series.name] * len(series.x)
        return [(self.x.place(x), self.y.place(y), it) for x, y, it in zip(series.x, series.y, labels, strict=True)]

    def _points(self, x: Sequence[float], y: Sequence[float]) -> list[str]:
        return [f"{self.x.place(a):g},{100 - self.y.place(b):g}" for a, b in zip(x, y, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Charts side by side with one legend.

    Attributes:
        items: The charts.
        title: A heading above them.
        text: A line below the heading.
        note: The protocol, small, below.
    """

    items: Sequence[Chart]
    title: str = ""
    text: str = ""
    note: str = ""
    kind: str = field(default="charts", init=False)

    @property
    def legend(self) -> list[Series]:
        """One series a name, in order of appearance."""
        return list({series.name: series for chart in self.items for series in chart.series}.values())

    def colour(self, name: str) -> str:
        """The hue and the dashes of a series: neighbours in the legend differ most."""
        at = [series.name for series in self.legend if not series.control]
        if name not in at:
            return "--hue: 0; --dash: 2 3"
        i = at.index(name)
        return f"--hue: {255 + 137.5 * i:.0f}; --dash: {('none', '7 3', '2 2.5')[i // 5 % 3]}"
