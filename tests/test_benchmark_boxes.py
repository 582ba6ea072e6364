"""What only a whole data set knows, and what luck gives: MaxBoxAcc and chance, from the rows to the report."""

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sightline as sl
from nets import ConvNet, seeded
from sightline.cli import app
from sightline.data.annotations.record import Record
from sightline.report.benchmark import Report
from sightline.studies.benchmarking import CONTROLS, Benchmark, benchmark

IMAGES = 10
BOX = [0.0, 0.0, 6.0, 8.0]  # of images of 8 x 8: three quarters
QUIET = {"progress": False, "backend": "eager", "pictures": 0}
METRICS = [
    {"name": "max-box-acc", "label": "boxes", "overlap": 0.6, "steps": 20},
    "energy-pointing-game",
    "average-drop",
]


def records(folder: Path, count: int = IMAGES) -> list[Record]:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    boxes = torch.tensor([BOX])
    return [Record(path=folder / f"{i}.png", boxes=None if i == 3 else boxes) for i in range(count)]


def run(folder: Path, count: int = IMAGES) -> Benchmark:
    clf = sl.Classifier(seeded(ConvNet), size=8, decision="categorical")
    photos, settings = folder / "photos", {"methods": ["grad-cam", "saliency"], "fit": "squash", "batch": 4}
    return benchmark(clf, records(photos, count), out=folder / "run", metrics=METRICS, root=photos, **settings, **QUIET)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return run(tmp_path_factory.mktemp("boxes"))


def test_chance_is_a_column_where_a_metric_has_it(found):
    rows = found.rows()
    pointing = rows.filter(metric="energy-pointing-game")
    known = pointing.filter(pl.col("image") != "3.png")
    assert known["chance"].to_list() == pytest.approx([0.75] * len(known))
    assert pointing.filter(image="3.png").select("status", "chance").unique().rows() == [("refused", None)]
    assert rows.filter(metric="average-drop")["chance"].null_count() == IMAGES * (2 + len(CONTROLS))
    table = found.table(resamples=20)
    (line,) = table.filter(metric="energy-pointing-game", method="uniform").rows(named=True)
    assert line["chance"] == pytest.approx(0.75)
    assert line["mean"] == pytest.approx(0.75)  # a map that knows nothing is at chance
    assert table.filter(metric="average-drop")["chance"].null_count() == 2 + len(CONTROLS)


def test_max_box_acc_equals_a_loop_over_thresholds(found):
    lines = {line["method"]: line for line in found.box_accuracy().iter_rows(named=True)}
    assert set(lines) == {"grad-cam", "saliency", *CONTROLS}
    curves = found.curves().filter(metric="boxes")
    for method, line in lines.items():
        mine = {r["image"]: r["curve"] for r in curves.filter(method=method).iter_rows(named=True)}
        mine.pop("3.png", None)  # has no box
        shares = [sum(curve[step] >= 0.6 for curve in mine.values()) / len(mine) for step in range(21)]
        assert line["max_box_acc"] == pytest.approx(max(shares))
        assert line["threshold"] == pytest.approx(shares.index(max(shares)) / 20)
        tops = [
            max(sum(c[step] >= o for c in mine.values()) for step in range(21)) / len(mine) for o in (0.3, 0.5, 0.7)
        ]
        assert line["overlaps_mean"] == pytest.approx(sum(tops) / 3)
        assert (line["metric"], line["overlap"], line["rows"]) == ("boxes", 0.6, 9)
        fixed = found.table(resamples=2).filter(method=method, metric="boxes")["mean"][0]
        assert fixed is None or fixed <= line["max_box_acc"] + 1e-9
    assert lines["uniform"]["max_box_acc"] == 1.0  # the box of the image overlaps by 0.75


def test_without_boxes_there_is_no_such_table(tmp_path):
    clf = sl.Classifier(seeded(ConvNet), size=8, decision="categorical")
    plain = [Record(path=r.path) for r in records(tmp_path / "photos", 2)]
    bench = benchmark(clf, plain, out=tmp_path / "run", metrics=["max-box-acc", "average-drop"], **QUIET)
    assert bench.box_accuracy().is_empty()
    text = Report.of(bench.path).write().read_text(encoding="utf-8")
    assert "over the data set" not in text
    assert "chance" not in text


def test_the_report_has_both(found, tmp_path):
    report = Report.of(found.path)
    text = report.write(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "boxes over the data set, boxes that overlap by 0.6" in text
    assert '<th scope="row">chance</th>' in text
    lines = list(csv.DictReader(report.export(tmp_path / "t.csv").open(encoding="utf-8")))
    known = {line["method"]: line for line in found.box_accuracy().iter_rows(named=True)}
    for line in lines:
        if line["metric"] == "boxes":
            assert float(line["max_box_acc"]) == known[line["method"]]["max_box_acc"]
            assert float(line["overlaps_mean"]) == known[line["method"]]["overlaps_mean"]
            assert float(line["threshold"]) == known[line["method"]]["threshold"]
        else:
            assert line["max_box_acc"] == line["threshold"] == ""
        assert (line["chance"] != "") == (line["metric"] == "energy-pointing-game"), line
    markdown = report.export(tmp_path / "t.md").read_text(encoding="utf-8")
    (luck,) = [line for line in markdown.splitlines() if "*chance*" in line]
    assert luck.count("0.75") == 1
    assert luck.count(" - ") == 2
    assert r"\emph{chance} & " in report.export(tmp_path / "t.tex").read_text(encoding="utf-8")


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    """Its parts have no column `chance`."""
    first = run(tmp_path, 4)
    for file in (first.path / "rows").glob("*.parquet"):
        pl.read_parquet(file).drop("chance").write_parquet(file)
    assert "chance" not in first.rows().columns
    assert Report.of(first.path).write().is_file()
    rows = run(tmp_path, 8).rows().filter(metric="energy-pointing-game")
    assert rows.filter(pl.col("image_index") < 4)["chance"].null_count() == 4 * (2 + len(CONTROLS))
    assert rows.filter(pl.col("image_index") >= 4)["chance"].null_count() == 0
    assert Report.of(first.path).write().is_file()


def test_the_shell_prints_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    records(tmp_path / "photos", 4)
    Path("net.py").write_text(
        "from torch import nn\ndef build():\n"
        "    body = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*body, nn.Linear(4, 3))\n"
    )
    Path("images.csv").write_text("path,boxes\n" + "".join(f"photos/{i}.png,0 0 6 8\n" for i in range(4)))
    asked = ["bench", "--table", "images.csv", "-m", "python:net.py:build", "--size", "8", "--fit", "squash",
             "--method", "grad-cam", "--metric", "max-box-acc", "--metric", "energy-pointing-game"]  # fmt: skip
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "MaxBoxAcc over all images" in said
    assert "chance - 0.750" in said
