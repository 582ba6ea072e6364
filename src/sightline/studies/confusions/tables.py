"""Tables of a study of confusions, from its rows: kinds, pairs, ranked images, means with intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from sightline.studies.confusions.classes import both_ways
from sightline.studies.confusions.kinds import KINDS, kind_of
from sightline.studies.confusions.plan import Thresholds
from sightline.studies.statistics.means import wilson

SHOWN = ("overlap", "overlap_control", "iou", "pearson", "spearman", "drop_predicted", "drop_true")
RESAMPLES = 4000
_OF_CLASSES: dict[str, Any] = {
    "both_ways": pl.Float64, "kind": pl.String, "why": pl.String,
}  # fmt: skip


def counted(rows: pl.DataFrame) -> dict[tuple[int, int], int]:
    """(true class, predicted class) -> images."""
    known = rows.filter(pl.col("true").is_not_null()).group_by("true", "predicted").len()
    return {(true, predicted): n for true, predicted, n in known.iter_rows()}


def with_kinds(rows: pl.DataFrame, labels: list[str], limits: Thresholds) -> pl.DataFrame:
    """Rows with the names of the classes, how often these are confused both ways, the kind, and why."""
    counts = counted(rows)
    found = []
    for row in rows.iter_rows(named=True):
        y, p = row["true"], row["predicted"]
        line: dict[str, Any] = {
            "true_name": None if y is None else labels[y],
            "predicted_name": None if p is None else labels[p],
            **dict.fromkeys(_OF_CLASSES),
        }
        if row["status"] == "wrong":
            line["both_ways"] = both_ways(counts, y, p)
            line["kind"], line["why"] = kind_of({**row, **line}, limits)
        found.append(line)
    schema = {"true_name": pl.String, "predicted_name": pl.String, **_OF_CLASSES}
    return rows.hstack(pl.DataFrame(found, schema=schema, orient="row"))


def of_kinds(wrong: pl.DataFrame) -> pl.DataFrame:
    """A line a kind: images, share of all errors with Wilson's 95 % interval, means over its images."""
    lines = []
    for kind in KINDS:
        mine = wrong.filter(pl.col("kind") == kind)
        low, high = wilson(len(mine), len(wrong)) if len(wrong) else (None, None)
        share = len(mine) / len(wrong) if len(wrong) else None
        means = {f"mean_{name}": mine[name].mean() for name in (*SHOWN, "p_true", "p_predicted")}
        lines.append({"kind": kind, "images": len(mine), "share": share, "low": low, "high": high, **means})
    numbers = ("share", "low", "high", *(f"mean_{name}" for name in (*SHOWN, "p_true", "p_predicted")))
    return pl.DataFrame(lines, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def of_pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """A line a confused pair, the most frequent first: counts both ways, mean overlap and correlation, its kinds."""
    counts, wrong = counted(rows), rows.filter(pl.col("status") == "wrong")
    lines = []
    for (y, p), mine in wrong.group_by("true", "predicted", maintain_order=True):
        kinds = mine["kind"].value_counts(sort=True)
        lines.append(
            {
                "true": y,
                "predicted": p,
                "true_name": mine["true_name"][0],
                "predicted_name": mine["predicted_name"][0],
                "count": len(mine),
                "of": sum(n for (true, _), n in counts.items() if true == y),
                "reverse": counts.get((p, y), 0),
                "alike": mine["alike"][0],
                "alike_deviations": mine["alike_deviations"][0],
                "both_ways": mine["both_ways"][0],
                **{f"mean_{name}": mine[name].mean() for name in SHOWN},
                "mean_lead": (mine["p_predicted"] - mine["p_true"]).mean(),
                "kinds": ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.iter_rows(), key=lambda k: (-k[1], k[0]))),
            }
        )
    numbers = ("alike", "alike_deviations", "both_ways", "mean_lead", *(f"mean_{name}" for name in SHOWN))
    frame = pl.DataFrame(lines, schema_overrides=dict.fromkeys(numbers, pl.Float64) if lines else None)
    keys = ["count", "mean_overlap", "true", "predicted"]
    return frame.sort(keys, descending=[True, True, False, False], nulls_last=True) if len(frame) else frame


def means(wrong: pl.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> pl.DataFrame:
    """Mean over misclassified images of each figure with the 95 % percentile bootstrap interval over images."""
    draw = np.random.default_rng(seed)
    lines: list[Mapping[str, Any]] = []
    for name in (*SHOWN, "increase_predicted", "increase_true", "lift_predicted", "lift_true"):
        values = wrong[name].drop_nulls().to_numpy()
        line: dict[str, Any] = {"figure": name, "images": len(values), "mean": None, "low": None, "high": None}
        if len(values):
            line["mean"] = float(values.mean())
        if len(values) > 1:
            drawn = np.array([values[draw.integers(len(values), size=len(values))].mean() for _ in range(resamples)])
            line["low"], line["high"] = (float(q) for q in np.quantile(drawn, [0.025, 0.975]))
        lines.append(line)
    return pl.DataFrame(lines, schema_overrides=dict.fromkeys(("mean", "low", "high"), pl.Float64))
