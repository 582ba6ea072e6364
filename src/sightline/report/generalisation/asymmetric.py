"""Whose pixels serve the other better: a graph with arrows, and the same by value of a factor."""

from typing import Any

from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.graph import Arrow, Graph, Node
from sightline.report.page import Block, Callout, Choice, Fold, Section, Table

SURE, MOST = 0.05, 40
_LEAD = (
    "An arrow goes from the model whose pixels serve the other better: G(a to b) is greater than G(b to a). A model "
    "that many arrows leave rests on pixels that are useful to all; one that many reach takes what others have found."
)


def of_asymmetry(figures: Figures) -> Section | None:
    """A graph a method; None of a family in which no pair has both indices."""
    options = [(view.label, _of_view(figures, view)) for view in figures.by_method]
    options = [(name, blocks) for name, blocks in options if blocks]
    if not options:
        return None
    return Section(title="Whose pixels serve whom", lead=_LEAD, blocks=[Choice(label="figures", options=options)])


def _of_view(figures: Figures, view: View) -> list[Block]:
    rows = [r for r in figures.asymmetry(view).iter_rows(named=True) if words.known(r["difference"])]
    if not rows:
        return []
    blocks: list[Block] = [_graph(figures, view, rows)]
    values = _values(figures, view)
    if values:
        blocks.append(values)
    return [*blocks, Fold(title=f"All {len(rows):,} pairs as a table", blocks=[_table(rows, view)])]


def _graph(figures: Figures, view: View, rows: list[dict[str, Any]]) -> Block:
    sure = [r for r in rows if words.known(r["p_holm"]) and r["p_holm"] < SURE]
    hint = [r for r in rows if r not in sure and not words.spans(r["low"], r["high"])]
    drawn = sorted([*sure, *hint], key=lambda r: (r in hint, -abs(r["difference"])))[:MOST]
    counts = (
        f"{len(sure)} of {len(rows)} pairs are asymmetric beyond chance (Holm over all pairs)"
        f"{f', {len(hint)} more by their own interval alone (dashed)' if hint else ''}."
    )
    if not drawn:
        text = f"None of the {len(rows)} pairs is asymmetric beyond its own 95 % interval over images."
        return Callout(title=f"No arrow to draw, {view.label}", text=text)
    place = {name: i for i, name in enumerate(figures.members)}
    nodes = [Node(key=figures.number(m), name=m, group=figures.group(m)) for m in figures.members]
    arrows = [_arrow(row, place, row in sure) for row in drawn]
    first = "; ".join(arrow.detail for arrow in arrows[:3])
    return Graph(
        title=f"Who serves whom better, {view.label}",
        alt=f"{len(arrows)} arrows between {len(nodes)} models. {first}",
        nodes=nodes,
        arrows=arrows,
        text=counts,
        note=f"Width: how much the two differ. {f'The {MOST} largest are drawn. ' if len(drawn) == MOST else ''}"
        "Point at an arrow for its figures.",
    )


def _arrow(row: dict[str, Any], place: dict[str, int], sure: bool) -> Arrow:
    a, b = (row["a"], row["b"]) if row["difference"] > 0 else (row["b"], row["a"])
    there, back = (row["g_ab"], row["g_ba"]) if row["difference"] > 0 else (row["g_ba"], row["g_ab"])
    low, high = (
        sorted((abs(row["low"]), abs(row["high"]))) if not words.spans(row["low"], row["high"]) else (None, None)
    )
    detail = (
        f"{a} serves {b} better: G = {words.number(there)} against {words.number(back)}, by "
        f"{words.number(abs(row['difference']))}{words.ends(low, high)}, {words.probability(row['p_holm'])} (Holm)"
    )
    return Arrow(tail=place[a], head=place[b], weight=abs(row["difference"]), detail=detail, sure=sure)


def _values(figures: Figures, view: View) -> Table | None:
    """By value of each factor: do such models serve such others better?"""
    lines = [
        [
            r["factor"], f"{r['a']}, {r['b']}", words.number(r["g_ab"]), words.number(r["g_ba"]),
            words.told(r, "difference"), words.probability(r["p_holm"]), r["note"] or "",
        ]
        for factor in figures.factors
        for r in figures.asymmetry(view, factor).iter_rows(named=True)
    ]  # fmt: skip
    if not lines:
        return None
    return Table(
        caption="The same between values of a factor",
        columns=["factor", "a, b", "G(a to b)", "G(b to a)", "difference [95 %]", "p (Holm)", "note"],
        rows=lines,
        text_columns=[1, 6],
        note="Interval over images and models; p by giving the models of both values their values anew. A row says "
        "whether such models differ, an arrow whether these two do.",
    )


def _table(rows: list[dict[str, Any]], view: View) -> Table:
    ordered = sorted(rows, key=lambda r: -abs(r["difference"]))
    lines = [
        [
            r["a"], r["b"], words.number(r["g_ab"]), words.number(r["g_ba"]), words.told(r, "difference"),
            words.probability(r["p_holm"]), r["note"] or "",
        ] for r in ordered
    ]  # fmt: skip
    return Table(
        caption=f"G(a to b) - G(b to a), the greatest difference first ({view.label})",
        columns=["a", "b", "G(a to b)", "G(b to a)", "difference [95 %]", "p (Holm)", "note"],
        rows=lines,
        text_columns=[1, 6],
        note="Interval and p over images: whether these two models differ on images like these.",
    )
