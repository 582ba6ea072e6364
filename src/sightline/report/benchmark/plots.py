"""Curves over the share of pixels, and faithfulness against cost."""

import math
from collections.abc import Mapping, Sequence

from sightline.report.benchmark import wording
from sightline.report.benchmark.numbers import POINTS, Cell, Cells, Curve
from sightline.report.benchmark.results import Judge, Results
from sightline.report.chart import Axis, Chart, Charts, Series

_STEPS = {
    "insertion": "share of pixels put in, hottest first",
    "deletion": "share of pixels taken away, hottest first",
}
_BEST = 3


def pick(results: Results, cells: Cells) -> list[str]:
    """Who stands out at first: the best three methods and the best control of the first metric of the first model."""
    for model in results.models:
        for metric in results.metrics.values():
            found = [
                (metric.better * cells[key].mean, method)
                for method in results.methods
                if not math.isnan(cells.get(key := (model, metric.label, method), Cell(mean=math.nan)).mean)
            ]
            if found:
                ranked = [method for _, method in sorted(found, key=lambda one: -one[0])]
                controls = [m for m in ranked if results.methods[m].control]
                return [m for m in ranked if m not in controls][:_BEST] + controls[:1]
    return []


def curves(
    results: Results, found: Mapping[tuple[str, str, str], Curve], model: str, picked: Sequence[str], protocol: str
) -> Charts | None:
    """Mean curves of each metric that has them; None where there is none."""
    charts = []
    for metric in results.metrics.values():
        lines = {
            name: found[model, metric.label, name] for name in results.methods if (model, metric.label, name) in found
        }
        if lines:
            charts.append(_curves(results, metric, lines, picked))
    if not charts:
        return None
    images = {curve.images for (m, _, _), curve in found.items() if m == model}
    count = wording.many(max(images), "image") if len(images) == 1 else f"{min(images):,} to {max(images):,} images"
    return Charts(
        items=charts,
        title=model,
        note=f"Mean over {count}; bands: 95 % interval of each point (mean -+ 1.96 standard errors over images). "
        f"{protocol}",
    )


def _curves(results: Results, metric: Judge, lines: Mapping[str, Curve], picked: Sequence[str]) -> Chart:
    places = [i / (POINTS - 1) for i in range(POINTS)]
    series = [
        Series(
            name=name,
            x=places,
            y=curve.mean.tolist(),
            low=[] if math.isnan(curve.low[0]) else curve.low.tolist(),
            high=[] if math.isnan(curve.low[0]) else curve.high.tolist(),
            control=results.methods[name].control,
            picked=name in picked,
        )
        for name, curve in lines.items()
    ]
    ends = [end for one in series for end in (*one.y, *one.low, *one.high)]
    low, high = (0.0, 1.0) if min(ends) >= 0 and max(ends) <= 1 else padded(min(ends), max(ends))
    if low == 0 and max(ends) < 0.8:
        high = max(ends) * 1.05 or 1.0
    kind = next((text for name, text in _STEPS.items() if metric.label.startswith(name)), "share of the steps")
    area = metric.label.startswith(tuple(_STEPS))
    name = "mean probability" if area else f"mean of {metric.label}"
    last = "; ".join(f"{one.name} {one.y[POINTS // 2]:.2f}" for one in series if one.picked)
    return Chart(
        title=f"{metric.label} ({'area: ' * area}{'greater' if metric.better > 0 else 'less'} is better)",
        alt=f"Mean curves of {metric.label} of {len(series)} methods. Half way: {last or 'nobody is picked'}.",
        x=Axis(label=kind, low=0, high=1),
        y=Axis(label=name, low=low, high=high),
        series=_beneath(series),
    )


def padded(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis with a little room on both sides."""
    room = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    return low - room, high + room


def _beneath(series: Sequence[Series]) -> list[Series]:
    """The legend's order: methods, then controls, each as they stand in the table."""
    return sorted(series, key=lambda one: one.control)


def trade_off(
    results: Results, cells: Cells, model: str, metric: Judge, picked: Sequence[str], protocol: str
) -> Charts | None:
    """A metric against the time of an explanation; None where no method has both."""
    column = {
        name: cells[model, metric.label, name]
        for name in results.methods
        if (model, metric.label, name) in cells
        and not math.isnan(cells[model, metric.label, name].mean)
        and cells[model, metric.label, name].seconds > 0
    }
    if len(column) < 2:
        return None
    series = [
        Series(
            name=name,
            x=[cell.seconds],
            y=[cell.mean],
            low=[] if math.isnan(cell.low) else [cell.low],
            high=[] if math.isnan(cell.low) else [cell.high],
            control=results.methods[name].control,
            picked=name in picked,
        )
        for name, cell in column.items()
    ]
    ends = [end for one in series for end in (*one.y, *one.low, *one.high)]
    times = [one.x[0] for one in series]
    low, high = padded(min(ends), max(ends))
    front = frontier({n: c for n, c in column.items() if not results.methods[n].control}, metric.better)
    words = f"No other method is both faster and better than {wording.listed(front, most=8)}." if front else ""
    chart = Chart(
        title=f"{model}: {metric.title} against cost",
        alt=f"{metric.label} over the seconds an explanation takes, for {len(series)} methods. {words}",
        x=Axis(
            label="seconds an explanation (mean, logarithmic)", low=min(times) / 1.6, high=max(times) * 1.6, log=True
        ),
        y=Axis(
            label=f"mean {metric.label} ({'greater' if metric.better > 0 else 'less'} is better)", low=low, high=high
        ),
        series=_beneath(series),
        form="points",
    )
    note = (
        "Whiskers: 95 % interval over images; squares: controls. Seconds on the machine of the run, in its batches; "
        f"methods that share passes share their time. {protocol}"
    )
    return Charts(items=[chart], text=words, note=note)


def frontier(column: Mapping[str, Cell], better: int) -> list[str]:
    """Methods of which no other is at least as fast and as good, and one of both more; fastest first."""
    found, top = [], -math.inf
    for name, cell in sorted(column.items(), key=lambda one: (one[1].seconds, -better * one[1].mean)):
        if better * cell.mean > top:
            found.append(name)
            top = better * cell.mean
    return found
