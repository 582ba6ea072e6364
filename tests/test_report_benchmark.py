"""The report of a benchmark: its numbers, its files, and the page in a browser."""

import csv
import re

import polars as pl
import pytest
from typer.testing import CliRunner

import runs
from browser import drive, looks_right, needed
from sightline.cli import app
from sightline.errors import InputError, StorageError
from sightline.report.benchmark import Report

IMAGES = 14


@pytest.fixture(scope="module")
def frame():
    frame = runs.rows(IMAGES)
    broken = (pl.col("method") == "saliency") & (pl.col("image_index") == 3)
    frame = runs.without(frame, broken, "error", "the model ran out of memory")
    empty = (pl.col("method") == "layer-cam") & (pl.col("image_index") == 5)
    return runs.without(frame, empty, "empty")


@pytest.fixture(scope="module")
def report(frame, tmp_path_factory):
    folder = runs.write(tmp_path_factory.mktemp("report") / "run", frame, shown=range(8))
    made = Report.of(folder)
    made.write()
    return made


@pytest.fixture(scope="module")
def page(report):
    return report.results.path / "report.html"


def test_means_are_over_ok_rows_and_the_others_are_counted(report, frame):
    for (model, metric, method), cell in report.cells.items():
        part = frame.filter((pl.col("model") == model) & (pl.col("metric") == metric) & (pl.col("method") == method))
        values = part.filter(pl.col("status") == "ok")["value"].to_list()
        assert cell.mean == pytest.approx(sum(values) / len(values))
        assert cell.low <= cell.mean <= cell.high
    text = report.page()
    assert text is not None


def test_the_table_as_csv_has_every_digit(report, tmp_path):
    path = report.export(tmp_path / "table.csv")
    lines = list(csv.DictReader(path.open(encoding="utf-8")))
    assert len(lines) == len(report.cells)
    for line in lines:
        cell = report.cells[line["model"], line["metric"], line["method"]]
        assert float(line["mean"]) == cell.mean


def test_best_is_of_methods_on_the_same_images_and_the_others_say_what_they_lack(tmp_path):
    frame = runs.rows(IMAGES, models=("small",))
    rise = pl.col("method") == "rise(masks=500)"  # the best, of which six images are not done yet
    kept = frame.filter(~rise | (pl.col("image_index") < 8))
    lost = (pl.col("method") == "saliency") & (pl.col("image_index") == 3)
    empty = (pl.col("method") == "layer-cam") & (pl.col("image_index") == 5)
    kept = runs.without(runs.without(kept, lost, "error", "no memory"), empty, "empty")
    made = Report.of(runs.write(tmp_path / "run", kept))
    of = {method: cell for (_, metric, method), cell in made.cells.items() if metric == "insertion"}
    assert {name: cell.lacks for name, cell in of.items() if cell.lacks} == {"rise(masks=500)": 6, "saliency": 1}
    assert [name for name, cell in of.items() if cell.best] == ["grad-cam"]
    whole = Report.of(runs.write(tmp_path / "whole", frame)).cells
    assert [n for (_, metric, n), cell in whole.items() if metric == "insertion" and cell.best] == ["rise(masks=500)"]
    text = made.write(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "lacks 6 images" in text
    assert "not compared for bold" in text
    for ending in (".md", ".tex"):
        assert "Here: rise(masks=500), saliency." in made.export(tmp_path / f"t{ending}").read_text(encoding="utf-8")


@pytest.mark.parametrize("ending", [".md", ".tex"])
def test_the_table_for_a_text_names_all_methods_and_the_protocol(report, tmp_path, ending):
    text = report.export(tmp_path / f"table{ending}").read_text(encoding="utf-8")
    for method in (*runs.METHODS, *runs.CONTROLS):
        assert method.replace("_", r"\_") in text
    assert "predicted" in text
    with pytest.raises(InputError, match=r"\.csv"):
        report.export(tmp_path / "table.doc")


def test_the_page_is_one_file_that_asks_for_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", text)
    assert not re.findall(r"""url\(["']?(?!["']?(?:#|data:))""", text)
    assert "@import" not in text
    assert "the model ran out of memory" in text  # failures are told
    assert "photos/torn.jpg" in text


def test_what_does_not_beat_the_controls_is_said(report, page):
    cells = report.cells
    weak = [k for k, c in cells.items() if k[2] == "saliency" and k[1] == "insertion"]
    assert weak
    assert all(cells[k].behind for k in weak)  # planted at the level of the controls
    text = page.read_text(encoding="utf-8").casefold()
    assert "not beyond" in text


def test_the_shell_makes_it_and_says_where(report, tmp_path):
    folder = report.results.path
    out, table = tmp_path / "a.html", tmp_path / "t.csv"
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(out), "--export", str(table)])
    assert done.exit_code == 0, done.output
    assert out.is_file()
    assert table.is_file()
    assert str(out.resolve()) in done.output.replace("\n", "")


def test_no_run_is_a_clear_error(tmp_path):
    with pytest.raises(StorageError):
        Report.of(tmp_path / "nothing").write()


@needed
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_a_browser_shows_it(page, tmp_path, width, scheme):
    looks_right(tmp_path, page, width, scheme)


@needed
def test_a_press_on_a_title_sorts(page, tmp_path):
    """First the better end on top, then the other, by the numbers themselves."""
    script = """return all("table.sortable").map((table) => [...table.tHead.rows[0].cells].map((head, column) => {
      const shown = () => [...table.tBodies[0].rows].map((row) => row.cells[column]);
      const read = () => shown().map((cell) => head.dataset.sort === "words" ? cell.textContent.trim()
        : Number(cell.dataset.value ?? cell.textContent.trim()));
      const rows = read().length, seen = [head.dataset.sort];
      for (let press = 0; press < 2; press++) { head.querySelector("button").click(); seen.push(read()); }
      return [rows, ...seen];
    }));"""
    tables, _, console = drive(tmp_path, page, script)
    assert console == []
    assert len(tables) >= 2 * 3  # models x families
    for rows, way, once, twice in (column for table in tables for column in table):
        falls = way == "up"
        first, second = ([v for v in values if v is not None] for values in (once, twice))
        order = sorted(first, key=str.casefold) if way == "words" else sorted(first)
        assert first == (order[::-1] if falls else order)
        assert second == first[::-1]
        assert len(once) == rows
        assert None not in once[: len(first)]  # what has no value stays below


@needed
def test_a_model_a_metric_and_a_method_are_selected(report, page, tmp_path):
    """A choice shows one part and hides the others, in all places of the page that have the same choice."""
    script = """
      const state = () => all("[data-choice]").map((choice) => [choice.dataset.choice,
        choice.querySelector("select").value,
        [...choice.children].filter((part) => "option" in part.dataset && part.offsetParent !== null)
          .map((part) => part.dataset.option), choice.offsetParent !== null]);
      const names = (label) => all(`[data-choice="${label}"] > label select`)
        .map((select) => [...select.options].map((option) => option.value));
      const seen = {names: {}, states: []};
      for (const label of ["model", "metric", "method"]) {
        seen.names[label] = names(label);
        for (const name of seen.names[label][0] ?? []) {
          choose(document.querySelector(`[data-choice="${label}"] > label select`), name);
          seen.states.push([label, name, state()]);
        }
      }
      return seen;"""
    seen, fetched, console = drive(tmp_path, page, script)
    assert (fetched, console) == ([], [])
    assert seen["names"]["model"][0] == ["small", "large"]
    assert len(seen["names"]["model"]) >= 4  # the table, the order, curves, costs, examples
    assert sorted(seen["names"]["metric"][0]) == ["average-drop", "deletion", "increase-in-confidence", "insertion"]
    assert seen["names"]["method"][0] == list(report.results.methods)
    assert len(seen["states"]) == 2 + 4 + len(report.results.methods)
    for label, name, state in seen["states"]:
        for choice, value, visible, shown in state:
            if choice == label:
                assert value == name
            assert visible == ([value] if shown else [])  # one part of each choice that is itself to be seen
        assert any(shown for choice, *_, shown in state if choice == label)


@needed
def test_a_picked_method_stands_out_everywhere(report, page, tmp_path):
    script = """
      const picked = () => [...new Set(all("[data-key].picked").map((one) => one.dataset.key))].sort();
      const kinds = (key) => [...new Set(all(`[data-key="${key}"]`).map((one) => one.localName))].sort();
      const press = (key) => document.querySelector(`[data-pick="${key}"]`).click();
      const seen = [picked()];
      press(""); seen.push(picked());
      press("saliency"); seen.push(picked());
      const everywhere = all('[data-key="saliency"]').every((one) => one.classList.contains("picked"));
      press("centre"); seen.push(picked());
      press("saliency"); seen.push(picked());
      return {seen, kinds: kinds("saliency"), everywhere,
        pressed: all('[data-pick="centre"]').every((one) => one.getAttribute("aria-pressed") === "true")};"""
    found, fetched, console = drive(tmp_path, page, script)
    assert (fetched, console) == ([], [])
    first, *later = found["seen"]
    assert len(first) == 4  # the best three methods and the best control
    assert set(first) <= set(report.results.methods)
    assert later == [[], ["saliency"], ["centre", "saliency"], ["centre"]]
    assert found["kinds"] == ["button", "g", "span", "tr"]  # key, line, point, row
    assert found["everywhere"]
    assert found["pressed"]


@needed
def test_requests_and_errors_would_be_seen(page, tmp_path):
    """The page forbids itself to fetch anything; the tests above would notice an attempt, and an error."""
    spoilt = tmp_path / "spoilt.html"
    text = page.read_text(encoding="utf-8")
    spoilt.write_text(text.replace("</body>", '<img src="http://127.0.0.1:9/a.png"></body>'), encoding="utf-8")
    _, fetched, console = drive(tmp_path, spoilt, 'setTimeout(() => { throw new Error("planted"); }, 0); return 1;')
    assert any("127.0.0.1" in name for name in fetched)
    assert any("planted" in line for line in console)


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A run with metrics without limits, infinite values, NaN within curves, and a metric that never has a value."""
    metrics = {
        "entropy": ("complexity", "down", (0, None)),
        "segmentation-m2": ("faithfulness", "up", (None, 1)),
        "infidelity": ("faithfulness", "down", (0, None)),
        "insertion": ("faithfulness", "up", (0, 1)),
        "iou": ("localisation", "up", (0, 1)),
    }
    frame = runs.rows(9, metrics=metrics)
    number = pl.col("image_index")
    frame = frame.with_columns(
        value=pl.when((pl.col("metric") == "segmentation-m2") & (number == 2)).then(-float("inf"))
        .when((pl.col("metric") == "infidelity") & (pl.col("method") == "rise(masks=500)")).then(float("inf"))
        .otherwise(pl.col("value"))
    )  # fmt: skip
    frame = runs.without(frame, pl.col("metric") == "iou", "undefined")
    lines = runs.curves(frame)
    holes = [
        [float("nan") if i % 3 == 0 and k % 5 == 0 else v for k, v in enumerate(curve)]
        for i, curve in zip(lines["image_index"], lines["curve"], strict=True)
    ]
    whole = pl.Series(holes, dtype=pl.List(pl.Float64))
    lines = lines.with_columns(curve=whole).with_row_index().with_columns(
        curve=pl.when(pl.col("method") == "saliency").then(pl.col("curve") * float("nan")).otherwise(pl.col("curve"))
    ).drop("index")  # fmt: skip
    about = runs.manifest(metrics=metrics)
    return runs.write(tmp_path_factory.mktemp("endless") / "run", frame, about=about, lines=lines, shown=range(3))


def test_infinite_values_and_holes_in_curves_do_not_break_the_report(endless, tmp_path):
    report = Report.of(endless)
    text = report.write(tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:style|d)="[^"]*\b(?:nan|inf)\b[^"]*"', text, re.IGNORECASE)
    assert "nan to" not in text
    for words in ("0 and more", "1 and less", "0 to 1"):
        assert words in text
    assert "9 undefined" in text  # iou has no value anywhere
    for ending in (".csv", ".md", ".tex"):
        assert "infidelity" in report.export(tmp_path / f"t{ending}").read_text(encoding="utf-8")
    cell = report.cells["small", "infidelity", "rise(masks=500)"]
    assert cell.rows == 0  # one infinite value would be the mean of all
    assert not cell.best
    assert report.cells["small", "segmentation-m2", "grad-cam"].rows == 8


@needed
def test_a_browser_shows_a_run_with_infinite_values(endless, tmp_path):
    page = Report.of(endless).write(tmp_path / "a.html")
    script = """return all("table.sortable").map((table) => [...table.tHead.rows[0].cells].map((head) => {
      head.querySelector("button").click(); return table.tBodies[0].rows.length; }));"""
    counts, fetched, console = drive(tmp_path, page, script)
    assert (fetched, console) == ([], [])
    assert all(count >= 4 for table in counts for count in table)
