"""Errors by group and by intersections of groups, the worst group, and whether the gap is more than chance."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.studies.auditing.errors import counted
from sightline.studies.statistics import holm
from sightline.studies.statistics.intervals import Array

_RATES = ("FNR", "FPR", "error", "balanced_error")
SCHEMA: dict[str, Any] = {
    "by": pl.String,
    "group": pl.String,
    "attribute": pl.String,
    "n": pl.Int64,
    "positives": pl.Int64,
    "negatives": pl.Int64,
    **dict.fromkeys(("TP", "FP", "FN", "TN"), pl.Int64),
    **{f"{name}{end}": pl.Float64 for name in _RATES for end in ("", "_low", "_high")},
    "greyed": pl.Boolean,
    "worst": pl.Boolean,
    **dict.fromkeys(
        ("disparity", "disparity_low", "disparity_high", "disparity_chance", "disparity_p", "disparity_p_holm"),
        pl.Float64,
    ),
    "note": pl.String,
}
PERMUTATIONS = 1000


def groups(
    decisions: pl.DataFrame,
    images: pl.DataFrame,
    attributes: Sequence[str],
    columns: Sequence[str],
    *,
    min_group: int = 20,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pl.DataFrame:
    """A row a group and attribute, for each group column and for the intersections of two columns and of all.

    A group with fewer than `min_group` images of either truth is `greyed`: its counts stand there, it is never ranked.
    Of the others the one of largest balanced error is the `worst`, and disparity = largest - smallest balanced error,
    with an interval (images resampled within group and truth). The largest of noisy rates is large by itself, so
    `disparity_chance` tells what groups shuffled among images of the same truth give on average, and `disparity_p`
    how often they give as much; `disparity_p_holm` is corrected over the whole table.

    Args:
        decisions: Rows with image_index, attribute, truth, z.
        images: Rows with image_index and `group_...` columns.
        attributes: Which.
        columns: Names of the group columns.
        min_group: See above.
        permutations: Shuffles.
        seed: Of shuffles and resamples.
    """
    if not columns or not len(decisions):
        return pl.DataFrame(schema=SCHEMA)
    rows = decisions.filter(pl.col("truth").is_not_null()).select("image_index", "attribute", "truth", "z")
    sets: list[tuple[str, ...]] = [(c,) for c in columns] + list(itertools.combinations(columns, 2))
    sets += [tuple(columns)] if len(columns) > 2 else []
    lines = []
    for chosen in sets:
        names = [f"group_{c}" for c in chosen]
        told = images.select("image_index", *names).drop_nulls()
        told = told.select("image_index", group=pl.concat_str(names, separator=" x "))
        joined = rows.join(told, on="image_index", how="inner").sort("attribute", "group", "image_index")
        for attribute in attributes:
            if attribute in chosen:
                continue  # grouping by the truth itself
            mine = joined.filter(pl.col("attribute") == attribute)
            lines += _lines(mine, " x ".join(chosen), attribute, min_group, permutations, seed)
    frame = pl.DataFrame(lines, schema=SCHEMA, orient="row")
    return _corrected(frame)


def _lines(
    mine: pl.DataFrame, by: str, attribute: str, min_group: int, permutations: int, seed: int
) -> list[dict[str, Any]]:
    y, yes = mine["truth"].to_numpy().astype(bool), mine["z"].to_numpy() >= 0
    names, code = np.unique(np.array(mine["group"].to_list(), dtype=str), return_inverse=True)
    found: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        here = code == k
        line: dict[str, Any] = {"by": by, "group": str(name), "attribute": attribute, "n": int(here.sum())}
        line |= counted(y[here], yes[here])
        line["greyed"] = min(line["positives"], line["negatives"]) < min_group
        line["worst"] = False
        if line["greyed"]:
            line["note"] = f"fewer than {min_group} images of one truth: not ranked"
        found.append(line)
    ranked = [k for k, line in enumerate(found) if not line["greyed"]]
    if len(ranked) > 1:
        worst = max(ranked, key=lambda k: found[k]["balanced_error"])
        best = min(found[k]["balanced_error"] for k in ranked)
        found[worst]["worst"] = found[worst]["balanced_error"] > best
        figures = _disparity([found[k] for k in ranked], permutations, seed)
        for line in found:
            line |= figures
    return found


def _disparity(lines: Sequence[dict[str, Any]], permutations: int, seed: int) -> dict[str, float]:
    """The gap with its interval, and what shuffled groups give.

    Shuffling groups within a truth deals its errors to groups of fixed sizes: a multivariate hypergeometric draw.
    Resampling images within group and truth draws each count of errors from a binomial.
    """
    draw = np.random.default_rng(seed)
    observed = np.ptp([line["balanced_error"] for line in lines])
    shuffled, resampled = np.zeros((permutations, len(lines))), np.zeros((permutations, len(lines)))
    for wrong, of in (("FN", "positives"), ("FP", "negatives")):
        k, n = (np.array([line[c] for line in lines]) for c in (wrong, of))
        shuffled += draw.multivariate_hypergeometric(n, int(k.sum()), size=permutations) / n / 2
        resampled += draw.binomial(n, k / n, size=(permutations, len(lines))) / n / 2
    by_chance: Array = np.ptp(shuffled, axis=1)
    low, high = np.quantile(np.ptp(resampled, axis=1), [0.025, 0.975])
    return {
        "disparity": float(observed),
        "disparity_low": float(low),
        "disparity_high": float(high),
        "disparity_chance": float(by_chance.mean()),
        "disparity_p": float((1 + (by_chance >= observed - 1e-12).sum()) / (1 + permutations)),
    }


def _corrected(frame: pl.DataFrame) -> pl.DataFrame:
    """Holm's correction: one test for each attribute and grouping."""
    there = frame.filter(pl.col("disparity_p").is_not_null())
    tests = there.select("by", "attribute", "disparity_p").unique(maintain_order=True)
    if not len(tests):
        return frame
    corrected: NDArray[Any] = holm(tests["disparity_p"].to_numpy())
    told = tests.drop("disparity_p").with_columns(disparity_p_holm=pl.Series(corrected, dtype=pl.Float64))
    return frame.drop("disparity_p_holm").join(told, on=["by", "attribute"], how="left").select(list(SCHEMA))
