"""The table as CSV (everything, tidy), LaTeX (booktabs) and Markdown."""

import csv
import io
import math
import os
from collections.abc import Callable
from pathlib import Path

from sightline.errors import InputError
from sightline.report.benchmark import wording
from sightline.report.benchmark.boxes import Found
from sightline.report.benchmark.numbers import Cell, Cells
from sightline.report.benchmark.results import Judge, Results
from sightline.report.benchmark.tables import PARTLY, chance

_STATUSES = ("empty", "flat", "undefined", "refused", "error")
_BOXES = ("max_box_acc", "threshold", "held_out", "overlaps_mean")
_SUFFIXES = (".csv", ".tex", ".md")


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Check what a table is to be written as, before anything is computed.

    Raises:
        InputError: Neither `.csv`, `.tex` nor `.md`.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path}: the table is written as {', '.join(_SUFFIXES)}; end the file's name in one of them")


def text(path: str | os.PathLike[str], results: Results, cells: Cells, boxes: Found, protocol: str) -> str:
    """The table in the form that the file's ending names."""
    form = Path(path).suffix.lower()
    texts: dict[str, Callable[[Results, Cells, str], str]] = {".tex": as_latex, ".md": as_markdown}
    return as_csv(results, cells, boxes) if form == ".csv" else texts[form](results, cells, protocol)


def as_csv(results: Results, cells: Cells, boxes: Found) -> str:
    """One line a model, method and metric, with all digits; what is not defined is left empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("model", "method", "control", "metric", "better", "mean", "low", "high", "images", "rows", *_STATUSES)
    writer.writerow([*names, "best", "not_beyond", "first", "explain_seconds", "chance", *_BOXES])
    for (model, metric, method), cell in cells.items():
        judge, control = results.metrics[metric], results.methods[method].control
        numbers = ["" if math.isnan(v) else repr(v) for v in (cell.mean, cell.low, cell.high)]
        counts = [cell.others.get(status, 0) for status in _STATUSES]
        last = ["" if math.isnan(v) else repr(v) for v in (cell.first, cell.seconds, cell.chance)]
        box = boxes.get((model, metric, method), {})
        last += ["" if box.get(name) is None else repr(box[name]) for name in _BOXES]
        better = "up" if judge.better > 0 else "down"
        line = [model, method, int(control), metric, better, *numbers, cell.images, cell.rows, *counts]
        writer.writerow([*line, int(cell.best), " ".join(cell.behind) if cell.judged else "", *last])
    return out.getvalue()


def as_markdown(results: Results, cells: Cells, protocol: str) -> str:
    """A table a model: mean and 95 % interval, bold for the best; controls below a line of their own."""
    parts = []
    for model in results.models:
        metrics, methods = _there(results, cells, model)
        shown = {m.label: _texts(cells, model, m, _markdown_cell) for m in metrics}
        titles = ["method", *(_pipe(m.title) for m in metrics)]
        lines = [f"**{_pipe(model)}**", "", f"| {' | '.join(titles)} |", f"|---|{'---:|' * len(metrics)}"]
        for name in methods:
            label = f"*{_pipe(name)} (control)*" if results.methods[name].control else _pipe(name)
            lines.append(f"| {' | '.join([label, *(shown[m.label].get(name, '-') for m in metrics)])} |")
        if luck := _chance(cells, model, metrics):
            lines.append(f"| {' | '.join(['*chance*', *luck])} |")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, f"{_READING} † {_BEHIND}{_partly(cells)} {protocol}"]) + "\n"


def as_latex(results: Results, cells: Cells, protocol: str) -> str:
    """A `tabular` a model for the package booktabs; protocol as a comment and as a caption-ready line."""
    parts = [r"% needs \usepackage{booktabs}", *(f"% {line}" for line in protocol.splitlines())]
    for model in results.models:
        metrics, methods = _there(results, cells, model)
        shown = {m.label: _texts(cells, model, m, _latex_cell) for m in metrics}
        arrows = {1: r"$\uparrow$", -1: r"$\downarrow$"}
        titles = " & ".join(["method", *(f"{_tex(m.label)} {arrows[m.better]}" for m in metrics)])
        lines = [
            f"% {_tex(model)}",
            rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}",
            r"\toprule",
            rf"{titles} \\",
            r"\midrule",
        ]
        for i, name in enumerate(methods):
            control = results.methods[name].control
            if control and i and not results.methods[methods[i - 1]].control:
                lines.append(r"\midrule")
            label = rf"\emph{{{_tex(name)}}}" if control else _tex(name)
            lines.append(rf"{' & '.join([label, *(shown[m.label].get(name, '--') for m in metrics)])} \\")
        if luck := _chance(cells, model, metrics):
            lines.append(rf"\emph{{chance}} & {' & '.join(luck)} \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    parts.append(f"% {_READING} $^\\dagger$ {_BEHIND}{_partly(cells)}")
    return "\n".join(parts) + "\n"


_READING = "Mean over images [95 % interval over images]; bold: best method."
_BEHIND = "does not beat every control beyond the 95 % interval of the paired difference."


def _partly(cells: Cells) -> str:
    """Which methods stand on fewer images than others, as a sentence; empty where none does."""
    names = list(dict.fromkeys(method for (_, _, method), cell in cells.items() if cell.lacks))
    return f"{PARTLY} Here: {', '.join(names)}." if names else ""


def _there(results: Results, cells: Cells, model: str) -> tuple[list[Judge], list[str]]:
    metrics = {metric for (m, metric, _) in cells if m == model}
    methods = {method for (m, _, method) in cells if m == model}
    return [m for m in results.metrics.values() if m.label in metrics], [n for n in results.methods if n in methods]


def _chance(cells: Cells, model: str, metrics: list[Judge]) -> list[str]:
    """The level of luck a metric; empty where none has one."""
    columns = [{n: cell for (m, k, n), cell in cells.items() if (m, k) == (model, j.label)} for j in metrics]
    texts = [chance(column) for column in columns]
    return texts if any(text != "-" for text in texts) else []


def _texts(cells: Cells, model: str, metric: Judge, write: Callable[[Cell, int], str]) -> dict[str, str]:
    column = {name: cell for (m, k, name), cell in cells.items() if (m, k) == (model, metric.label)}
    digits = wording.decimals(column.values())
    return {name: write(cell, digits) for name, cell in column.items()}


def _parts(cell: Cell, digits: int) -> tuple[str, str]:
    low, high = wording.number(cell.low, digits), wording.number(cell.high, digits)
    return wording.number(cell.mean, digits), "" if math.isnan(cell.low) else f" [{low}, {high}]"


def _markdown_cell(cell: Cell, digits: int) -> str:
    mean, interval = _parts(cell, digits)
    return f"{f'**{mean}**' if cell.best else mean}{' †' if cell.behind else ''}{interval}"


def _latex_cell(cell: Cell, digits: int) -> str:
    mean, interval = _parts(cell, digits)
    bold = rf"\textbf{{{mean}}}" if cell.best else mean
    small = rf" {{\scriptsize{interval}}}" if interval else ""
    return bold + (r"$^\dagger$" if cell.behind else "") + small


def _pipe(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)
