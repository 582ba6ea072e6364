"""The page of an audit and of a comparison: what stands there, figures against tables, files, also in a browser."""

import csv
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from audit_tables import Made, bias, error
from audited import NAMES, classifier, drawn
from browser import drive, looks_right, needed
from sightline.errors import InputError, StorageError
from sightline.report.audit import Report
from sightline.report.audit.cells import group_of, rate, signed, top
from sightline.report.audit.export import FORMAT
from sightline.report.audit.headline import _further, of_findings
from sightline.report.audit.pictures import SIDE, Pictures, outlined
from sightline.report.page import Estimate, Stack
from sightline.studies.auditing import Audit, audit
from sightline.studies.auditing.findings import findings

SETTINGS = {"methods": ["grad-cam", "hires-cam"], "groups": ("Wearing_Hat",), "progress": False}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    folder = tmp_path_factory.mktemp("audit")
    faces = drawn(100)
    audit(classifier(), faces, out=folder / "run", name="faulty", edits=["occlude"], **SETTINGS)
    audit(classifier(shift=0.0), faces, out=folder / "run" / "against", name="mended", **SETTINGS)
    made = Report.of(folder / "run")
    made.write()
    return made


@pytest.fixture(scope="module")
def page(report: Report) -> Path:
    return report.audit.path / "report.html"


@pytest.fixture(scope="module")
def comparison(report: Report, page: Path) -> Path:
    return page.with_name("comparison.html")


@pytest.fixture(scope="module")
def parts(report: Report) -> dict:
    return {part.title: part for part in report.page().sections}


def test_the_pages_ask_for_nothing(page, comparison):
    for path in (page, comparison):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", text)
        assert "@import" not in text


def test_the_planted_fault_stands_first_in_sentences_with_pictures(report, page, parts):
    text = html.unescape(page.read_text(encoding="utf-8"))
    found = report.audit.findings()
    assert set(found.filter(found["severity"] > 0)["attribute"]) == {"Eyeglasses"}
    assert {"neglected-minority", "bias-decides"} <= set(found["kind"])
    for sentence in found["sentence"]:
        assert sentence in text
    blocks = parts["What was found"].blocks
    assert [b.kind for b in blocks[:3]] == ["callout", "callout", "figures"]
    assert "1 of 3 attributes: Eyeglasses" in blocks[0].text
    pair = blocks[2].items
    assert ["the rarer answer" in f.title or "the usual answer" in f.title for f in pair] == [True, True]
    pixels = np.asarray(pair[1].picture)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert (pixels == 255).all(-1).sum() > 50  # the outline of the region


def test_figures_on_the_page_are_those_of_the_tables(report, parts):
    table = parts["Errors"].blocks[0]
    line = next(r for r in report.audit.errors().to_dicts() if r["attribute"] == "Eyeglasses")
    row = next(r for r in table.rows if r[0] == "Eyeglasses")
    assert row[1:3] == [line["minority"], str(line["minority_count"])]
    assert row[3].value == line["minority_error"]
    assert f"{line['FN']} of {line['positives']} images" in row[3].detail
    shares = parts["Bias or evidence"].blocks[0]
    cell = next(r for r in shares.rows if r[0] == "Eyeglasses: no")[3]
    assert isinstance(cell, Stack)
    assert sum(cell.parts) == pytest.approx(1)
    assert cell.parts[0] > 0.5
    edits = parts["Interventions"].blocks[-1]
    assert {row[0] for row in edits.rows} == {name.replace("_", " ") for name in NAMES}


def test_groups_that_are_too_small_are_grey_and_below(report, parts):
    table = parts["Groups"].blocks[0].options[0][1][0]
    frame = report.audit.groups()
    assert len(table.rows) == len(frame)
    grey = int(frame["greyed"].sum())
    assert sorted(table.dimmed) == list(range(len(frame) - grey, len(frame)))
    assert all(table.rows[i][7] == "-" for i in table.dimmed)


def test_examples_show_the_errors_with_their_maps(report, page, parts):
    option = dict(parts["Examples"].blocks[0].options)["Eyeglasses"]
    titles = [block.title for block in option]
    assert titles[0] == "Eyeglasses: FN"
    assert len(option[0].items) == 8
    text = page.read_text(encoding="utf-8")
    decisions = report.audit.decisions()
    surest = decisions.filter((decisions["attribute"] == "Eyeglasses") & (decisions["outcome"] == "FN")).sort("z")
    assert f"Image {surest['image'][0]}: has it, and the classifier says no." in text


def test_tables_and_everything_are_exported(report, tmp_path):
    path = report.export(tmp_path / "run-errors.csv")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [row["attribute"] for row in rows] == report.audit.errors()["attribute"].to_list()
    found = json.loads(report.export(tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert found["format"] == FORMAT
    assert {row["attribute"] for row in found["findings"]} == {"Eyeglasses"}
    assert len(found["bias"]) == 6
    assert found["images"] == 100
    for wrong in ("table.csv", "errors.tex"):
        with pytest.raises(InputError, match="errors"):
            report.check_suffix(wrong)


def test_a_comparison_tells_what_changed(comparison):
    text = html.unescape(comparison.read_text(encoding="utf-8"))
    assert "“faulty” against “mended”" in text
    assert "beyond its 95 % interval: Eyeglasses (" in text
    assert "The rarer side bears the errors: 1 with “faulty”, 0 with “mended”" in text
    assert text.count("Mean map of") >= 8


def test_what_is_no_audit_or_has_no_rows_is_said(tmp_path):
    with pytest.raises(StorageError, match="holds no run"):
        Report.of(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "sightline run 1", "study": "benchmark"}))
    with pytest.raises(StorageError, match="'benchmark'"):
        Report.of(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "sightline run 1", "study": "audit"}))
    with pytest.raises(StorageError, match="no finished rows"):
        Report.of(tmp_path)


def test_a_classifier_without_findings_is_told_so_and_what_was_not_asked(report):
    other = Audit(report.audit.path / "against")
    text = str(of_findings(other, Pictures(other)).blocks)
    assert "Nothing stands out" in text
    assert "No interventions were made" in text


def test_findings_of_many_attributes_stand_in_a_table_an_attribute_together():
    made = Made([error(f"a{i:02}", 100, 95 - 5 * i, 900, 1) for i in range(10)])
    made.bias_lines = [bias(f"a{i:02}", "no", head=0.1, common=0.6) for i in (3, 7)]
    table = _further(findings(made))
    assert [row[0] for row in table.rows][:5] == ["a00", "a01", "a02", "a03", "a03"]
    assert len(table.rows) == 12
    assert table.rows[0][2] == "3 (grave)"


def test_cells():
    line = {"a": 0.2, "a_low": 0.1, "a_high": 0.4, "b": None, "c": float("nan")}
    assert rate(line, "b", 1.0) == rate(line, "c", 1.0) == signed(line, "b", -1, 1) == "-"
    cell = rate(line, "a", 0.4, counts="2 of 10 images")
    assert isinstance(cell, Estimate)
    assert (cell.text, cell.mean, cell.low, cell.high) == ("20 %", 0.5, 0.25, 1.0)
    assert cell.detail == "95 % interval [10, 40] %; 2 of 10 images"
    assert signed(line, "a", -0.4, 0.4).mean == pytest.approx(0.75)
    assert top([line], ["a", "b"]) == 0.4
    assert top([], ["a"]) == 0.05
    assert group_of("Male x age_group", "no x 30_to_40") == "Male: no, age group: 30 to 40"


def test_a_stack_lays_negative_parts_to_the_left_of_zero():
    stack = Stack(parts=(-0.5, 0.3, 1.2), names=("a", "b", "c"), detail="-", low=-0.5, high=1.5)
    places = {name: (float(left), float(left) + float(width)) for _, name, left, width in stack.pieces}
    assert places == {"a": (0.0, 25.0), "b": (25.0, 40.0), "c": (40.0, 100.0)}
    assert (float(stack.zero), float(stack.one)) == (25.0, 75.0)


def test_an_outline_runs_along_the_border_alone():
    region = np.zeros((40, 40), dtype=bool)
    region[10:30, 10:30] = True
    drawn_ = outlined(np.full((40, 40, 3), 90, dtype=np.uint8), region)
    white = (drawn_ == 255).all(-1)
    assert white[10, 15:25].all()
    assert not white[15:25, 15:25].any()
    assert (drawn_[20, 20] == 90).all()
    assert (drawn_[2, 2] == 90).all()


@needed
@pytest.mark.parametrize(("width", "scheme"), [(400, 0), (1400, 1)], ids=["narrow-dark", "wide-light"])
def test_a_browser_shows_it(page, comparison, tmp_path, width, scheme):
    looks_right(tmp_path, page if width == 400 else comparison, width, scheme)


@needed
def test_errors_sort_by_a_press_and_nothing_is_fetched(page, tmp_path):
    script = """
      const table = all("table.sortable")[0], head = table.tHead.rows[0].cells[3];
      const values = () => all("tbody tr", table).map((row) => Number(row.cells[3].dataset.value));
      head.querySelector("button").click(); const once = values();
      head.querySelector("button").click(); return [once, values()];"""
    (once, twice), fetched, console = drive(tmp_path, page, script)
    assert once == sorted(once, reverse=True)
    assert twice == sorted(once)
    assert len(set(once)) > 1
    assert fetched == []
    assert console == []
