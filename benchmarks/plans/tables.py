"""Tables and figures of the benchmark runs, for the documentation.

    python benchmarks/plans/tables.py table RUN [--metrics LABEL ...] [--matched] [--times]
    python benchmarks/plans/tables.py ranks FILE.png RUN [RUN ...]
    python benchmarks/plans/tables.py agreement FILE.png RUN [RUN ...]
    python benchmarks/plans/tables.py cost FILE.png RUN --metric insertion
    python benchmarks/plans/tables.py same RUN OTHER

RUN is a folder that `sightline bench --plan benchmarks/plans/....toml` has made. Methods that were judged on fewer
images than others are left out, for their means are not comparable; `--matched` keeps all methods and leaves out images
instead. `same` says how far the means of two runs of the same methods on the same images are apart (another precision,
say). Figures need matplotlib and Pillow.
"""

import argparse
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sightline.report.benchmark import numbers, wording
from sightline.report.benchmark.numbers import Cell, Cells
from sightline.report.benchmark.results import Judge, Results
from sightline.studies import statistics

INK, SHADE = "#222222", "#9a9a9a"


def read(run: Path, *, matched: bool = False) -> Results:
    """A run of which all methods were judged on the same images, for each model."""
    results, parts = Results(run), []
    for model in results.models:
        rows = results.rows.filter(pl.col("model") == model)
        seen = rows.group_by("method").agg(pl.col("image").unique())
        images = {method: set(names) for method, names in seen.iter_rows()}
        if matched:
            rows = rows.filter(pl.col("image").is_in(list(set.intersection(*images.values()))))
        else:
            most = max(map(len, images.values()))
            rows = rows.filter(pl.col("method").is_in([m for m, names in images.items() if len(names) == most]))
        parts.append(rows)
    results.__dict__["rows"] = pl.concat(parts)  # in the place of the cached property
    return results


def table(results: Results, wanted: Sequence[str], *, times: bool = False) -> str:
    """Markdown, a table a model: means with their intervals, the best method bold, controls below."""
    cells = numbers.cells(results)
    metrics = [results.metrics[label] for label in wanted or results.metrics]
    parts = []
    for model in results.models:
        digits = {m.label: wording.decimals(c for k, c in cells.items() if k[:2] == (model, m.label)) for m in metrics}
        images = results.rows.filter(pl.col("model") == model)["image"].n_unique()
        titles = [m.title for m in metrics] + ["ms"] * times
        lines = [f"| {model}, {images} images | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
        for name, method in results.methods.items():
            found = [cells.get((model, m.label, name)) for m in metrics]
            if not any(found):
                continue
            shown = [_cell(cell, digits[m.label]) for cell, m in zip(found, metrics, strict=True)]
            if times:
                first = next(cell for cell in found if cell)
                shown.append("" if method.control else f"{1000 * first.seconds:.0f}")
            lines.append(f"| {f'*{name}*' if method.control else name} | {' | '.join(shown)} |")
        if (luck := _chance(cells, model, metrics, digits)) is not None:
            lines.append(luck + " |" * times)
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _chance(cells: Cells, model: str, metrics: Sequence[Judge], digits: Mapping[str, int]) -> str | None:
    """A line with what luck gives, where a metric knows it."""
    found = []
    for metric in metrics:
        known = [c.chance for k, c in cells.items() if k[:2] == (model, metric.label) and not math.isnan(c.chance)]
        found.append(f"{max(known):.{digits[metric.label]}f}" if known else "")
    return f"| *chance* | {' | '.join(found)} |" if any(found) else None


def _cell(cell: Cell | None, decimals: int) -> str:
    if cell is None or math.isnan(cell.mean):
        return "-"
    mean = f"{cell.mean:.{decimals}f}"
    mark = " †" if cell.behind else ""
    ends = "" if math.isnan(cell.low) else f"<br><small>{cell.low:.{decimals}f}–{cell.high:.{decimals}f}</small>"
    return f"{f'**{mean}**' if cell.best else mean}{mark}{ends}"


def _ranks(names: Sequence[str], cells: Cells, model: str, metrics: Sequence[Judge]) -> np.ndarray:
    """(methods, metrics) places of all methods and controls: 1 is the best, ties share; NaN where nothing counts."""
    from scipy.stats import rankdata

    means = np.full((len(names), len(metrics)), np.nan)
    for j, metric in enumerate(metrics):
        for i, name in enumerate(names):
            cell = cells.get((model, metric.label, name))
            means[i, j] = math.nan if cell is None else -metric.better * round(cell.mean, 9)
    return np.stack([rankdata(column, nan_policy="omit") for column in means.T], axis=1)


def draw_ranks(file: Path, runs: Sequence[Path]) -> None:
    """Places of methods and controls by metric, a panel a network."""
    import matplotlib.pyplot as plt

    panels = []
    for run in runs:
        results = read(run)
        cells = numbers.cells(results, resamples=200)
        panels += [(results, cells, model) for model in results.models]
    there = dict.fromkeys(k[2] for results, cells, _ in panels for k in cells)
    names = [n for n in panels[0][0].methods if n in there]
    controls = panels[0][0].controls
    size = (2.1 + 4.1 * len(panels), 1.9 + 0.2 * len(names))
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, constrained_layout=True)
    for place, (axis, (results, cells, model)) in enumerate(zip(axes[0], panels, strict=True)):
        metrics = list(results.metrics.values())
        ranks = _ranks(names, cells, model, metrics)
        axis.imshow(ranks, cmap="viridis_r", aspect="auto", vmin=1, vmax=len(names))
        for (i, j), rank in np.ndenumerate(ranks):
            if not math.isnan(rank):
                light = rank > 0.45 * len(names)
                axis.text(j, i, f"{rank:.0f}", ha="center", va="center", size=7, color="white" if light else INK)
        axis.set_title(model, size=10)
        axis.set_xticks(range(len(metrics)), [m.label for m in metrics], rotation=90, size=8)
        axis.set_yticks(range(len(names)), names if place == 0 else [], size=8)
        for label in axis.get_yticklabels():
            label.set_color(SHADE if label.get_text() in controls else INK)
        axis.axhline(len(names) - len(controls) - 0.5, color="white", linewidth=3)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    """As PNG of few colours: a quarter of the size, and nothing is lost to the eye."""
    from PIL import Image

    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=90)
    Image.open(data).convert("RGB").quantize(64).save(file, optimize=True)


def draw_agreement(file: Path, runs: Sequence[Path]) -> None:
    """Kendall's tau between the orders in which two metrics put the methods, controls apart; mean over networks."""
    import matplotlib.pyplot as plt

    frames = []
    for run in runs:
        results = read(run)
        rows = results.rows.filter(~pl.col("method").is_in(results.controls))
        frames.append(statistics.agreement(statistics.table(rows, resamples=10), results.directions))
    taus = pl.concat(frames).group_by("a", "b", maintain_order=True).agg(pl.col("tau").mean())
    names = list(dict.fromkeys(label for run in runs for label in Results(run).metrics))
    grid = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(grid, 1)
    for a, b, tau in taus.iter_rows():
        grid[names.index(a), names.index(b)] = grid[names.index(b), names.index(a)] = np.nan if tau is None else tau
    side = 2.2 + 0.36 * len(names)
    figure, axis = plt.subplots(figsize=(side, side - 0.4), constrained_layout=True)
    axis.imshow(grid, cmap="RdBu", vmin=-1, vmax=1)
    for (i, j), tau in np.ndenumerate(grid):
        if not math.isnan(tau):
            axis.text(
                j, i, f"{100 * tau:.0f}", ha="center", va="center", size=7, color="white" if tau**2 > 0.4 else INK
            )
    axis.set_xticks(range(len(names)), names, rotation=90, size=8)
    axis.set_yticks(range(len(names)), names, size=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    _save(figure, file)


def draw_cost(file: Path, run: Path, metric: str) -> None:
    """A metric with its interval against the time of an explanation, a panel a model."""
    import matplotlib.pyplot as plt

    results = read(run)
    cells, judge = numbers.cells(results), results.metrics[metric]
    figure, axes = plt.subplots(
        1, len(results.models), figsize=(5.4 * len(results.models), 4.2), squeeze=False, constrained_layout=True
    )
    for axis, model in zip(axes[0], results.models, strict=True):
        for name, method in results.methods.items():
            cell = cells.get((model, metric, name))
            if cell is None:
                continue
            if method.control:
                axis.axhline(cell.mean, color=SHADE, linewidth=0.8, linestyle=":", zorder=0)
                axis.text(1.01, cell.mean, name, size=7, color=SHADE, va="center", transform=axis.get_yaxis_transform())
                continue
            ends = [[cell.mean - cell.low], [cell.high - cell.mean]]
            axis.errorbar(1000 * cell.seconds, cell.mean, ends, fmt="o", markersize=4, linewidth=1, color="#0b6e99")
            axis.annotate(
                name.split(" (")[0], (1000 * cell.seconds, cell.mean), (4, 3), size=7, textcoords="offset points"
            )
        axis.set_xscale("log")
        axis.set_xlabel("ms an explanation")
        axis.set_ylabel(judge.title)
        axis.set_title(model, size=10)
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def same(run: Path, other: Path) -> str:
    """How far the means of two runs are apart, on the images of both, and beside the spread between methods."""
    first, second = Results(run), Results(other)
    keys = ["model", "image", "method", "metric"]
    both = first.rows.join(second.rows.select(*keys, "value", "status"), on=keys, suffix="_other")
    both = both.filter((pl.col("status") == "ok") & (pl.col("status_other") == "ok"))
    means = both.group_by("model", "metric", "method").agg(pl.col("value", "value_other").mean())
    lines = [
        f"{both['image'].n_unique()} images",
        "| model | metric | largest | mean | spread | tau |",
        "|---|---|---|---|---|---|",
    ]
    from scipy.stats import kendalltau

    for (model, metric), group in sorted(means.group_by("model", "metric"), key=lambda g: g[0]):
        a, b = group["value"].to_numpy(), group["value_other"].to_numpy()
        tau = float(kendalltau(a, b).statistic)
        away = np.abs(a - b)
        lines.append(f"| {model} | {metric} | {away.max():.4f} | {away.mean():.4f} | {a.std():.4f} | {tau:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("table")
    verb.add_argument("run", type=Path)
    verb.add_argument("--metrics", nargs="+", default=[])
    verb.add_argument("--matched", action="store_true", help="all methods, on the images that all of them have")
    verb.add_argument("--times", action="store_true", help="a last column: milliseconds an explanation")
    for name in ("ranks", "agreement"):
        verb = verbs.add_parser(name)
        verb.add_argument("file", type=Path)
        verb.add_argument("runs", type=Path, nargs="+")
    verb = verbs.add_parser("cost")
    verb.add_argument("file", type=Path)
    verb.add_argument("run", type=Path)
    verb.add_argument("--metric", default="insertion")
    verb = verbs.add_parser("same")
    verb.add_argument("run", type=Path)
    verb.add_argument("other", type=Path)
    given = parser.parse_args()
    match given.verb:
        case "table":
            print(table(read(given.run, matched=given.matched), given.metrics, times=given.times))
        case "ranks":
            draw_ranks(given.file, given.runs)
        case "agreement":
            draw_agreement(given.file, given.runs)
        case "cost":
            draw_cost(given.file, given.run, given.metric)
        case "same":
            print(same(given.run, given.other))


if __name__ == "__main__":
    main()
