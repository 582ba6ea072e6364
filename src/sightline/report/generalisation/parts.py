"""Which parts of the image hold the relevance, over all models and by value of a factor."""

from collections.abc import Sequence
from typing import Any

from sightline.report.bars import Bars, Line, axis_of
from sightline.report.benchmark import wording
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.page import Block, Choice, Fold, Section, Table

_LEAD = (
    "Density is a region's share of the positive relevance divided by its share of the pixels: 1 is what a map without "
    "any information has, 2 twice as much."
)


def of_parts(figures: Figures) -> Section | None:
    """Bars by region, and by factor; None where no regions are known."""
    table = figures.parts
    if not len(table):
        return None
    options: list[tuple[str, Sequence[Block]]] = []
    for view in figures.by_method:
        rows = table.filter(method=view.method).to_dicts()
        if rows:
            options.append((view.label, _of_view(figures, view, rows)))
    return Section(title="Parts of the image", lead=_LEAD, blocks=[Choice(label="figures", options=options)])


def _of_view(figures: Figures, view: View, rows: list[dict[str, Any]]) -> list[Block]:
    lines = [_line(row, row["region"]) for row in rows if not row["factor"]]
    blocks: list[Block] = [_bars(f"All models, {view.method}", lines)]
    for factor in figures.factors[:1]:
        some = [_line(r, f"{r['region']}, {r['group']}") for r in rows if r["factor"] == factor]
        if some:
            blocks.append(_bars(f"By {factor}", some))
    differences = figures.part_differences.filter(method=view.method).to_dicts()
    tables: list[Block] = [_shares(rows)]
    if differences:
        tables.append(_differences(differences))
    return [*blocks, Fold(title="Shares, areas and differences between values of each factor", blocks=tables)]


def _bars(title: str, lines: list[Line]) -> Bars:
    return Bars(
        title=title,
        axis=axis_of("density: share of the relevance / share of the pixels", lines, 0, 1),
        lines=lines,
        marks=[(1.0, "without information")],
        note="Interval over images and models. Pale: it holds 1.",
    )


def _line(row: dict[str, Any], name: str) -> Line:
    share = f"{100 * row['share']:.0f} % of the relevance" if words.known(row["share"]) else ""
    area = f"{100 * row['area']:.1f} % of the pixels" if words.known(row["area"]) else ""
    return Line(
        name=name.replace("_", " "),
        value=row["density"],
        low=row["low"],
        high=row["high"],
        text=words.told(row, "density"),
        note=words.joined([" on ".join(p for p in (share, area) if p), row["note"] or ""]),
        faint=words.spans(row["low"], row["high"], 1.0),
    )


def _shares(rows: list[dict[str, Any]]) -> Table:
    lines = [
        [
            r["region"].replace("_", " "), f"{r['factor']}: {r['group']}" if r["factor"] else "all models",
            words.told(r, "share", "share_low", "share_high"), words.number(r["area"], 3), words.told(r, "density"),
            f"{wording.many(r['images'], 'image')}, {wording.many(r['models'], 'model')}", r["note"] or "",
        ] for r in rows
    ]  # fmt: skip
    return Table(
        caption="Share of the positive relevance by region",
        columns=["region", "models", "share [95 %]", "area", "density [95 %]", "of", "note"],
        rows=lines,
        text_columns=[1, 5, 6],
    )


def _differences(rows: list[dict[str, Any]]) -> Table:
    lines = [
        [
            r["region"].replace("_", " "), r["factor"], f"{r['a']} - {r['b']}", words.number(r["density_a"]),
            words.number(r["density_b"]), words.told(r, "difference"), r["note"] or "",
        ] for r in rows
    ]  # fmt: skip
    return Table(
        caption="Density of models with one value of a factor, minus that of models with another",
        columns=["region", "factor", "a - b", "a", "b", "difference [95 %]", "note"],
        rows=lines,
        text_columns=[1, 2, 6],
    )
