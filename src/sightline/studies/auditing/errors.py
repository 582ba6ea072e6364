"""Errors of each attribute by the side of the truth, with intervals; undefined is null with a note, never 0."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.studies.statistics.intervals import Array, auc_interval, draws, ends, mean_of_rates, rate

SCHEMA: dict[str, Any] = {
    "attribute": pl.String,
    "n": pl.Int64,
    "positives": pl.Int64,
    "negatives": pl.Int64,
    "unknown": pl.Int64,
    "train_rate": pl.Float64,
    "minority": pl.String,
    "minority_count": pl.Int64,
    **dict.fromkeys(("TP", "FP", "FN", "TN"), pl.Int64),
    **{
        f"{name}{end}": pl.Float64
        for name in ("FNR", "FPR", "error", "balanced_error", "minority_error", "majority_error", "AP", "AUC")
        for end in ("", "_low", "_high")
    },
    "threshold_tuned": pl.Float64,
    "balanced_error_tuned": pl.Float64,
    "note": pl.String,
}
_AP_RESAMPLES = 500  # each of them ranks all images again
_LEAST = 4
"""Images of each class from which on a threshold is tuned."""


def errors(
    decisions: pl.DataFrame,
    attributes: Sequence[str],
    rates: Mapping[str, float],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> pl.DataFrame:
    """A row an attribute, the rarest minority first.

    FNR = FN / P, FPR = FP / N, error = (FN + FP) / (P + N), balanced error = (FNR + FPR) / 2, for the decision z >= 0.
    Rates have Wilson's interval, the balanced error the square-and-add one, the area under the ROC curve Newcombe's,
    the average precision a bootstrap stratified by the truth (of at most 500 resamples). `threshold_tuned`
    is the threshold of least balanced error on these images; what it is worth, `balanced_error_tuned`, is told across
    two halves: tuned on the one, measured on the other. `minority` is the rarer side in training, where `rates` tell
    it, else (or where both are as frequent) in these images.

    Args:
        decisions: Rows with attribute, truth and z.
        attributes: Which, also those that have no rows.
        rates: Attribute -> share of the training images that have it.
        resamples: Of the bootstrap.
        seed: Of the bootstrap and of the halves.
    """
    lines = []
    for name in attributes:
        mine = decisions.filter(pl.col("attribute") == name).sort("image_index") if len(decisions) else decisions
        known = mine.filter(pl.col("truth").is_not_null()) if len(mine) else mine
        y = known["truth"].to_numpy().astype(bool) if len(known) else np.zeros(0, dtype=bool)
        z = known["z"].to_numpy() if len(known) else np.zeros(0)
        line = {"attribute": name, "n": len(mine), "unknown": len(mine) - len(known), "train_rate": rates.get(name)}
        line |= counted(y, z >= 0)
        line |= _sides(line) | _ranked(y, z, resamples, seed) | _tuned(y, z, seed)
        line["note"] = _note(line)
        lines.append(line)
    frame = pl.DataFrame(lines, schema=SCHEMA, orient="row")
    p = pl.coalesce(pl.col("train_rate"), pl.col("positives") / (pl.col("positives") + pl.col("negatives")))
    share = pl.min_horizontal(p, 1 - p)
    return frame.sort(share, "attribute", nulls_last=True)


def counted(y: NDArray[np.bool_], yes: NDArray[np.bool_]) -> dict[str, Any]:
    """Counts and rates with intervals of some decisions."""
    tp, fn, fp, tn = (int((a & b).sum()) for a, b in ((y, yes), (y, ~yes), (~y, yes), (~y, ~yes)))
    line: dict[str, Any] = {"positives": tp + fn, "negatives": fp + tn, "TP": tp, "FP": fp, "FN": fn, "TN": tn}
    for name, values in (
        ("FNR", rate(fn, tp + fn)),
        ("FPR", rate(fp, fp + tn)),
        ("error", rate(fn + fp, len(y))),
        ("balanced_error", mean_of_rates((fn, tp + fn), (fp, fp + tn))),
    ):
        line |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
    return line


def _sides(line: Mapping[str, Any]) -> dict[str, Any]:
    """Which side is the minority, and the error of both."""
    p, n = line["positives"], line["negatives"]
    share = line["train_rate"]
    if share in (None, 0.5) and p + n:
        share = p / (p + n)
    if share is None:
        return {}
    yes = share <= 0.5
    found: dict[str, Any] = {"minority": "yes" if yes else "no", "minority_count": p if yes else n}
    for name, rates in (("minority_error", "FNR" if yes else "FPR"), ("majority_error", "FPR" if yes else "FNR")):
        found |= {f"{name}{end}": line[f"{rates}{end}"] for end in ("", "_low", "_high")}
    return found


def _ranked(y: NDArray[np.bool_], z: Array, resamples: int, seed: int) -> dict[str, Any]:
    """AP and AUC, which need no threshold."""
    if not y.any() or y.all():
        return {}
    auc = area_under_roc(y, z)
    low, high = auc_interval(auc, int(y.sum()), int((~y).sum()))
    found: dict[str, Any] = {"AUC": auc, "AUC_low": low, "AUC_high": high}
    order = np.argsort(-z, kind="stable")
    last = np.append(np.diff(z[order]) != 0, True)
    precision = average_precision(y[order], last, np.ones((1, len(y))))
    found["AP"] = float(precision[0])
    if y.sum() > 1:
        count = min(resamples, _AP_RESAMPLES)
        drawn = [average_precision(y[order], last, w[:, order]) for w in draws(len(y), count, seed, y)]
        (low_,), (high_,) = ends(np.concatenate(drawn)[:, None])
        found |= {"AP_low": float(low_), "AP_high": float(high_)}
    return found


def area_under_roc(y: NDArray[np.bool_], z: Array) -> float:
    """P(z of a yes > z of a no), ties half: by mean ranks."""
    from scipy.stats import rankdata

    positives = int(y.sum())
    ranks = rankdata(z)[y].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * (len(y) - positives)))


def average_precision(y: NDArray[np.bool_], last: NDArray[np.bool_], weights: Array) -> Array:
    """AP = sum_t (R_t - R_{t-1}) P_t over thresholds t, for resamples (r,).

    Args:
        y: (n,) truth, the largest z first.
        last: (n,) whether an image is the last of those with the same z: thresholds stand there only.
        weights: (r, n) how often each image counts.
    """
    found = np.cumsum(weights * y, axis=1)[:, last]
    seen = np.cumsum(weights, axis=1)[:, last]
    precision = found / np.maximum(seen, 1)
    gained = np.diff(found, axis=1, prepend=0.0)
    values: Array = (gained * precision).sum(1) / found[:, -1]
    return values


def _tuned(y: NDArray[np.bool_], z: Array, seed: int) -> dict[str, Any]:
    if min(y.sum(), (~y).sum()) < _LEAST:
        return {}
    half, draw = np.zeros(len(y), dtype=bool), np.random.default_rng(seed)
    for side in (y, ~y):
        places = np.flatnonzero(side)
        half[draw.permutation(places)[: len(places) // 2]] = True
    wrong = np.zeros(len(y), dtype=bool)
    for here in (half, ~half):
        wrong[~here] = (z[~here] >= best_threshold(y[here], z[here])) != y[~here]
    return {"threshold_tuned": best_threshold(y, z), "balanced_error_tuned": (wrong[y].mean() + wrong[~y].mean()) / 2}


def best_threshold(y: NDArray[np.bool_], z: Array) -> float:
    """The threshold t of least balanced error of z >= t: half way between two values, the one nearest 0 of equals."""
    values = np.unique(z)
    cuts = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    yes, no = np.sort(z[y]), np.sort(z[~y])
    missed = np.searchsorted(yes, cuts, side="left") / len(yes)
    false = 1 - np.searchsorted(no, cuts, side="left") / len(no)
    total = missed + false
    best = np.flatnonzero(total <= total.min() + 1e-12)
    return float(cuts[best[np.abs(cuts[best]).argmin()]])


def _note(line: Mapping[str, Any]) -> str | None:
    said = []
    if not line["n"]:
        return "no image could be read"
    if not line["positives"]:
        said.append("no image has it, so FNR is undefined")
    if not line["negatives"]:
        said.append("every image has it, so FPR is undefined")
    if line["unknown"]:
        said.append(f"unknown for {line['unknown']} images")
    return "; ".join(said) or None
