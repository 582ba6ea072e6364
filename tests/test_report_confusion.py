"""`sightline confusion` as it is typed, and the page of its run, also in a browser."""

import csv
import html
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from browser import drive, looks_right, needed
from confusions import CASES, NAMES, OBJECT, classifier, drawn
from sightline.cli import app
from sightline.data.annotations import Record
from sightline.errors import InputError, StorageError
from sightline.report.confusions import Report
from sightline.studies import confusion
from test_confusion import SETTINGS, write

NET = """
import sys
sys.path.insert(0, {tests!r})
from confusions import Colours

def build():
    return Colours()
"""


def data(root: Path) -> Path:
    """A folder of class folders with all cases, some twice, and one that is right."""
    for name, (pixels, label, _) in CASES.items():
        for copy in range(2 if name == "duplicate" else 1):
            write(root / NAMES[label], f"{name}-{copy}", pixels)
    write(root / "blue", "right", drawn(blue=OBJECT))
    return root


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    folder = tmp_path_factory.mktemp("confusion")
    found = confusion(classifier(), data(folder / "data"), out=folder / "run", name="colours", **SETTINGS)
    made = Report.of(found.path)
    made.write()
    return made


@pytest.fixture(scope="module")
def page(report: Report) -> Path:
    return report.study.path / "report.html"


def test_the_page_is_one_file_that_asks_for_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", text)
    assert not re.findall(r"""url\(["']?(?!["']?(?:#|data:))""", text)
    assert "@import" not in text


def test_every_error_stands_on_it_with_its_maps_its_kind_and_its_reason(report, page):
    text = html.unescape(page.read_text(encoding="utf-8"))
    wrong = report.wrong
    assert len(wrong) == 5
    for row in wrong.iter_rows(named=True):
        assert row["why"][:40] in text
        assert f"Image {row['image']}, labelled {row['true_name']}, classified as red." in text
        for role in ("predicted", "true"):
            assert f"Map of the {role} class {row[f'{role}_name']} on {row['image']}" in text
    assert text.count("<img") >= 3 * 5
    assert "5 of 6 images are misclassified" in text
    assert "crimson → red" in text
    for name, value in report.study.manifest["thresholds"].items():
        assert f"{name.replace('_', ' ')} {value}" in text
    assert "data-sort" in text


def test_figures_on_the_page_are_those_of_the_rows(report):
    page = report.page()
    pairs = next(s for s in page.sections if s.title == "Confused pairs").blocks[0]
    line = next(row for row in pairs.rows if row[0] == "crimson → red")
    mine = report.wrong.filter(report.wrong["true_name"] == "crimson")
    assert line[1:4] == ["2", "2", "0"]
    assert float(line[5]) == pytest.approx(mine["overlap"].mean(), abs=0.005)
    kinds = next(s for s in page.sections if s.title == "Kinds").blocks[1]
    assert {row[0]: row[1] for row in kinds.rows} == {
        "near-identical": "2", "same-place": "1", "several-objects": "1", "context": "1", "unclear": "0",
    }  # fmt: skip


def test_a_method_that_ignores_the_class_is_called_out(tmp_path):
    images = [
        Record(path=write(tmp_path / "images", name, pixels), label=label) for name, (pixels, label, _) in CASES.items()
    ]
    found = confusion(classifier(), images, out=tmp_path / "run", method="eigen-cam", **SETTINGS)
    text = Report.of(found.path).write(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Maps of unrelated classes agree as much" in text


def test_nothing_wrong_and_nothing_readable_are_said(tmp_path):
    images = [Record(path=write(tmp_path / "images", "right", drawn(blue=OBJECT)), label=2)]
    broken = tmp_path / "images" / "broken.png"
    broken.write_bytes(b"none")
    images.append(Record(path=broken, label=1))
    found = confusion(classifier(), images, out=tmp_path / "run", **SETTINGS)
    text = Report.of(found.path).write().read_text(encoding="utf-8")
    assert "No image is misclassified." in text
    assert "broken.png" in text
    with pytest.raises(StorageError, match="holds no run"):
        Report.of(tmp_path / "nothing")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("net.py").write_text(NET.format(tests=str(Path(__file__).parent)))
    Path("labels.txt").write_text("\n".join(NAMES))
    data(tmp_path / "val")
    return tmp_path


TYPED = ("-m", "python:net.py:build", "--labels", "labels.txt", "--size", "32", "--fit", "squash")


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_the_shell_finds_them_goes_on_and_makes_the_page(place):
    said = shell("confusion", "val", *TYPED, "--out", "run")
    assert "nothing is finished yet" in said
    assert "6 images to classify" in said
    assert "5 of 6 images are misclassified" in said
    assert "near-identical 2" in said
    assert "crimson → red" in said
    again = shell("confusion", "val", *TYPED, "--out", "run", "--threshold", "cosine=1", "--threshold", "deviations=9")
    assert "6 of 6 images are finished" in again
    assert "same-place 3" in again
    said = shell("report", "run", "--export", "errors.csv")
    assert "report.html" in said
    rows = list(csv.DictReader(Path("errors.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 5
    assert {row["kind"] for row in rows} == {"same-place", "several-objects", "context"}
    with pytest.raises(InputError, match=r"\.csv"):
        Report.check_suffix("errors.tex")


def test_a_table_with_boxes_and_a_broken_file(place):
    top, left, side = OBJECT
    (place / "val" / "torn.png").write_bytes(b"none")
    lines = ["path,label,boxes", *(f"{NAMES[c[1]]}/{n}-0.png,{NAMES[c[1]]},{left} {top} {left + side} {top + side}"
             for n, c in CASES.items()), "torn.png,red,"]  # fmt: skip
    Path("val/images.csv").write_text("\n".join(lines))
    said = shell("confusion", "--table", "val/images.csv", *TYPED, "--out", "boxed", "--set", "grad-cam.x=1", code=2)
    assert "grad-cam has no setting 'x'" in said
    said = shell("confusion", "--table", "val/images.csv", *TYPED, "--out", "boxed", code=1)
    assert "4 of 4 images are misclassified" in said
    assert "torn.png" in said
    text = Report.of("boxed").write().read_text(encoding="utf-8")
    assert "times a uniform map" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("val",), "name a model with --model"),
        (TYPED, "a folder for each class, or --table FILE"),
        (("val", *TYPED, "--boxes", "xml"), "--wnids"),
        (("val", *TYPED, "--threshold", "coincides=1"), "coincide, beyond, part"),
        (("val", *TYPED, "--threshold", "coincide=much"), "must be a number"),
        (("val", *TYPED, "--method", "grad-kam"), "did you mean"),
        (("val", *TYPED[:2], "--size", "32"), "no output of the classifier is called"),
    ],
)
def test_what_cannot_be_asked_is_said(place, words, text):
    assert text in shell("confusion", *words, code=2)


@needed
@pytest.mark.parametrize(("width", "scheme"), [(400, 0), (1400, 1)], ids=["narrow-dark", "wide-light"])
def test_a_browser_shows_it(page, tmp_path, width, scheme):
    looks_right(tmp_path, page, width, scheme)


@needed
def test_a_press_on_a_title_sorts_the_pairs_and_nothing_is_fetched(page, tmp_path):
    script = """
      const table = all("table.sortable")[0], head = table.tHead.rows[0].cells[1];
      const values = () => all("tbody tr", table).map((row) => Number(row.cells[1].textContent));
      head.querySelector("button").click(); const once = values();
      head.querySelector("button").click(); return [once, values()];"""
    (once, twice), fetched, console = drive(tmp_path, page, script)
    assert once == sorted(once, reverse=True)
    assert twice == sorted(once)
    assert len(set(once)) > 1
    assert fetched == []
    assert console == []


@needed
def test_the_choice_of_a_kind_shows_its_images_alone(page, tmp_path):
    script = """
      const select = all("select").find((s) => [...s.options].some((o) => o.textContent === "context"));
      const seen = () => all("img").filter((i) => i.offsetParent !== null).map((i) => i.alt).join("~");
      const before = seen(); choose(select, [...select.options].find((o) => o.textContent === "context").value);
      return [before, seen()];"""
    (before, after), _, _ = drive(tmp_path, page, script)
    assert "background-0.png" in after
    assert "two-objects" not in after
    assert before != after
