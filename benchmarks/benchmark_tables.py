"""Tables and figures of the benchmark runs, for the documentation.

    python benchmarks/benchmark_tables.py table RUN [--metrics LABEL ...] [--decimals 2]
    python benchmarks/benchmark_tables.py ranks FILE.png RUN [RUN ...]
    python benchmarks/benchmark_tables.py agreement FILE.png RUN [RUN ...]
    python benchmarks/benchmark_tables.py cost FILE.png RUN --metric insertion
    python benchmarks/benchmark_tables.py same RUN OTHER

RUN is a folder that `sightline bench --plan benchmarks/plans/....toml` has made. `same` says how far the means of two
runs of the same methods on the same images are apart (another precision, say). Figures need matplotlib.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sightline.report.benchmark import numbers
from sightline.report.benchmark.numbers import Cell, Cells
from sightline.report.benchmark.results import Judge, Results
from sightline.studies import statistics

INK, SHADE = "#222222", "#9a9a9a"


def table(run: Path, wanted: Sequence[str], decimals: int) -> str:
    """Markdown, a table a model: means with their intervals, the best method bold, controls below."""
    results = Results(run)
    cells = numbers.cells(results)
    metrics = [results.metrics[label] for label in wanted or results.metrics]
    parts = []
    for model in results.models:
        lines = [f"| {model} | {' | '.join(m.title for m in metrics)} | ms |", f"|---|{'---:|' * (len(metrics) + 1)}"]
        for name, method in results.methods.items():
            found = [cells.get((model, m.label, name)) for m in metrics]
            if not any(found):
                continue
            shown = [_cell(cell, decimals) for cell in found]
            first = next(cell for cell in found if cell)
            time = "" if method.control else f"{1000 * first.seconds:.0f}"
            lines.append(f"| {f'*{name}*' if method.control else name} | {' | '.join(shown)} | {time} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(cell: Cell | None, decimals: int) -> str:
    if cell is None or math.isnan(cell.mean):
        return "-"
    mean = f"{cell.mean:.{decimals}f}"
    mark = " †" if cell.behind else ""
    ends = "" if math.isnan(cell.low) else f" [{cell.low:.{decimals}f}, {cell.high:.{decimals}f}]"
    return f"{f'**{mean}**' if cell.best else mean}{mark}{ends}"


def _ranks(results: Results, cells: Cells, model: str, metrics: Sequence[Judge]) -> np.ndarray:
    """(methods, metrics) places of all methods and controls: 1 is the best, ties share; NaN where nothing counts."""
    from scipy.stats import rankdata

    means = np.full((len(results.methods), len(metrics)), np.nan)
    for j, metric in enumerate(metrics):
        for i, name in enumerate(results.methods):
            cell = cells.get((model, metric.label, name))
            means[i, j] = math.nan if cell is None else -metric.better * round(cell.mean, 9)
    return np.stack([rankdata(column, nan_policy="omit") for column in means.T], axis=1)


def draw_ranks(file: Path, runs: Sequence[Path]) -> None:
    """Places of methods and controls by metric, a panel a network."""
    import matplotlib.pyplot as plt

    panels = []
    for run in runs:
        results = Results(run)
        cells = numbers.cells(results, resamples=200)
        panels += [(results, cells, model) for model in results.models]
    height = 1.9 + 0.2 * max(len(results.methods) for results, _, _ in panels)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.1 + 4.1 * len(panels), height), squeeze=False, constrained_layout=True
    )
    for place, (axis, (results, cells, model)) in enumerate(zip(axes[0], panels, strict=True)):
        metrics = [m for m in results.metrics.values() if m.family in ("faithfulness", "localisation", "complexity")]
        ranks, names = _ranks(results, cells, model, metrics), list(results.methods)
        axis.imshow(ranks, cmap="viridis_r", aspect="auto", vmin=1, vmax=len(names))
        for (i, j), rank in np.ndenumerate(ranks):
            if not math.isnan(rank):
                light = rank > 0.45 * len(names)
                axis.text(j, i, f"{rank:.0f}", ha="center", va="center", size=7, color="white" if light else INK)
        axis.set_title(model, size=10)
        axis.set_xticks(range(len(metrics)), [m.label for m in metrics], rotation=90, size=8)
        axis.set_yticks(range(len(names)), names if place == 0 else [], size=8)
        for label in axis.get_yticklabels():
            label.set_color(SHADE if label.get_text() in results.controls else INK)
        axis.axhline(len(names) - len(results.controls) - 0.5, color="white", linewidth=3)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.savefig(file, dpi=90)


def draw_agreement(file: Path, runs: Sequence[Path]) -> None:
    """Kendall's tau between the orders in which two metrics put the methods, controls apart; mean over networks."""
    import matplotlib.pyplot as plt

    frames = []
    for run in runs:
        results = Results(run)
        rows = results.rows.filter(~pl.col("method").is_in(results.controls))
        frames.append(statistics.agreement(statistics.table(rows, resamples=10), results.directions))
    taus = pl.concat(frames).group_by("a", "b", maintain_order=True).agg(pl.col("tau").mean())
    names = list(Results(runs[0]).metrics)
    grid = np.eye(len(names))
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
    figure.savefig(file, dpi=90)


def draw_cost(file: Path, run: Path, metric: str) -> None:
    """A metric with its interval against the time of an explanation, a panel a model."""
    import matplotlib.pyplot as plt

    results = Results(run)
    cells, judge = numbers.cells(results), results.metrics[metric]
    figure, axes = plt.subplots(
        1, len(results.models), figsize=(5.4 * len(results.models), 4.2), squeeze=False, constrained_layout=True
    )
    for axis, model in zip(axes[0], results.models, strict=True):
        for name, method in results.methods.items():
            cell = cells[model, metric, name]
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
    figure.savefig(file, dpi=90)


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
    verb.add_argument("--decimals", type=int, default=2)
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
            print(table(given.run, given.metrics, given.decimals))
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
