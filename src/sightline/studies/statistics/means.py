"""From tidy rows to statements: means with intervals, paired tests, rankings. The unit is the image.

Rows of one image (several targets, several seeds) depend on each other, so images are resampled, never rows, and all
methods meet the same resamples. Rows without a value (`undefined`, `refused`, `error`) and maps without energy
(`empty`) or shape (`flat`) are counted beside every mean and are not part of it, except for the control `uniform`,
which is flat by design.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.errors import InputError

Array = NDArray[np.float64]
Interval = Literal["percentile", "bca"]

RESAMPLES, LEVEL = 10_000, 0.95
CELL = ("model", "method", "metric")
FLAT_BY_DESIGN = ("uniform",)
STATUSES = ("ok", "empty", "flat", "undefined", "refused", "error")
_CHUNK = 2**22  # entries of the matrix of weights that are held at a time


@dataclass(frozen=True)
class Sums:
    """Sums of the values that count, an image and a cell of the table.

    Attributes:
        cells: (model, method, metric) of each column.
        images: What each line stands for.
        total: (images, cells) sums of values.
        count: (images, cells) how many values.
        binary: (cells,) all values of the metric are 0 or 1, one an image: a plain rate.
    """

    cells: tuple[tuple[str, str, str], ...]
    images: tuple[str, ...]
    total: Array
    count: Array
    binary: NDArray[np.bool_]

    @cached_property
    def mean(self) -> Array:
        """(cells,) means over rows; NaN where there is none."""
        return _divide(self.total.sum(0), self.count.sum(0))

    def resampled(self, resamples: int, seed: int) -> Iterator[Array]:
        """Means (r, cells) under bootstrap resamples of images, the same for all cells, chunk by chunk."""
        n, generator = len(self.images), np.random.default_rng(seed)
        step = max(1, _CHUNK // max(1, n))
        for start in range(0, resamples, step):
            size = min(step, resamples - start)
            times = generator.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)  # (r, images)
            yield _divide(times @ self.total, times @ self.count)

    def __len__(self) -> int:
        return len(self.cells)


def _divide(a: Array, b: Array) -> Array:
    out: Array = np.full(np.broadcast_shapes(a.shape, b.shape), np.nan)
    np.divide(a, b, out=out, where=b > 0)
    return out


def counts(statuses: Sequence[str]) -> pl.Expr:
    """Whether a row counts: by its status, or as the map of a control that is flat by design; never without a number.

    An infinite value is none either: one of them would be the mean of all.
    """
    flat = (pl.col("status") == "flat") & pl.col("method").is_in(list(FLAT_BY_DESIGN))
    return (pl.col("status").is_in(list(statuses)) | flat) & pl.col("value").is_finite()


def sums(rows: pl.DataFrame, statuses: Sequence[str] = ("ok",)) -> Sums:
    """Sums an image and cell, from the rows whose status counts.

    Raises:
        InputError: There are no rows, or a column is missing.
    """
    missing = {*CELL, "image", "value", "status"} - set(rows.columns)
    if missing:
        raise InputError(f"rows have no column {', '.join(sorted(missing))}")
    if not len(rows):
        raise InputError("there are no rows: nothing has been finished yet")
    keys = rows.select(CELL).unique().sort(CELL)
    cells = tuple(keys.iter_rows())
    images = tuple(sorted(rows["image"].unique()))
    where = {cell: i for i, cell in enumerate(cells)}
    place = {image: i for i, image in enumerate(images)}
    grouped = (
        rows.filter(counts(statuses))
        .sort(*CELL, "image", "value")  # sums in one order, whatever the order of the rows
        .group_by(*CELL, "image", maintain_order=True)
        .agg(
            total=pl.col("value").sum(),
            count=pl.len(),
            rate=((pl.col("value") == 0) | (pl.col("value") == 1)).all(),
        )
    )
    total, count = np.zeros((len(images), len(cells))), np.zeros((len(images), len(cells)))
    binary = np.ones(len(cells), dtype=bool)
    i = np.array([place[image] for image in grouped["image"]], dtype=int)
    j = np.array([where[cell] for cell in grouped.select(CELL).iter_rows()], dtype=int)
    total[i, j], count[i, j] = grouped["total"].to_numpy(), grouped["count"].to_numpy()
    np.logical_and.at(binary, j, grouped["rate"].to_numpy() & (count[i, j] == 1))
    rates = {cell[2] for cell in cells} - {cell[2] for cell, rate in zip(cells, binary, strict=True) if not rate}
    plain = np.array([cell[2] in rates for cell in cells])  # all zeros by chance are no rate
    return Sums(cells, images, total, count, plain & (count.sum(0) > 0))


def table(
    rows: pl.DataFrame,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    interval: Interval = "percentile",
    seed: int = 0,
    statuses: Sequence[str] = ("ok",),
) -> pl.DataFrame:
    """One line a model, method and metric.

    Args:
        rows: Tidy rows of a run.
        resamples: Of the bootstrap over images.
        level: Of the intervals.
        interval: `percentile`, or `bca` (bias-corrected and accelerated; Efron, 1987). A rate (a metric whose
            values are all 0 or 1, one an image) has Wilson's interval: a bootstrap of 0 out of n would be a point.
        seed: Of the bootstrap.
        statuses: Which rows count; ("ok", "empty", "flat") includes maps without content, as some papers do.

    Returns:
        model, method, metric, mean, low, high (null where nothing counts or there is one image only), interval (how it
        was made), rows and images that count, one column a status with its number of rows, `seconds` a row and
        `explain_seconds` a row where the rows have them, `chance`, what a map without information gets on average on
        the rows that count (null where the metric has no such level), and `seed_sd`, the standard deviation of the
        mean between seeds, where there are several.

    Raises:
        InputError: No rows, or settings out of range.
    """
    _check(resamples, level)
    found = sums(rows, statuses)
    low, high = _limits(found, resamples, level, interval, seed)
    kinds = np.where(found.binary, "wilson", interval)
    frame = pl.DataFrame(
        {
            **{name: [cell[k] for cell in found.cells] for k, name in enumerate(CELL)},
            "mean": found.mean,
            "low": low,
            "high": high,
            "interval": kinds.tolist(),
            "rows": found.count.sum(0).astype(int),
            "images": (found.count > 0).sum(0),
        }
    ).with_columns(pl.col("mean", "low", "high").fill_nan(None))
    times = [pl.col(c).mean() for c in ("seconds", "explain_seconds") if c in rows.columns]
    if "chance" in rows.columns:
        times.append(pl.col("chance").filter(counts(statuses)).mean())
    numbers = [(pl.col("status") == s).sum().cast(pl.Int64).alias(s) for s in STATUSES]
    frame = frame.join(rows.group_by(CELL).agg(*numbers, *times), on=CELL, how="left")
    if "seed" in rows.columns and rows["seed"].n_unique() > 1:
        frame = frame.join(_between_seeds(rows, statuses), on=CELL, how="left")
    return frame.sort(CELL)


def _between_seeds(rows: pl.DataFrame, statuses: Sequence[str]) -> pl.DataFrame:
    means = rows.filter(counts(statuses)).group_by(*CELL, "seed").agg(pl.col("value").mean())
    return means.group_by(CELL).agg(seed_sd=pl.col("value").std())


def _limits(found: Sums, resamples: int, level: float, interval: Interval, seed: int) -> tuple[Array, Array]:
    """Lower and upper ends (cells,) of the intervals of the means."""
    draws = np.concatenate(list(found.resampled(resamples, seed)))  # (resamples, cells)
    ends = np.tile([(1 - level) / 2, (1 + level) / 2], (len(found), 1))
    if interval == "bca":
        ends = _corrected(found, draws, level)
    low, high = np.full(len(found), np.nan), np.full(len(found), np.nan)
    enough = (found.count > 0).sum(0) > 1
    for j in np.flatnonzero(enough):
        if found.binary[j]:
            low[j], high[j] = wilson(int(found.total[:, j].sum()), int(found.count[:, j].sum()), level=level)
        else:
            low[j], high[j] = np.nanquantile(draws[:, j], ends[j])
    return low, high


def _corrected(found: Sums, draws: Array, level: float) -> Array:
    """Quantiles (cells, 2) of the BCa interval; those of the percentile interval where all draws are equal."""
    from scipy.stats import norm

    plain = np.array([(1 - level) / 2, (1 + level) / 2])
    ends = np.tile(plain, (len(found), 1))
    below = ((draws < found.mean).sum(0) + (draws == found.mean).sum(0) / 2) / np.maximum(1, (~np.isnan(draws)).sum(0))
    left = _divide(found.total.sum(0) - found.total, found.count.sum(0) - found.count)  # (images, cells) jackknife
    for j in range(len(found)):
        d = left[found.count[:, j] > 0, j]
        d = np.nanmean(d) - d if len(d) else d
        scale = float((d**2).sum())
        if not 0 < below[j] < 1 or not scale > 0:
            continue
        z, a = norm.ppf(below[j]), float((d**3).sum()) / (6 * scale**1.5)
        shifted = z + norm.ppf(plain)
        ends[j] = norm.cdf(z + shifted / (1 - a * shifted))
    return ends


def wilson(successes: float, trials: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a rate k / n: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Wilson, Probable inference, the law of succession, and statistical inference (1927).

    Raises:
        InputError: No trials, or more successes than trials.
    """
    from scipy.stats import norm

    if not 0 <= successes <= trials or trials < 1:
        raise InputError(f"a rate needs 0 <= successes <= trials and at least one trial, not {successes} of {trials}")
    z, n, p = float(norm.ppf((1 + level) / 2)), trials, successes / trials
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def per_class(rows: pl.DataFrame, *, least: int = 2, **settings: Any) -> pl.DataFrame:
    """`table` for the images of each true label, with the column `label`; classes with fewer images are left out.

    Args:
        rows: Tidy rows with the column `label`.
        least: Images that a class must have.
        settings: Those of `table`.

    Raises:
        InputError: No row has a label.
    """
    labelled = rows.filter(pl.col("label").is_not_null())
    if not len(labelled):
        raise InputError("no row has a label: the data named no classes")
    parts = [
        table(group, **settings).with_columns(label=pl.lit(name[0]))
        for name, group in labelled.group_by("label", maintain_order=True)
        if group["image"].n_unique() >= least
    ]
    if not parts:
        raise InputError(f"no class has {least} images or more")
    return pl.concat(parts, how="diagonal").sort("label", *CELL)


def _check(resamples: int, level: float) -> None:
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"resamples must be 1 or more and level between 0 and 1, not {resamples} and {level}")


def directions(metrics: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Label -> `up` or `down`, from the manifest's metrics."""
    return {m["label"]: m["direction"] for m in metrics}
