"""Matrix, bars, graph, cloud and fold of a page: what is drawn is what was given, also in a browser."""

import math
import re
from pathlib import Path

import pytest

from browser import drive, looks_right, needed
from sightline.errors import InputError
from sightline.report.bars import Bars, Line, axis_of
from sightline.report.chart import Axis, Chart, Charts, Series
from sightline.report.graph import SIDE, Arrow, Graph, Node
from sightline.report.matrix import Head, Matrix, Square
from sightline.report.page import Fold, Page, Section, Table, Text, render_page, write_page

HEADS = [Head(key=str(i + 1), name=f"net-{i}", group="a" if i < 2 else "b") for i in range(3)]


def squares() -> list[list[Square]]:
    values = [[1.0, 0.4, None], [-0.3, 1.0, 0.9], [1.7, 0.02, 1.0]]
    return [
        [
            Square(value=v, text="-" if v is None else f"{v:.2f}", detail=f"{i} for {j}", own=i == j, faint=v == 0.02)
            for j, v in enumerate(row)
        ]
        for i, row in enumerate(values)
    ]


def matrix(**more) -> Matrix:
    given = {"rows": HEADS, "columns": HEADS, "squares": squares()} | more
    return Matrix(title="G", row_axis="source", column_axis="target", **given)


def arrows() -> list[Arrow]:
    return [
        Arrow(tail=0, head=2, weight=0.4, detail="one"),
        Arrow(tail=2, head=1, weight=0.8, detail="two", sure=False),
    ]


def graph(**more) -> Graph:
    given = {"nodes": [Node(key=h.key, name=h.name, group=h.group) for h in HEADS], "arrows": arrows()} | more
    return Graph(title="who", alt="two arrows", **given)


LINES = [
    Line(name="seed", value=0.8, low=0.7, high=0.9, text="0.80"),
    Line(name="below", value=-0.2, low=-0.3, high=0.1, text="-0.20", faint=True),
    Line(name="not known", value=None, text="not defined", note="no own map", control=True),
]


def cloud() -> Charts:
    series = [
        Series(name="seed", x=[0.1, 0.2], y=[0.5, 0.6], labels=["p & q", "r"], picked=True),
        Series(name="task", x=[0.3], y=[0.1], labels=["s"]),
    ]
    axes = {"x": Axis(label="similarity", low=0, high=1), "y": Axis(label="G", low=0, high=1)}
    return Charts(items=[Chart(title="c", alt="points", form="cloud", series=series, **axes)])


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    bars = Bars(title="bars", axis=axis_of("G", LINES, 0, 1), lines=LINES, marks=[(0, "random"), (1, "own")])
    table = Table(caption="long", columns=["a", "b"], rows=[["1", "2"]])
    blocks = [matrix(), bars, graph(), cloud(), Fold(title="All of it", blocks=[table, Text("hidden at first")])]
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, Page(title="Drawn", sections=[Section(title="All", blocks=blocks)]))
    return path


def test_squares_take_their_colour_from_their_value():
    made = matrix()
    row = made.squares[0]
    assert [made.share(s) for s in row] == [100, 40, 0]
    assert [made.style(s) for s in row] == ["own strong", "", "void"]
    assert made.style(made.squares[1][0]) == "below"
    assert made.share(made.squares[1][0]) == 30
    assert made.share(made.squares[2][0]) == 100  # beyond the end of the scale
    assert made.style(made.squares[2][1]) == "faint"
    assert made.column_groups == [("a", 2), ("b", 1)]
    assert made.starts(HEADS) == [False, False, True]
    alone = [Head(key="1", name="x"), Head(key="2", name="y")]
    assert matrix(rows=alone, columns=alone, squares=[r[:2] for r in squares()[:2]]).column_groups == []
    with pytest.raises(InputError, match="3 rows of 3"):
        matrix(squares=squares()[:2])
    with pytest.raises(InputError, match="must go up"):
        matrix(low=1.0)


def test_bars_and_whiskers_lie_on_one_axis():
    axis = Axis(label="G", low=-0.5, high=1.5)
    made = Bars(title="bars", axis=axis, lines=LINES)
    assert made.zero == 25
    assert made.bar(LINES[0]) == (25, 40)
    assert made.bar(LINES[1]) == (15, 10)
    assert made.whisker(LINES[0]) == (60, 10)
    assert made.whisker(LINES[2]) is None
    found = axis_of("G", LINES, 1)
    assert found.low < -0.3
    assert found.high > 1
    assert axis_of("G", [LINES[2]]).low == 0
    with pytest.raises(InputError, match="no bars"):
        Bars(title="none", axis=axis, lines=[])


def test_arrows_begin_and_end_at_their_nodes():
    made = graph()
    drawn = made.drawn
    assert [one.detail for one, *_ in drawn] == ["two", "one"]  # what is unsure lies below
    assert drawn[0][3] > drawn[1][3]  # and its width says how strong it is
    for arrow, line, tip, _ in drawn:
        start = tuple(map(float, re.findall(r"[\d.]+", line)[:2]))
        corners = [tuple(map(float, pair.split(","))) for pair in tip[1:-1].split(" ")]
        assert math.dist(start, made.places[arrow.tail]) == pytest.approx(made.radius + 1, abs=0.2)
        assert math.dist(corners[1], made.places[arrow.head]) == pytest.approx(made.radius + 1.5, abs=0.2)
    assert all(0 < value < SIDE for place in made.places for value in place)
    assert made.hue(made.nodes[0]) == made.hue(made.nodes[1]) != made.hue(made.nodes[2])
    many = graph(nodes=[Node(key=str(i), name=str(i)) for i in range(40)], arrows=[])
    near = min(math.dist(many.places[0], place) for place in many.places[1:])
    assert near > 2 * many.radius
    assert many.places[0] == (200, pytest.approx(21, abs=0.1))
    assert graph(nodes=made.nodes[:1], arrows=[]).places == [(200, 200)]
    for wrong in ((0, 0), (0, 3)):
        with pytest.raises(InputError, match="an arrow goes"):
            graph(arrows=[Arrow(tail=wrong[0], head=wrong[1], weight=1, detail="-")])
    with pytest.raises(InputError, match="alt"):
        Graph(title="t", alt=" ", nodes=made.nodes, arrows=[])


def test_the_page_says_in_words_what_it_draws(page):
    text = page.read_text(encoding="utf-8")
    for said in ("0 for 2", "not defined", "no own map", "two arrows", "<title>one</title>", 'title="p &amp; q"'):
        assert said in text, said
    assert text.count('class="point') == 3
    assert "<summary>All of it</summary>" in text
    with pytest.raises(InputError, match="different number"):
        Series(name="x", x=[1, 2], y=[1, 2], labels=["one"])


def test_a_matrix_of_one_group_has_no_row_of_groups():
    alone = [Head(key="1", name="x"), Head(key="2", name="y")]
    made = matrix(rows=alone, columns=alone, squares=[r[:2] for r in squares()[:2]])
    assert 'class="groups"' not in render_page(Page(title="t", sections=[Section(title="s", blocks=[made])]))


@needed
@pytest.mark.parametrize(("width", "scheme"), [(400, 0), (1400, 1)], ids=["narrow-dark", "wide-light"])
def test_a_browser_shows_it(page, tmp_path, width, scheme):
    looks_right(tmp_path, page, width, scheme)


@needed
def test_arrow_keys_go_through_the_matrix_and_what_is_reached_is_told(page, tmp_path):
    script = """
      const cell = (i, j) => all(".matrix tbody tr")[i].querySelectorAll("td")[j], told = all(".told")[0];
      const press = (name) => new KeyboardEvent("keydown", {key: name, bubbles: true});
      const key = (name) => document.activeElement.dispatchEvent(press(name));
      cell(0, 0).focus(); const first = told.textContent;
      key("ArrowRight"); key("ArrowRight"); key("ArrowRight"); key("ArrowDown");
      const there = cell(1, 2), reached = [told.textContent, document.activeElement === there, there.tabIndex];
      cell(2, 0).dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
      const fold = all("details")[0], before = fold.open; all("summary")[0].click();
      return [first, ...reached, cell(0, 0).tabIndex, told.textContent, before, fold.open];"""
    found, fetched, console = drive(tmp_path, page, script)
    assert found == ["0 for 0", "1 for 2", True, 0, -1, "2 for 0", False, True]
    assert fetched == []
    assert console == []
