"""The measure over the share of pixels: own maps, others by what differs, and controls; then target by target."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.report.chart import Axis, Chart, Charts, Series
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.page import Block, Choice, Section
from sightline.studies.generalising.statistics._drawn import differs, pairs_by_difference
from sightline.studies.statistics.intervals import divide

if TYPE_CHECKING:
    from sightline.studies.generalising.statistics import Curves

    Array = np.ndarray[Any, Any]

OWN = "its own map"
_Z = 1.96


def of_curves(figures: Figures) -> Section:
    """Charts: the mean over targets, and a choice of targets."""
    options = [(view.label, _of_view(figures, view)) for view in figures.by_method]
    lead = (
        "What is left of a decision when only the top pixels of a map are shown (or when they are removed). Sources "
        "whose curve is near that of its own map carry over; controls that come as near need no model for it."
    )
    return Section(title="Curves", lead=lead, blocks=[Choice(label="figures", options=options)])


def _of_view(figures: Figures, view: View) -> list[Block]:
    curves = figures.curves(view)
    targets = [(f"{figures.number(t)} {t}", [_target(figures, view, curves, t)]) for t in figures.members]
    return [_mean(view, curves), Choice(label="target", options=targets)]


def _mean(view: View, curves: "Curves") -> Charts:
    """The mean over targets; of others by what differs."""
    values, t = curves.values, np.arange(len(curves.targets))
    lines = {OWN: _over_targets(values[:, t, t])}  # (N, Q)
    for group, pairs in pairs_by_difference(curves.targets, curves.factors, None).items():
        lines[words.differing(group)] = _over_targets(values[:, pairs[:, 0], pairs[:, 1]])
    controls = {name: _over_targets(values[:, curves.source(name)]) for name in curves.controls}
    picked = [OWN, *list(lines)[1:4], "random"]
    note = f"{_protocol(view, curves)} Bands: 95 % interval over images of each point (mean -+ 1.96 standard errors)."
    chart = _chart(f"The mean over {len(t)} targets", view, curves, lines, controls, picked)
    return Charts(items=[chart], title=view.label, note=note)


def _target(figures: Figures, view: View, curves: "Curves", target: str) -> Charts:
    """One target under every source."""
    t = curves.targets.index(target)
    others = [s for s in figures.members if s != target]
    lines = {OWN: curves.values[:, t, t]} | {s: curves.values[:, curves.source(s), t] for s in others}
    controls = {name: curves.values[:, curves.source(name), t] for name in curves.controls}
    unaltered = _unaltered(curves, t)
    what = {s: words.differing(differs(curves.factors[s], curves.factors[target])) for s in others}
    chart = _chart(f"{target} under each map", view, curves, lines, controls, [OWN, *_apart(others, what), "random"])
    text = f"On unaltered images {view.measure} is {unaltered}. Press a name below to see its curve."
    return Charts(items=[chart], text=text)


def _unaltered(curves: "Curves", t: int) -> str:
    known = curves.unaltered[:, t][~np.isnan(curves.unaltered[:, t])]
    return words.number(float(known.mean())) if known.size else "not known"


def _apart(others: Sequence[str], what: Mapping[str, str]) -> list[str]:
    """The first source of each difference, up to three of them."""
    first: dict[str, str] = {}
    for source in others:
        first.setdefault(what[source], source)
    return list(first.values())[:3]


def _chart(
    title: str,
    view: View,
    curves: "Curves",
    lines: Mapping[str, "Array"],
    controls: Mapping[str, "Array"],
    picked: Sequence[str],
) -> Chart:
    series = [
        _series(name, curves.levels, values, name in controls, name in picked)
        for name, values in {**lines, **controls}.items()
        if not np.isnan(values).all(0).any()
    ]
    ends = [end for one in series for end in (*one.y, *one.low, *one.high)]
    low, high = max(0.0, math.floor(20 * min(ends)) / 20), min(1.0, math.ceil(20 * max(ends)) / 20)
    middle = len(curves.levels) // 2
    said = "; ".join(f"{one.name} {one.y[middle]:.2f}" for one in series if one.picked)
    first, last = curves.levels[0], curves.levels[-1]
    log = len(curves.levels) > 1 and last / first > 8
    x = Axis(
        label=f"top pixels {'kept' if view.mode == 'keep' else 'removed'}, %{' (logarithmic)' if log else ''}",
        low=first if last > first else 0.0,
        high=last,
        log=log,
    )
    return Chart(
        title=title,
        alt=f"{view.measure} over the share of pixels. At {curves.levels[middle]:g} %: {said}.",
        x=x,
        y=Axis(label=view.measure, low=low, high=high if high > low else low + 0.05),
        series=series,
    )


def _over_targets(values: "Array") -> "Array":
    """(N, Q) means of (N, targets, Q) over the targets that have a value."""
    there = ~np.isnan(values)
    return divide(np.where(there, values, 0.0).sum(1), there.sum(1).astype(np.float64))


def _series(name: str, levels: Sequence[float], values: "Array", control: bool, picked: bool) -> Series:
    mean, there = np.nanmean(values, 0), (~np.isnan(values)).sum(0)
    more: dict[str, Any] = {}
    if there.min() > 1:
        error = _Z * np.nanstd(values, 0, ddof=1) / np.sqrt(there)
        more = {"low": np.clip(mean - error, 0, 1).tolist(), "high": np.clip(mean + error, 0, 1).tolist()}
    return Series(name=name, x=list(levels), y=mean.tolist(), control=control, picked=picked, **more)


def _protocol(view: View, curves: "Curves") -> str:
    return f"{len(curves.images):,} images; what is not shown is {view.fill}."
