"""MaxBoxAcc of a finished benchmark: one threshold for all images of a model and a method."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from sightline.errors import InputError
from sightline.metrics.localisation.max_box_acc import best_threshold

if TYPE_CHECKING:
    import polars

METRIC, COUNTED = "max-box-acc", ("ok", "flat", "empty")
OVERLAPS = (0.3, 0.5, 0.7)
"""The overlaps of MaxBoxAccV2."""
_KEYS = ("model", "image_index", "target", "method", "metric", "seed")


def box_accuracy(
    rows: "polars.DataFrame", curves: "polars.DataFrame", *, overlap: float = 0.5, metric: str | None = None
) -> "polars.DataFrame":
    """MaxBoxAcc (Choe et al. 2020, arXiv 2001.07437) from the curves of `max-box-acc`.

    By its definition the threshold is chosen on the images on which it is reported. `held_out` is fair: the threshold
    of the images with an even index is used for the odd ones, and the other way round. Empty maps have no box and
    count as misses, flat ones have the box of the image; rows without a true box are left out.

    `overlaps_mean` is the mean of MaxBoxAcc at the overlaps 0.3, 0.5 and 0.7, each at its own best threshold, as in
    MaxBoxAccV2 (Choe et al. 2020, arXiv 2007.03684). That one also looks for a hit among the boxes of all parts of a
    map; here a map has one box, that of its largest part, so this number is at most MaxBoxAccV2.

    Args:
        rows: `benchmark.rows()`.
        curves: `benchmark.curves()`.
        overlap: IoU from which on a box counts.
        metric: The metric's name in the rows; by default all that begin with `max-box-acc`.

    Returns:
        A row for each model, method and setting of the metric: `threshold` in [0, 1], `max_box_acc`, `held_out` (null
        where there are images of one kind only), `overlaps_mean`, `rows`, `overlap`.

    Raises:
        InputError: The metric was not asked, or no image has a box.
    """
    import polars as pl

    named = pl.col("metric").str.starts_with(METRIC) if metric is None else pl.col("metric") == metric
    counted = rows.filter(named & pl.col("status").is_in(list(COUNTED)))
    if not len(counted):
        raise InputError(f"the run has no value of {METRIC}; ask that metric, with images that have boxes")
    found = curves.join(counted.select(_KEYS), on=_KEYS, how="semi")
    table = []
    for names, group in found.group_by(["model", "method", "metric"], maintain_order=True):
        curve = torch.tensor(np.stack([np.asarray(c) for c in group["curve"].to_list()]))
        odd = torch.tensor((group["image_index"] % 2 == 1).to_list())
        accuracy, threshold = best_threshold(curve, overlap=overlap)
        table.append(
            dict(zip(("model", "method", "metric"), names, strict=True))
            | {
                "threshold": threshold,
                "max_box_acc": accuracy,
                "held_out": _held_out(curve, odd, overlap),
                "overlaps_mean": sum(best_threshold(curve, overlap=o)[0] for o in OVERLAPS) / len(OVERLAPS),
                "rows": len(group),
                "overlap": overlap,
            }
        )
    return pl.DataFrame(table, schema_overrides={"held_out": pl.Float64})


def _held_out(curve: torch.Tensor, odd: torch.Tensor, overlap: float) -> float | None:
    """Share of hits where each half of the images takes the threshold of the other."""
    if bool(odd.all()) or not bool(odd.any()):
        return None
    hits = 0.0
    for half in (odd, ~odd):
        _, threshold = best_threshold(curve[~half], overlap=overlap)
        place = round(threshold * (curve.shape[1] - 1))
        hits += float((curve[half][:, place] >= overlap).sum())
    return hits / len(curve)
