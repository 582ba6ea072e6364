"""What a report marks: the best method, what a mean leaves out, and in a list which methods beat no control."""

import polars as pl
import pytest

import runs
from sightline.report.benchmark import Report

METRICS = {name: runs.METRICS[name] for name in ("average-drop", "increase-in-confidence", "insertion")}


@pytest.fixture
def report(tmp_path):
    """All methods have the same rate, and the map of the control `uniform` is flat, as it always is."""
    frame = runs.rows(12, models=("small",), metrics=METRICS)
    frame = frame.with_columns(
        value=pl.when(pl.col("metric") == "increase-in-confidence").then(0.0).otherwise(pl.col("value"))
    )
    for method in ("uniform", "saliency"):
        frame = runs.without(frame, (pl.col("method") == method) & (pl.col("image_index") < 9), "flat")
    about = runs.manifest(models=("small",), metrics=METRICS)
    return Report.of(runs.write(tmp_path / "run", frame, about=about, lines=runs.curves(frame), shown=range(2)))


def test_nothing_is_best_where_all_methods_are_equal(report):
    best = {
        metric: [name for (_, m, name), cell in report.cells.items() if m == metric and cell.best] for metric in METRICS
    }
    assert best["increase-in-confidence"] == []
    assert len(best["average-drop"]) == len(best["insertion"]) == 1
    (column,) = [i for i, title in enumerate(METRICS) if title == "increase-in-confidence"]
    lines = report.export(report.results.path / "t.md").read_text(encoding="utf-8").splitlines()
    cells = [line.split("|")[2 + column] for line in lines if line.startswith("| ") and "method" not in line]
    assert cells
    assert not any("**" in cell for cell in cells)


def test_flat_maps_of_the_uniform_control_count_and_nobody_elses_do(report):
    cells = report.cells
    assert (cells["small", "insertion", "uniform"].rows, cells["small", "insertion", "saliency"].rows) == (12, 3)
    assert cells["small", "insertion", "uniform"].others == {}
    assert cells["small", "insertion", "saliency"].others == {"flat": 9}
    drawn = pl.concat(list(report.results.curves()))
    curves = drawn.filter(pl.col("metric") == "insertion").group_by("method").len()
    assert dict(curves.iter_rows()) == {**dict.fromkeys([*runs.METHODS, *runs.CONTROLS], 12), "saliency": 3}


def test_what_does_not_beat_the_controls_is_a_list_with_a_line_a_metric(report, tmp_path):
    text = report.write(tmp_path / "a.html").read_text(encoding="utf-8")
    _, _, after = text.partition("Which methods do not beat every control")
    items = after.partition("</ul>")[0].split("<li>")[1:]
    assert [item.partition(":")[0] for item in items] == list(METRICS)
    assert "no method beats" in items[1]
