"""Where the evidence lies: proportional energy by decision and outcome, with empty maps told apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.studies.statistics.intervals import Array, none, rate, ratios

SCHEMA: dict[str, Any] = {
    "attribute": pl.String,
    "method": pl.String,
    "layer": pl.String,
    "side": pl.String,
    "outcome": pl.String,
    "majority": pl.Boolean,
    "n": pl.Int64,
    "refused": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in ("pe", "pe_nonempty", "empty_rate") for end in ("", "_low", "_high")},
    "chance": pl.Float64,
    "lift": pl.Float64,
    "pe_corrected": pl.Float64,
    "note": pl.String,
}
_CELLS = (("yes", "all"), ("yes", "TP"), ("yes", "FP"), ("no", "all"), ("no", "TN"), ("no", "FN"))


def evidence(maps: pl.DataFrame, errors: pl.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pl.DataFrame:
    """A row an attribute, method, layer, side of the decision and outcome.

    `pe` is the mean proportional energy with empty maps counted as 0 (the paper's rule), `pe_nonempty` over maps that
    carry energy, `empty_rate` how many do not, `chance` the region's mean share of the image (what a uniform map gets),
    `lift` = pe / chance, `pe_corrected` the mean of pe (1 - area). Intervals: bootstrap over images, the same resamples
    for all rows; Wilson's for the rate. `refused` counts maps of images in which the region is not known or not seen.
    """
    if not len(maps):
        return pl.DataFrame(schema=SCHEMA)
    minority = dict(errors.select("attribute", "minority").iter_rows())
    names = errors["attribute"].to_list()
    lines = []
    for (method, layer), mine in maps.group_by("method", "layer", maintain_order=True):
        lines += _lines(mine, names, minority, {"method": method, "layer": layer}, resamples, seed)
    frame = pl.DataFrame(lines, schema=SCHEMA, orient="row")
    place = pl.col("attribute").replace_strict(names, range(len(names)), return_dtype=pl.Int64)
    return frame.sort(place, maintain_order=True)


@dataclass(frozen=True)
class Dense:
    """The maps of one method at one layer, (images, attributes) each; PE and area are NaN where they are unknown."""

    pe: Array
    area: Array
    empty: NDArray[np.bool_]
    sign: Array
    outcome: "np.ndarray[Any, Any]"


def dense(maps: pl.DataFrame, names: list[str], count: int | None = None) -> Dense:
    """Rows as matrices; `count` images, numbered from 0, where not all of them need to have rows."""
    numbers = maps["image_index"].to_numpy()
    images, row = np.unique(numbers, return_inverse=True)
    if count is not None:
        row = numbers
    column = maps["attribute"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
    shape = (len(images) if count is None else count, len(names))

    def put(values: Any, missing: float) -> Array:
        out = np.full(shape, missing)
        out[row, column] = values
        return out

    pe, area = (put(maps[name].fill_null(np.nan).to_numpy(), np.nan) for name in ("pe", "area"))
    outcome = np.full(shape, "", dtype=object)
    outcome[row, column] = maps["outcome"].fill_null("").to_list()
    return Dense(pe, area, put(maps["empty"].to_numpy(), 0.0) > 0, put(maps["sign"].to_numpy(), 0.0), outcome)


def _lines(
    maps: pl.DataFrame, names: list[str], minority: dict[str, str], labels: dict[str, Any], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of one method at one layer."""
    of = dense(maps, names)
    pe, area, empty, sign, outcome, known = of.pe, of.area, of.empty, of.sign, of.outcome, ~np.isnan(of.pe)
    cells = [
        (sign == (1 if side == "yes" else -1)) & ((outcome == kind) if kind != "all" else True) for side, kind in _CELLS
    ]
    chosen = np.concatenate(cells, axis=1)  # (images, cells x attributes)
    judged = chosen & np.tile(known, len(cells))
    full = judged & ~np.tile(empty, len(cells))
    value = np.tile(np.nan_to_num(pe), len(cells))
    weights = np.concatenate([judged, full], axis=1).astype(float)
    both = ratios(np.tile(value, 2) * weights, weights, resamples=resamples, seed=seed)
    means, filled = ([part[half] for part in both] for half in (slice(chosen.shape[1]), slice(chosen.shape[1], None)))
    found = []
    for j in range(chosen.shape[1]):
        (side, kind), name, pick = _CELLS[j // len(names)], names[j % len(names)], judged[:, j]
        n, a = int(chosen[:, j].sum()), area[pick, j % len(names)]
        empties = int((chosen[:, j] & empty[:, j % len(names)]).sum())
        line = {"attribute": name, **labels, "side": side, "outcome": kind, "n": n, "refused": n - int(pick.sum())}
        line["majority"] = None if minority.get(name) is None else minority[name] != side
        for what, values in (("pe", means), ("pe_nonempty", filled)):
            line |= {f"{what}{end}": none(v[j]) for end, v in zip(("", "_low", "_high"), values, strict=True)}
        line |= dict(zip(("empty_rate", "empty_rate_low", "empty_rate_high"), rate(empties, n), strict=True))
        if len(a):
            chance = float(a.mean())
            line |= {"chance": chance, "lift": float(means[0][j]) / chance}
            line["pe_corrected"] = float((pe[pick, j % len(names)] * (1 - a)).mean())
        line["note"] = "no such decision" if not n else "the attribute has no region" if not len(a) else None
        found.append(line)
    return found
