"""The decorator that puts a metric into its registry, and what a metric returns."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from torch import Tensor

from sightline.errors import MetricError
from sightline.registry import Paper, keyword_settings

Direction = Literal["up", "down"]
Status = Literal["ok", "empty", "flat", "undefined", "refused"]
Need = Literal["regions", "boxes", "explainer", "model", "signed"]
Function = TypeVar("Function", bound=Callable[..., Any])

FAMILIES = ("faithfulness", "localisation", "complexity", "robustness", "sanity", "segmentation", "composite")


@dataclass(frozen=True)
class Values:
    """What a metric returns.

    Attributes:
        value: (N,) float64; NaN where, and only where, the status is `undefined` or `refused`.
        status: N of `ok`, `empty` (the map has no energy), `flat` (it is constant), `undefined` (0/0 by the formula),
            `refused` (a precondition fails, no region for this image, say).
        curve: (N, P) float64 what the value was computed from, for metrics that have a curve.
        chance: (N,) float64 what a map without information gets on average, for metrics where it is known; NaN where
            the value is.
    """

    value: Tensor
    status: tuple[Status, ...]
    curve: Tensor | None = None
    chance: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A record of `sl.metrics()`.

    Attributes:
        name: Kebab-case name of the paper.
        family: The room it lies in: `faithfulness`, `localisation`, `complexity`, `robustness`, `sanity`, ...
        paper: The source.
        summary: One sentence.
        direction: Whether `up` or `down` is better.
        range: Lowest and highest value.
        cost: What a row costs in words, beyond the explanation itself.
        forwards: Settings and the size (H, W) -> forward passes a row, beyond the explanation itself.
        needs: Any of `regions` (a mask a row), `boxes`, `explainer` (it explains again), `model` (the inside of the
            classifier), `signed` (raw signed maps whose sum means something).
        settings: Keyword settings with their defaults.
        function: The code.
        decisions: The kinds of decision it applies to; empty for all.
        reversed_by: Settings under which the other direction is better.
    """

    name: str
    family: str
    paper: Paper | None
    summary: str
    direction: Direction
    range: tuple[float, float]
    cost: str
    forwards: Callable[[Mapping[str, Any], tuple[int, int]], int]
    needs: frozenset[Need]
    settings: Mapping[str, Any]
    function: Callable[..., Values]
    decisions: frozenset[str] = frozenset()
    reversed_by: Mapping[str, Any] = field(default_factory=dict)

    def better(self, settings: Mapping[str, Any]) -> Direction:
        """Whether `up` or `down` is better with these settings."""
        other = any(settings.get(name) == value for name, value in self.reversed_by.items())
        return self.direction if not other else "down" if self.direction == "up" else "up"


_METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    family: str,
    paper: Paper | None,
    summary: str,
    direction: Direction,
    range: tuple[float, float],
    cost: str = "none",
    forwards: int | Callable[[Mapping[str, Any], tuple[int, int]], int] = 0,
    needs: frozenset[Need] | set[Need] = frozenset(),
    decisions: frozenset[str] | set[str] = frozenset(),
    reversed_by: Mapping[str, Any] | None = None,
) -> Callable[[Function], Function]:
    """Register a function of a `Trial` that returns `Values`; keyword-only parameters are its settings."""

    def register(function: Function) -> Function:
        known = _METRICS.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise MetricError(f"the metric name {name!r} is taken by {known.function.__module__}; choose another one")
        count = forwards if callable(forwards) else lambda _settings, _size: forwards
        _METRICS[name] = Metric(
            name=name,
            family=family,
            paper=paper,
            summary=summary,
            direction=direction,
            range=range,
            cost=cost,
            forwards=count,
            needs=frozenset(needs),
            settings=keyword_settings(function),
            function=function,
            decisions=frozenset(decisions),
            reversed_by=dict(reversed_by or {}),
        )
        return function

    return register


def find(name: str) -> Metric:
    """The record of a metric.

    Raises:
        MetricError: No metric has this name; the text proposes the nearest ones.
    """
    if name in _METRICS:
        return _METRICS[name]
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), _METRICS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`sightline metrics` lists them"
    raise MetricError(f"there is no metric {name!r}; {hint}")


def everything() -> tuple[Metric, ...]:
    """All records, by family and name."""
    rank = {family: i for i, family in enumerate(FAMILIES)}
    return tuple(sorted(_METRICS.values(), key=lambda m: (rank.get(m.family, len(FAMILIES)), m.name)))


def check_settings(record: Metric, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings with the defaults of a metric.

    Raises:
        MetricError: The metric has no such setting.
    """
    unknown = [name for name in settings if name not in record.settings]
    if unknown:
        has = ", ".join(f"{k}={v!r}" for k, v in record.settings.items()) or "none"
        raise MetricError(f"{record.name} has no setting {unknown[0]!r}; it has: {has}")
    return {**record.settings, **settings}
