"""The index of every pair of models as a matrix, with the controls below."""

from typing import Any

from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.matrix import Head, Matrix, Square
from sightline.report.page import Block, Callout, Choice, Fold, Section, Table

_LEAD = (
    "G is how much of what a model's own pixels are worth to it another model's pixels are worth: 1 means as much as "
    "its own, 0 no more than random pixels, below 0 less. A row is whose pixels are shown, a column who is asked."
)
_TOLD = 600


def of_matrix(figures: Figures) -> Section:
    """A choice of matrices, and all pairs in words behind it."""
    options = [(view.label, _of_view(figures, view)) for view in figures.views]
    return Section(
        title="From model to model", lead=_LEAD, blocks=[Choice(label="figures", options=options), _all(figures)]
    )


def _of_view(figures: Figures, view: View) -> list[Block]:
    rows = {(r["source"], r["target"]): r for r in figures.index(view).iter_rows(named=True)}
    columns = [_head(figures, name) for name in figures.members]
    controls = [c for c in figures.study.controls if c != "random"]
    heads = [*columns, *(Head(key="", name=name, group="controls") for name in controls)]
    squares = [[_square(rows[source.name, target.name], view.measure) for target in columns] for source in heads]
    notes = {t: rows[t, t]["note"] for t in figures.members if not rows[t, t]["defined"]}
    blocks: list[Block] = [
        Matrix(
            title=f"G, {view.label}",
            rows=heads,
            columns=columns,
            squares=squares,
            row_axis="whose pixels are shown (source); controls below",
            column_axis="which model is asked (target)",
            labels=("0: as random pixels", "1: as its own", "below 0"),
            note=f"Italics: the 95 % interval over {_images(rows)} images reaches 0. {_protocol(figures, view)}",
        )
    ]
    if notes:
        items = [f"{figures.number(t)} {t}: {note}." for t, note in notes.items()]
        text = "Nothing is said of these models as targets; as sources they stand in their rows."
        blocks.append(Callout(title="Not defined", text=text, items=items, tone="note"))
    return blocks


def _head(figures: Figures, name: str) -> Head:
    return Head(key=figures.number(name), name=name, group=figures.group(name))


def _square(row: dict[str, Any], measure: str) -> Square:
    source, target, own = row["source"], row["target"], row["source"] == row["target"]
    if not row["defined"]:
        return Square(
            value=None, text="–", detail=f"Pixels of {source} for {target}: not defined. {row['note']}", own=own
        )
    if own:
        gain = row["area_own"] - row["area_random"]
        detail = f"{target}'s own pixels: 1 by definition; they gain {gain:.3f} in {measure} over random ones."
        return Square(value=1.0, text="1", detail=detail, own=True)
    what = f"Control {source} for {target}" if row["kind"] == "control" else f"Pixels of {source} for {target}"
    detail = f"{what}: G = {words.number(row['g'])}, {words.spoken(row['g_low'], row['g_high'])}; {row['n']:,} images"
    differs = words.differing(row["differs"])
    return Square(
        value=row["g"],
        text=words.short(row["g"]),
        detail=f"{detail}; they {differs}." if differs else f"{detail}.",
        faint=words.spans(row["g_low"], row["g_high"]),
    )


def _images(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
    counts = {row["n"] for row in rows.values()}
    return f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"


def _protocol(figures: Figures, view: View) -> str:
    levels = ", ".join(f"{q:g}" for q in figures.study.levels)
    way = "kept" if view.mode == "keep" else "removed"
    return f"Area under {view.measure} over {levels} % of the pixels {way}; the rest is {view.fill}."


def _all(figures: Figures) -> Block:
    """Every pair with its areas, the first view."""
    frame = figures.index(figures.main)
    lines = sorted(frame.iter_rows(named=True), key=lambda r: -(r["g"] if r["g"] is not None else -9.0))
    rows = [
        [
            r["source"], r["target"], r["differs"] or "-", words.told(r, "g", "g_low", "g_high"),
            words.number(r["area"], 3), words.number(r["area_random"], 3), words.number(r["area_own"], 3), str(r["n"]),
        ] for r in lines[:_TOLD] if r["source"] != r["target"]
    ]  # fmt: skip
    more = f" The first {_TOLD}; index.csv has all." if len(lines) > _TOLD else ""
    table = Table(
        caption=f"G of every source and target, the greatest first ({figures.main.label})",
        columns=["source", "target", "they differ in", "G [95 %]", "area", "area, random", "area, own", "images"],
        rows=rows,
        text_columns=[1, 2],
        sort=["words", "words", "words", "up", "up", "up", "up", "up"],
        controls=[i for i, row in enumerate(rows) if row[0] in figures.study.controls],
        note=f"`sightline report RUN --export index.csv` writes all digits.{more}",
    )
    return Fold(title=f"All {len(rows):,} pairs as a table", blocks=[table])
