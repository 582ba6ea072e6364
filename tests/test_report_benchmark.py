"""The report of a benchmark: its numbers, its files, and the page in a browser."""

import csv
import re
import shutil
import subprocess

import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import runs
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


CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--enable-logging=stderr",
)  # fmt: skip


def browse(tmp_path, *arguments):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("chromium does not answer on this machine")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_a_browser_shows_it(page, tmp_path, width, scheme):
    shot = tmp_path / "shot.png"
    colours = f"--blink-settings=preferredColorScheme={scheme}"
    result = browse(tmp_path, f"--window-size={width},3000", f"--screenshot={shot}", colours, page.as_uri())
    if not shot.exists():
        pytest.skip(f"chromium takes no pictures on this machine: {result.stderr[-300:]}")
    assert "CONSOLE" not in result.stderr, result.stderr
    picture = Image.open(shot).convert("RGB")
    corner = sum(picture.getpixel((2, 2))) / 3
    assert (corner < 60) if scheme == 0 else (corner > 220)
    edge = picture.crop((width - 3, 0, width, picture.height)).getcolors()
    assert edge is not None
    assert len(edge) == 1, "something reaches over the right edge"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_press_on_a_title_sorts(page, tmp_path):
    script = """<script>addEventListener("load", () => {
      const table = document.querySelector("table.sortable"), head = [...table.tHead.rows[0].cells][3];
      const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim()).join("|");
      const before = names(); head.querySelector("button").click(); const once = names();
      head.querySelector("button").click(); const twice = names();
      document.body.dataset.sorted = [head.textContent, before, once, twice].join("~");
    });</script></body>"""
    driven = tmp_path / "driven.html"
    driven.write_text(page.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    result = browse(tmp_path, "--dump-dom", driven.as_uri())
    found = re.search(r'data-sorted="([^"]*)"', result.stdout)
    assert found, result.stderr[-500:]
    _, before, once, twice = found.group(1).split("~")
    assert sorted(before.split("|")) == sorted(once.split("|")) == sorted(twice.split("|"))
    assert once != twice
    assert once.split("|") == twice.split("|")[::-1] or once.split("|")[0] == twice.split("|")[-1]
