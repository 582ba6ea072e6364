"""MaxBoxAcc in the report: one number a method, at the one threshold that suits the whole data set best."""

import math
from collections.abc import Sequence
from typing import Any

from sightline.report.benchmark.results import Judge, Results
from sightline.report.page import Table

Found = dict[tuple[str, str, str], dict[str, Any]]
"""Lines of `box_accuracy` by model, metric and method."""


def found(results: Results) -> Found:
    """MaxBoxAcc of all methods; empty where the run has no boxes."""
    if not any(metric.name == "max-box-acc" for metric in results.metrics.values()):
        return {}
    from sightline.studies.benchmarking import Benchmark

    lines = Benchmark(results.path).box_accuracy()
    return {(line["model"], line["metric"], line["method"]): line for line in lines.iter_rows(named=True)}


def table(
    results: Results, lines: Found, model: str, metric: Judge, picked: Sequence[str], protocol: str
) -> Table | None:
    """MaxBoxAcc, its threshold, and the figure that is fair; None where no row has a box."""
    mine = {method: line for (m, k, method), line in lines.items() if (m, k) == (model, metric.label)}
    methods = [name for name in results.methods if name in mine]
    if not methods:
        return None
    overlap = next(iter(mine.values()))["overlap"]
    return Table(
        caption=f"{model}: {metric.label} over the data set, boxes that overlap by {overlap:g}",
        columns=["method", "MaxBoxAcc ↑", "its threshold", "held out ↑", "mean at 0.3, 0.5, 0.7 ↑", "rows"],
        rows=[[name, *_cells(mine[name])] for name in methods],
        controls=[i for i, name in enumerate(methods) if results.methods[name].control],
        sort=["words", "up", "down", "up", "up", "up"],
        keys=methods,
        picked=picked,
        note="MaxBoxAcc (Choe et al. 2020): the share of rows whose box is right at the one threshold that is best on "
        "these very images; the threshold is a share of a map's hottest value. Held out: each half of the images takes "
        "the best threshold of the other half, which is fair. Mean at 0.3, 0.5, 0.7: MaxBoxAcc at these overlaps, each "
        "at its own best threshold, as in MaxBoxAccV2 (Choe et al. 2020), of the box around a map's largest part. "
        f"{protocol}",
    )


def _cells(line: dict[str, Any]) -> list[str]:
    values = [line["max_box_acc"], line["threshold"], line["held_out"], line["overlaps_mean"]]
    return [*("-" if v is None or math.isnan(v) else f"{v:.3f}" for v in values), f"{line['rows']:,}"]
