"""The numbers of the report, a cell at a time, and the mean curves; the statistics are `studies.statistics`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.report.benchmark.results import Results
from sightline.studies import statistics

if TYPE_CHECKING:
    import polars

FEWEST = 8
"""Images below which no interval is shown: a bootstrap of so few is too narrow."""
POINTS = 57
"""Places at which curves are drawn."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method under one metric.

    Attributes:
        mean: Over rows that are `ok`; NaN where there is none.
        low: Lower end of the 95 % interval over images; NaN below `FEWEST` images.
        high: Upper end.
        images: How many images the mean is of.
        rows: How many rows.
        others: How many rows do not count, by status.
        seconds: Mean time of an explanation; NaN where it is not known.
        behind: Controls that it does not beat beyond the 95 % interval of the paired difference.
        judged: Whether there were controls to compare with; never for a control itself.
        first: Share of bootstrap resamples in which it is the best method; NaN for controls.
        best: Whether its mean is the best of all methods that lack no image, unless all are equal; never for controls.
        lacks: How many of the images that other methods have it lacks: not done yet, or ended in an error.
        chance: What a map without information gets on average on the same rows; NaN where the metric has no such level.
    """

    mean: float
    low: float = math.nan
    high: float = math.nan
    images: int = 0
    rows: int = 0
    others: Mapping[str, int] = field(default_factory=dict)
    seconds: float = math.nan
    behind: tuple[str, ...] = ()
    judged: bool = False
    first: float = math.nan
    best: bool = False
    lacks: int = 0
    chance: float = math.nan


#: Cells by model, metric and method.
Cells = dict[tuple[str, str, str], Cell]


def cells(results: Results, *, resamples: int = statistics.RESAMPLES, seed: int = 0) -> Cells:
    """All means of a run."""
    import polars as pl

    rows, ways = results.rows, results.directions
    frame = statistics.table(rows, resamples=resamples, seed=seed)
    means = {(r["model"], r["metric"], r["method"]): r for r in frame.iter_rows(named=True)}
    judged: dict[tuple[str, str, str], list[str]] = {}
    if results.controls:
        found = statistics.against_controls(rows, results.controls, ways, resamples=resamples, seed=seed)
        judged = {(r["model"], r["metric"], r["method"]): r["not_beaten"] for r in found.iter_rows(named=True)}
    ours = rows.filter(~pl.col("method").is_in(results.controls))
    first = {}
    if len(ours):
        won = statistics.wins(ours, ways, resamples=resamples, seed=seed)
        first = {(r["model"], r["metric"], r["method"]): r["first"] for r in won.iter_rows(named=True)}
    lacks = _lacks(rows)
    top = _best(results, {key: line for key, line in means.items() if not lacks.get(key)})
    order = {label: i for i, label in enumerate(results.methods)}
    cell = {}
    for key in sorted(means, key=lambda key: order[key[2]]):
        sure = means[key]["images"] >= FEWEST
        behind = judged.get(key) if sure else None
        cell[key] = _cell(means[key], behind, first.get(key, math.nan), key in top, lacks.get(key, 0))
    return cell


def _cell(line: Mapping[str, object], behind: list[str] | None, first: float, best: bool, lacks: int) -> Cell:
    numbers = {name: line.get(name) for name in ("mean", "low", "high", "explain_seconds", "chance")}
    mean, low, high, seconds, chance = (math.nan if v is None else float(str(v)) for v in numbers.values())
    counted = {"ok", "flat"} if line["method"] in statistics.FLAT_BY_DESIGN else {"ok"}
    counts = {status: int(str(line[status])) for status in statistics.STATUSES if status not in counted}
    images = int(str(line["images"]))
    if images < FEWEST:
        low = high = math.nan
    return Cell(
        mean=mean,
        low=low,
        high=high,
        images=images,
        rows=int(str(line["rows"])),
        others={status: count for status, count in counts.items() if count},
        seconds=seconds,
        behind=tuple(behind or ()),
        judged=behind is not None,
        first=first,
        best=best,
        lacks=lacks,
        chance=chance,
    )


def _lacks(rows: "polars.DataFrame") -> dict[tuple[str, str, str], int]:
    """How many of the images of its model and metric each method lacks, where it lacks any."""
    import polars as pl

    done = rows.filter(pl.col("status") != "error")
    images = pl.col("image").n_unique()
    there = {tuple(row[:2]): row[2] for row in done.group_by("model", "metric").agg(images).iter_rows()}
    own = {tuple(row[:3]): row[3] for row in done.group_by("model", "metric", "method").agg(images).iter_rows()}
    asked = rows.select("model", "metric", "method").unique().iter_rows()
    lacks = {key: there.get(key[:2], 0) - own.get(key, 0) for key in asked}
    return {key: count for key, count in lacks.items() if count}


def _best(results: Results, means: Mapping[tuple[str, str, str], Mapping[str, object]]) -> set[tuple[str, str, str]]:
    """Keys of the best mean for each model and metric; several where they are equal, none where all are."""
    tops: dict[tuple[str, str], float] = {}
    least: dict[tuple[str, str], float] = {}
    turned: dict[tuple[str, str, str], float] = {}
    for key, line in means.items():
        model, metric, method = key
        if line["mean"] is not None and not results.methods[method].control:
            turned[key] = results.metrics[metric].better * float(str(line["mean"]))
            tops[model, metric] = max(tops.get((model, metric), -math.inf), turned[key])
            least[model, metric] = min(least.get((model, metric), math.inf), turned[key])
    alone = len({key[2] for key in turned}) == 1
    return {key for key, value in turned.items() if value == tops[key[:2]] and (alone or value > least[key[:2]])}


@dataclass(frozen=True)
class Curve:
    """A mean curve over images with the interval of each of its points.

    Attributes:
        mean: (POINTS,) at equal steps from the first to the last.
        low: mean - 1.96 s / sqrt(images), s the standard deviation between images; NaN below `FEWEST` images.
        high: mean + the same.
        images: How many.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    images: int


def curves(results: Results) -> dict[tuple[str, str, str], Curve]:
    """Mean curves by model, metric and method; read a part at a time."""
    sums: dict[tuple[str, str, str], NDArray[np.float64]] = {}
    for part in results.curves():
        for key, many in _of_part(part).items():
            grown = np.stack([np.full(POINTS, len(many)), many.sum(0), (many**2).sum(0)])
            sums[key] = sums.get(key, np.zeros((3, POINTS))) + grown
    found = {}
    for key, (count, total, squares) in sums.items():
        n, mean = count[0], total / count
        spread = np.sqrt(np.maximum(squares / n - mean**2, 0) / (n - 1)) if n > 1 else np.full(POINTS, math.nan)
        half = 1.96 * spread if n >= FEWEST else np.full(POINTS, math.nan)
        found[key] = Curve(mean, mean - half, mean + half, int(n))
    return found


def _of_part(part: "polars.DataFrame") -> dict[tuple[str, str, str], NDArray[np.float64]]:
    """For each model, metric and method one curve an image (the mean of its rows) at `POINTS` places."""
    grouped: dict[tuple[str, str, str], dict[str, list[NDArray[np.float64]]]] = {}
    for model, image, method, metric, curve in part.select("model", "image", "method", "metric", "curve").iter_rows():
        values = np.asarray(curve, dtype=np.float64)
        if values.size < 2 or not np.isfinite(values).all():
            continue  # a row without a value has no curve; it is counted in the table
        at = np.interp(np.linspace(0, 1, POINTS), np.linspace(0, 1, values.size), values)
        grouped.setdefault((model, metric, method), {}).setdefault(image, []).append(at)
    return {key: np.stack([np.mean(rows, axis=0) for rows in images.values()]) for key, images in grouped.items()}
