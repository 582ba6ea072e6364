"""The table of the L-CAM papers (arXiv 2209.11189) from a run: AD and IC at 100, 50 and 15 %, forward passes, time."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import InputError
from sightline.report.benchmark.export import _tex
from sightline.report.exported import write_text
from sightline.studies import statistics
from sightline.studies.benchmarking.protocols import KEEPS, LCAM

if TYPE_CHECKING:
    import polars

PASSES = "passes.json"
_COUNTED = ("ok", "empty", "flat")  # the papers average over all images; an empty map is a black image there
_COLUMNS = tuple(f"{what}{keep:.0%}"[:-1] for keep in KEEPS for what in ("AD", "IC"))


@dataclass(frozen=True, kw_only=True)
class Line:
    """A method of a model.

    Attributes:
        cells: Column -> mean, low, high in percent; NaN where nothing counts.
        passes: FW; None where it is not known.
        seconds: An explanation.
        empty: Rows whose map is empty; they count, as a black image does.
        images: How many.
    """

    model: str
    method: str
    control: bool
    cells: Mapping[str, tuple[float, float, float]]
    passes: float | None
    seconds: float
    empty: int
    images: int


def lines(
    rows: "polars.DataFrame", manifest: Mapping[str, Any], passes: Mapping[tuple[str, str], float], **settings: Any
) -> list[Line]:
    """The lines of the table, methods first.

    Args:
        rows: Of a benchmark that judged by the preset's metrics.
        manifest: Its manifest.
        passes: (model, label) -> forward passes a map; see `protocols.forward_passes`.
        settings: Of `statistics.table`.

    Raises:
        InputError: The run does not have the metrics of the preset.
    """
    import polars as pl

    labels = _labels(manifest)
    mine = rows.filter(pl.col("metric").is_in(list(labels)))
    frame = statistics.table(mine, statuses=_COUNTED, **settings)
    known = {(c["model"], c["method"], labels[c["metric"]]): c for c in frame.iter_rows(named=True)}
    found = []
    for model in manifest["models"]:
        for method in sorted(manifest["methods"], key=lambda m: m["control"]):
            label = method["label"]
            cells = {name: known[model, label, name] for name in _COLUMNS if (model, label, name) in known}
            if not cells:
                continue
            first = next(iter(cells.values()))
            found.append(
                Line(
                    model=model,
                    method=label,
                    control=bool(method["control"]),
                    cells={name: _percent(cell) for name, cell in cells.items()},
                    passes=passes.get((model, label)),
                    seconds=first["explain_seconds"],
                    empty=first["empty"],
                    images=first["images"],
                )
            )
    return found


def _labels(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Label of a metric in the run -> column, by its settings: other labels do not matter."""
    names = {"average-drop": "AD", "increase-in-confidence": "IC"}
    found = {
        m["label"]: f"{names[m['name']]}{m['settings']['keep']:.0%}"[:-1]
        for m in manifest["metrics"]
        if m["name"] in names and m["settings"]["keep"] in KEEPS and m["settings"]["space"] == "pixels"
    }
    if missing := [name for name in _COLUMNS if name not in found.values()]:
        raise InputError(
            f"the run lacks {', '.join(missing)} of the L-CAM table; run `sightline bench` with --protocol lcam"
        )
    return found


def _percent(cell: Mapping[str, Any]) -> tuple[float, float, float]:
    mean, low, high = (math.nan if cell[name] is None else 100 * cell[name] for name in ("mean", "low", "high"))
    return mean, low, high


def as_markdown(found: list[Line], note: str) -> str:
    """A table a model; bold: the best method of a column, controls apart."""
    parts = [LCAM.title + "."]
    for model in dict.fromkeys(line.model for line in found):
        mine = [line for line in found if line.model == model]
        best = _best(mine)
        titles = ["method", *(f"{name} {'↓' if name[0] == 'A' else '↑'}" for name in _COLUMNS), "FW", "seconds"]
        parts.append(f"**{model}**, {mine[0].images} images\n")
        rows = [titles, ["---", *("---:" for _ in titles[1:])]]
        for line in mine:
            name = f"*{line.method}*" if line.control else line.method
            texts = [_markdown(line.cells.get(c), bold=(line.method, c) in best) for c in _COLUMNS]
            rows.append([name.replace("|", "\\|"), *texts, _passes(line), _seconds(line)])
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")
        parts += _empties(mine)
    return "\n".join([*parts, f"{_READING} {note}"]) + "\n"


def as_latex(found: list[Line], note: str) -> str:
    """A `tabular` a model for the package booktabs."""
    parts = [r"% needs \usepackage{booktabs}", f"% {LCAM.title}"]
    for model in dict.fromkeys(line.model for line in found):
        mine = [line for line in found if line.model == model]
        best = _best(mine)
        arrows = {"A": r"$\downarrow$", "I": r"$\uparrow$"}
        titles = [f"{name}{arrows[name[0]]}" for name in _COLUMNS]
        parts += [f"% {_tex(model)}, {mine[0].images} images", rf"\begin{{tabular}}{{l{'r' * 8}}}", r"\toprule"]
        parts += [rf"method & {' & '.join(titles)} & FW & s \\", r"\midrule"]
        for i, line in enumerate(mine):
            if line.control and i and not mine[i - 1].control:
                parts.append(r"\midrule")
            name = rf"\emph{{{_tex(line.method)}}}" if line.control else _tex(line.method)
            texts = [_latex(line.cells.get(c), bold=(line.method, c) in best) for c in _COLUMNS]
            parts.append(rf"{' & '.join([name, *texts, _passes(line), _seconds(line)])} \\")
        parts += [r"\bottomrule", r"\end{tabular}", *(f"% {text}" for text in _empties(mine))]
    return "\n".join([*parts, f"% {_READING} {note}"]) + "\n"


_READING = (
    "Mean over images in percent [95 % interval over images]; bold: best method; in italics: controls. All maps count, "
    "an empty one as a black image. FW: forward passes a map; seconds: a map, on this machine."
)


def _empties(mine: list[Line]) -> list[str]:
    empty = [f"{line.empty} of {line.method}" for line in mine if line.empty]
    most = max(line.images for line in mine)
    fewer = [f"{line.method} ({line.images})" for line in mine if line.images < most]
    texts = [f"Empty maps: {', '.join(empty)}.\n"] if empty else []
    return texts + ([f"On fewer than {most} images, so not compared for bold: {', '.join(fewer)}.\n"] if fewer else [])


def _best(mine: list[Line]) -> set[tuple[str, str]]:
    """(method, column) of the best mean of the methods on all images, rounded as shown."""
    found: set[tuple[str, str]] = set()
    most = max(line.images for line in mine)
    for column in _COLUMNS:
        sign = -1 if column[0] == "A" else 1
        means = {
            line.method: round(line.cells[column][0], 2)
            for line in mine
            if not line.control
            and line.images == most
            and column in line.cells
            and not math.isnan(line.cells[column][0])
        }
        if means:
            top = max(sign * mean for mean in means.values())
            found |= {(method, column) for method, mean in means.items() if sign * mean == top}
    return found


def _markdown(cell: tuple[float, float, float] | None, *, bold: bool) -> str:
    if cell is None or math.isnan(cell[0]):
        return "-"
    mean = f"**{cell[0]:.2f}**" if bold else f"{cell[0]:.2f}"
    return mean if math.isnan(cell[1]) else f"{mean} [{cell[1]:.1f}, {cell[2]:.1f}]"


def _latex(cell: tuple[float, float, float] | None, *, bold: bool) -> str:
    if cell is None or math.isnan(cell[0]):
        return "--"
    mean = rf"\textbf{{{cell[0]:.2f}}}" if bold else f"{cell[0]:.2f}"
    return mean if math.isnan(cell[1]) else rf"{mean} {{\scriptsize[{cell[1]:.1f}, {cell[2]:.1f}]}}"


def _passes(line: Line) -> str:
    return "-" if line.passes is None else f"{line.passes:.0f}"


def _seconds(line: Line) -> str:
    return f"{line.seconds:.3g}"


def write_passes(run: str | os.PathLike[str], passes: Mapping[tuple[str, str], float]) -> None:
    """Keep the counts beside the run: a report is made without the models."""
    write_text(Path(run) / PASSES, json.dumps([[*key, count] for key, count in passes.items()]))


def read_passes(run: str | os.PathLike[str]) -> dict[tuple[str, str], float]:
    """What `write_passes` wrote; nothing where it did not."""
    path = Path(run) / PASSES
    if not path.is_file():
        return {}
    return {(model, label): float(count) for model, label, count in json.loads(path.read_text(encoding="utf-8"))}


def write(run: str | os.PathLike[str], found: list[Line], note: str) -> list[Path]:
    """Write `lcam.md` and `lcam.tex` into the run's folder.

    Raises:
        StorageError: They cannot be written.
    """
    texts = {"lcam.md": as_markdown(found, note), "lcam.tex": as_latex(found, note)}
    return [write_text(Path(run) / name, text) for name, text in texts.items()]
