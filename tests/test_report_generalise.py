"""The page of a generalisation study: what stands there, figures against tables, files, also in a browser."""

import csv
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from browser import drive, looks_right, needed
from generalised_made import METHODS, members, write_run
from sightline.errors import InputError, StorageError
from sightline.report.generalisation import Report, words
from sightline.report.generalisation.export import FORMAT, TABLES
from sightline.report.generalisation.pictures import _kept
from sightline.report.page import Callout, Choice, Fold

RESAMPLES = 60
SECTIONS = [
    "What was found", "The family", "From model to model", "By what differs", "Whose pixels serve whom", "Curves",
    "Controls", "Can the rule be trusted?", "Similar maps", "Parts of the image", "Images under each mask", "Mean maps",
    "What could not be read", "Protocol",
]  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    folder = tmp_path_factory.mktemp("generalise") / "run"
    write_run(folder, family=members(seeds=2), count=25)
    made = Report.of(folder, resamples=RESAMPLES)
    made.write()
    return made


@pytest.fixture(scope="module")
def page(report: Report) -> Path:
    return report.study.path / "report.html"


@pytest.fixture(scope="module")
def parts(report: Report) -> dict:
    return {part.title: part for part in report.page().sections}


def first(section, kind):
    """The first block of a kind, within choices and folds too."""
    return next(block for block in flat(section.blocks) if block.kind == kind)


def flat(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Choice):
            for _, inner in block.options:
                yield from flat(inner)
        if isinstance(block, Fold):
            yield from flat(block.blocks)


def test_the_page_is_one_file_that_asks_for_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", text)
    assert "@import" not in text
    assert [html.unescape(t) for t in re.findall(r"<h2[^>]*>(.*?)</h2>", text)] == SECTIONS


def test_the_sentences_stand_first_and_the_index_by_what_differs_beside_them(report, parts, page):
    text = html.unescape(page.read_text(encoding="utf-8"))
    said = report.figures.sentences
    assert said
    for one in said:
        assert one.text.removeprefix(f"{one.figures.get('method')}: ") in text
    bars = first(parts["What was found"], "bars")
    frame = report.figures.groups(report.figures.main)
    assert [line.value for line in bars.lines] == frame["g"].to_list()
    assert bars.lines[0].name == words.differing(frame["differs"][0])
    far = next(line for line in bars.lines if line.name == "differ in pretraining")
    near = next(line for line in bars.lines if line.name == "differ in seed")
    assert near.value > far.value + 0.3


def test_the_matrix_shows_the_index_and_hatches_what_is_not_defined(report, parts):
    matrix = first(parts["From model to model"], "matrix")
    rows = {(r["source"], r["target"]): r for r in report.figures.index(report.figures.main).iter_rows(named=True)}
    names = [head.name for head in matrix.columns]
    assert names == report.figures.members
    assert [head.name for head in matrix.rows][: len(names)] == names
    useless = names.index("scratch-Smiling-1")
    for head, squares in zip(matrix.rows, matrix.squares, strict=True):
        assert squares[useless].value is None
        assert "not defined" in squares[useless].detail
        for name, square in zip(names, squares, strict=True):
            row = rows[head.name, name]
            assert square.own == (head.name == name)
            if row["defined"] and not square.own:
                assert square.value == row["g"]
                assert f"G = {words.number(row['g'])}" in square.detail
                assert f"{words.number(row['g_low'])} to {words.number(row['g_high'])}" in square.detail
    assert matrix.column_groups == [("pretraining: imagenet", 4), ("pretraining: scratch", 4)]
    notes = [b for b in flat(parts["From model to model"].blocks) if isinstance(b, Callout)]
    assert "scratch-Smiling-1" in notes[0].items[0]
    assert first(parts["From model to model"], "fold").blocks[0].rows


def test_the_strongest_factor_stands_first_and_parts_the_models(report, parts):
    effects = report.figures.effects(report.figures.main)
    assert report.figures.factors[0] == "pretraining"
    assert report.figures.group("imagenet-Male-0") == "pretraining: imagenet"
    shown = flat(parts["By what differs"].blocks)
    bars = next(b for b in shown if b.kind == "bars" and b.title == "What matters most")
    row = effects.filter(factor="pretraining").to_dicts()[0]
    assert bars.lines[0].name == "pretraining"
    assert bars.lines[0].value == row["effect"]
    assert words.probability(row["p_holm"]) in bars.lines[0].note


def test_arrows_go_from_the_model_whose_pixels_serve_the_other_better(report, parts):
    graph = first(parts["Whose pixels serve whom"], "graph")
    rows = {frozenset((r["a"], r["b"])): r for r in report.figures.asymmetry(report.figures.main).iter_rows(named=True)}
    names = [node.name for node in graph.nodes]
    assert names == report.figures.members
    assert graph.arrows
    for arrow in graph.arrows:
        tail, head = names[arrow.tail], names[arrow.head]
        row = rows[frozenset((tail, head))]
        gained = row["difference"] if row["a"] == tail else -row["difference"]
        assert gained == pytest.approx(arrow.weight)
        assert arrow.sure == (row["p_holm"] < 0.05)
        assert not words.spans(row["low"], row["high"]) or arrow.sure


def test_curves_are_means_over_images_with_controls_in_grey(report, parts):
    charts = first(parts["Curves"], "charts")
    curves = report.figures.curves(report.figures.main)
    series = {one.name: one for one in charts.items[0].series}
    t = np.arange(len(curves.targets))
    assert series["its own map"].y == pytest.approx(np.nanmean(curves.values[:, t, t], axis=(0, 1)).tolist())
    assert series["random"].control
    assert series["random"].picked
    assert not series["differ in seed"].control
    choice = next(b for b in flat(parts["Curves"].blocks) if isinstance(b, Choice) and b.label == "target")
    assert len(choice.options) == len(curves.targets)
    target = choice.options[0][0].split(" ")[1]
    mine = {one.name: one for one in choice.options[0][1][0].items[0].series}
    source = next(name for name in curves.targets if name != target)
    wanted = curves.values[:, curves.source(source), curves.targets.index(target)].mean(0)
    assert mine[source].y == pytest.approx(wanted.tolist())


def test_similarity_is_set_against_the_index(report, parts):
    charts = first(parts["Similar maps"], "charts")
    points = [(x, y) for one in charts.items[0].series for x, y in zip(one.x, one.y, strict=True)]
    assert len(points) == 21  # pairs of the seven models that have an index
    rho = report.figures.agreement(report.figures.main).filter(measure="spearman")["rho"][0]
    assert words.number(rho) in charts.text


def test_controls_validity_and_parts_are_those_of_the_tables(report, parts):
    bars = first(parts["Controls"], "bars")
    frame = report.figures.controls(report.figures.main)
    mean = {r["control"]: r for r in frame.filter(frame["target"].is_null()).iter_rows(named=True)}
    for line in bars.lines:
        assert line.value == mean[line.name.partition(":")[0]]["excess"]
    shown = first(parts["Can the rule be trusted?"], "bars")
    assert any("random: all" in line.name for line in shown.lines)
    regions = first(parts["Parts of the image"], "bars")
    table = report.figures.parts.filter(method=METHODS[0], factor="")
    assert [line.value for line in regions.lines] == table["density"].to_list()


def test_a_mask_keeps_the_share_that_was_asked(report):
    photo = np.random.default_rng(0).integers(200, 255, (40, 40, 3)).astype(np.uint8)
    kept = _kept(report.study, photo, 3, "imagenet-Male-0", METHODS[0], 5)
    assert kept is not None
    taken = (kept == photo).all(-1)
    assert taken.sum() == 80  # 5 % of 1,600
    assert (kept[~taken] == 128).all()
    assert _kept(report.study, photo, 0, "imagenet-Male-0", METHODS[0], 5) is None  # it could not be read


def test_failures_and_protocol_stand_there(parts, page):
    table = parts["What could not be read"].blocks[0]
    assert table.rows == [["0.png", "8 of 8", "the image cannot be read"]]
    assert "1 of 25 images" in parts["What could not be read"].lead
    text = html.unescape(page.read_text(encoding="utf-8"))
    for said in ("raw signed relevance", "2006.16795", "this project's own"):
        assert said in text


def test_tables_and_everything_are_exported(report, tmp_path):
    path = report.export(tmp_path / "run-index.csv")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    views = {(r["method"], r["measure"]) for r in rows}
    assert views == {(m, measure) for m in METHODS for measure in ("accuracy", "agreement", "score")}
    empty = [r for r in rows if r["defined"] == "false"]
    assert empty
    assert all(r["g"] == "" and r["note"] for r in empty)
    found = json.loads(report.export(tmp_path / "generalisation.json").read_text(encoding="utf-8"))
    assert found["format"] == FORMAT
    assert found["images"] == 24
    assert [s["text"] for s in found["sentences"]] == [s.text for s in report.figures.sentences]
    assert {"index", "groups", "factors", "asymmetry", "similarity", "validity", "parts"} <= set(found)
    assert set(TABLES) - {"decisions"} <= set(found)
    undefined = [r for r in found["index"] if not r["defined"]]
    assert undefined
    assert all(r["g"] is None for r in undefined)
    for wrong in ("table.csv", "index.tex"):
        with pytest.raises(InputError, match="index"):
            report.check_suffix(wrong)


def test_what_is_no_such_study_or_has_too_little_is_said(tmp_path):
    with pytest.raises(StorageError, match="holds no run"):
        Report.of(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "sightline run 1", "study": "audit"}))
    with pytest.raises(StorageError, match="'audit'"):
        Report.of(tmp_path)
    write_run(
        tmp_path / "small", family=members(seeds=1), count=3, failed=2, methods=METHODS[:1], regions={}, validity=0
    )
    with pytest.raises(StorageError, match="1 finished image"):
        Report.of(tmp_path / "small")


def test_two_models_without_parts_validity_and_pictures_make_a_page_too(tmp_path):
    family = {"a": {"seed": "0"}, "b": {"seed": "1"}}
    for factors in family.values():
        factors["task"] = "Male"
    write_run(tmp_path / "run", family=family, count=8, failed=0, methods=METHODS[:1], controls=("random",), regions={},
              validity=0, thumbs=0)  # fmt: skip
    made = Report.of(tmp_path / "run", resamples=RESAMPLES)
    titles = [part.title for part in made.page().sections]
    assert "Parts of the image" not in titles
    assert "Images under each mask" not in titles
    assert {"From model to model", "Curves", "Controls", "Protocol"} <= set(titles)
    assert made.figures.factors == ["seed"]
    assert made.write().is_file()


def test_words():
    assert words.short(0.434) == ".43"
    assert words.short(-0.05) == "-.05"
    assert words.short(-0.001) == ".00"
    assert words.short(0.999) == "1.0"
    assert words.short(1.26) == "1.3"
    assert words.short(None) == "–"
    assert words.told({"g": None}, "g") == words.UNDEFINED
    assert words.told({"g": 0.5, "low": 0.25, "high": 0.75}, "g") == "0.50 [0.25, 0.75]"
    assert words.differing("pretraining, task, seed") == "differ in pretraining, task and seed"
    assert words.differing("nothing") == "differ in no factor"
    assert words.spans(None, 1)
    assert not words.spans(0.1, 0.2)
    assert words.probability(0.0002) == "p < 0.001"


@needed
@pytest.mark.parametrize(("width", "scheme"), [(400, 0), (1400, 1)], ids=["narrow-dark", "wide-light"])
def test_a_browser_shows_it(page, tmp_path, width, scheme):
    looks_right(tmp_path, page, width, scheme)


@needed
def test_a_choice_of_figures_changes_all_sections_and_nothing_is_fetched(page, tmp_path):
    script = """
      const choices = all("[data-choice='figures']");
      const select = choices[0].querySelector("select"), last = [...select.options].at(-1).value;
      choose(select, last);
      const shown = choices.filter((one) => [...one.querySelector("select").options].some((o) => o.value === last))
        .map((one) => one.querySelector("select").value === last);
      const cell = all(".matrix td.void").find((one) => one.offsetParent); cell.focus();
      return [shown.length > 1 && shown.every(Boolean), cell.closest(".matrix").querySelector(".told").textContent];"""
    (together, told), fetched, console = drive(tmp_path, page, script)
    assert together
    assert "not defined" in told
    assert fetched == []
    assert console == []
