"""The tables: methods x metrics with intervals and what does not beat the controls, how sure the order is, classes."""

import math
from collections.abc import Mapping, Sequence

from sightline.report.benchmark import wording
from sightline.report.benchmark.numbers import FEWEST, Cell, Cells
from sightline.report.benchmark.results import Judge, Results
from sightline.report.page import Bar, Callout, Estimate, Table

_WAYS = {1: "up", -1: "down"}


def of_family(
    results: Results, cells: Cells, model: str, family: str, picked: Sequence[str], protocol: str
) -> tuple[Table, Callout | None]:
    """The metrics of one family, and in words which methods do not beat the controls; None where there is none."""
    metrics = [m for m in results.families[family] if any((model, m.label, name) in cells for name in results.methods)]
    columns = {m.label: _column(cells, model, m.label) for m in metrics}
    methods = [name for name in results.methods if any(name in column for column in columns.values())]
    shown = {m.label: _shown(columns[m.label]) for m in metrics}
    rows = [[name, *(shown[m.label].get(name, "-") for m in metrics)] for name in methods]
    luck = ["chance", *(chance(columns[m.label]) for m in metrics)]
    more = [luck] if any(cell != "-" for cell in luck[1:]) else []
    partly = any(cell.lacks for column in columns.values() for cell in column.values())
    table = Table(
        caption=f"{model}: {family}",
        columns=["method", *(m.title for m in metrics)],
        rows=[*rows, *more],
        controls=[i for i in range(len(rows) + len(more)) if i >= len(rows) or results.methods[methods[i]].control],
        sort=["words", *(_WAYS[m.better] for m in metrics)],
        keys=[*methods, *("" for _ in more)],
        picked=picked,
        note=f"{_READING}{_CHANCE * len(more)}{PARTLY * partly} {protocol}",
    )
    return table, _callout(columns, metrics)


_READING = (
    "Mean over images, bar: 95 % bootstrap interval over images (rates: Wilson's) on a scale from the least to the "
    'greatest value of the column; bold: best mean of the methods; shaded: controls. "Not beyond" a control: the '
    "95 % interval of the paired difference reaches zero."
)
PARTLY = " A method that lacks images that others have is not compared for bold: its mean is of other images."
_CHANCE = " Chance: what a map without information gets on average on these rows."


def chance(column: Mapping[str, Cell]) -> str:
    """The level that luck gives, from the least to the greatest where methods were judged on other rows."""
    known = [cell for cell in column.values() if not math.isnan(cell.chance)]
    digits = wording.decimals(known)
    ends = [wording.number(end(c.chance for c in known), digits) for end in (min, max)] if known else ["-"]
    return " to ".join(dict.fromkeys(ends))


def _column(cells: Cells, model: str, metric: str) -> dict[str, Cell]:
    return {name: cell for (m, k, name), cell in cells.items() if (m, k) == (model, metric)}


def _shown(column: Mapping[str, Cell]) -> dict[str, Estimate | str]:
    digits = wording.decimals(column.values())
    ends = [end for c in column.values() for end in (c.low, c.mean, c.high) if not math.isnan(end)]
    least, greatest = min(ends, default=0.0), max(ends, default=1.0)
    wide = greatest - least or 1.0
    return {name: _cell(cell, digits, least, wide) for name, cell in column.items()}


def _cell(cell: Cell, digits: int, least: float, wide: float) -> Estimate | str:
    missing = ", ".join(f"{count} {status}" for status, count in cell.others.items())
    if math.isnan(cell.mean):
        return missing or "-"
    notes = [f"not beyond {wording.listed(cell.behind, most=2)}"] if cell.behind else []
    if missing:
        notes.append(f"without {missing}")
    if cell.lacks:
        notes.append(f"lacks {wording.many(cell.lacks, 'image')}")
    if math.isnan(cell.low):
        notes.append(wording.many(cell.images, "image") + " only")
    low, high = (cell.mean, cell.mean) if math.isnan(cell.low) else (cell.low, cell.high)
    detail = f"{wording.interval(cell, digits)}; {wording.counts(cell)}"
    if cell.behind:
        detail += f"; not beyond {', '.join(cell.behind)}"
    return Estimate(
        text=wording.number(cell.mean, digits),
        value=cell.mean,
        mean=(cell.mean - least) / wide,
        low=(low - least) / wide,
        high=(high - least) / wide,
        detail=detail,
        note="; ".join(notes),
        best=cell.best,
    )


def _callout(columns: Mapping[str, Mapping[str, Cell]], metrics: Sequence[Judge]) -> Callout | None:
    """In words: which methods do not beat which controls."""
    judged = {m.label: [name for name, cell in columns[m.label].items() if cell.judged] for m in metrics}
    if not any(judged.values()):
        return None
    parts = []
    for metric in metrics:
        column, names = columns[metric.label], judged[metric.label]
        behind = [name for name in names if column[name].behind]
        if not names:
            continue
        if not behind:
            parts.append(f"{metric.label}: every method beats every control.")
        elif len(behind) == len(names):
            common = set.intersection(*(set(column[name].behind) for name in names))
            who = f"no method beats {wording.listed(sorted(common))}" if common else "no method beats all controls"
            parts.append(f"{metric.label}: {who}.")
        else:
            shown = [f"{name} (not {wording.listed(column[name].behind, most=3)})" for name in behind]
            parts.append(f"{metric.label}: {wording.listed(shown, most=6)}.")
    any_behind = any(column[name].behind for m, column in columns.items() for name in judged[m])
    if not any_behind:
        text = "Every method beats every control beyond the 95 % interval of the paired difference, image by image."
        return Callout(title="All methods beat the controls", text=text, tone="finding")
    text = "Beyond the 95 % interval of the paired difference, image by image:"
    return Callout(title="Which methods do not beat every control", text=text, items=parts, tone="warning")


def order(results: Results, cells: Cells, model: str, picked: Sequence[str], protocol: str) -> Table | None:
    """Share of resamples in which each method is first; None where no metric has two methods."""
    ours = [name for name, method in results.methods.items() if not method.control]
    metrics = [
        m for m in results.metrics.values()
        if sum(not math.isnan(c.first) for c in _column(cells, model, m.label).values()) > 1
    ]  # fmt: skip
    if not metrics:
        return None
    firsts = {m.label: {n: c.first for n, c in _column(cells, model, m.label).items()} for m in metrics}

    def bar(metric: Judge, name: str) -> Bar | str:
        share = firsts[metric.label].get(name, math.nan)
        return "-" if math.isnan(share) else Bar(share, f"{100 * share:.0f} %")

    rows = [[name, *(bar(m, name) for m in metrics)] for name in ours]
    return Table(
        caption=f"{model}: in which share of resamples each method comes first",
        columns=["method", *(m.title for m in metrics)],
        rows=[row for row in rows if any(cell != "-" for cell in row[1:])],
        keys=[row[0] for row in rows if any(cell != "-" for cell in row[1:])],  # type: ignore[misc]
        sort=["words", *("up" for _ in metrics)],
        picked=picked,
        note="Bootstrap over the images on which all methods have a value; 60 % says that the first place is a "
        f"toss-up. Controls take no part. {protocol}",
    )


def tally(results: Results) -> str:
    """How many images, methods, controls and metrics there are."""
    images = results.rows["image"].n_unique()
    controls = len(results.controls)
    parts = (
        wording.many(len(results.models), "model"),
        wording.many(images, "image"),
        wording.many(len(results.methods) - controls, "method"),
        wording.many(controls, "control"),
        wording.many(len(results.metrics), "metric"),
    )
    few = f" Fewer than {FEWEST} images: no intervals." if images < FEWEST else ""
    return f"{', '.join(parts)}; {len(results.rows):,} rows.{few}"
