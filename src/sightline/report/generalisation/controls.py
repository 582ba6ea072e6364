"""What a model's own pixels are worth beyond pixels that need no model: whether there is anything to carry over."""

from typing import Any

from sightline.report.bars import Bars, Line, axis_of
from sightline.report.benchmark import wording
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.page import Block, Choice, Fold, Section, Table

MEANING = {
    "random": "random pixels",
    "centre": "the middle of the image",
    "edges": "edges of the image",
    "bottom": "the least relevant pixels first",
    "mean-map": "its mean map over all images",
    "other-image": "its map of another image",
    "randomised": "its map after all weights are random",
    "upper-random": "its map after the upper half of the weights is random",
    "other-class": "its map of the decision it did not make",
}
_LEAD = (
    "Area under the curve of a model's own maps minus that of a control. Where the interval reaches 0, its map tells "
    "no more than the control, and whatever carries over may be the control's doing."
)


def of_controls(figures: Figures) -> Section:
    """Bars of the mean over models; each model behind it."""
    options = [(view.label, _of_view(figures, view)) for view in figures.views]
    return Section(title="Controls", lead=_LEAD, blocks=[Choice(label="figures", options=options)])


def _of_view(figures: Figures, view: View) -> list[Block]:
    rows = list(figures.controls(view).iter_rows(named=True))
    order = {name: i for i, name in enumerate(figures.study.controls)}
    whole = sorted((r for r in rows if r["target"] is None), key=lambda r: order[r["control"]])
    lines = [_line(row) for row in whole]
    bars = Bars(
        title=f"Own maps beyond each control, {view.label}",
        axis=axis_of(f"area ({view.measure}, mean over the levels) of its own map minus that of the control", lines, 0),
        lines=lines,
        marks=[(0.0, "no better than the control")],
        note="Interval over images and models. Pale: it reaches 0.",
    )
    if view is not figures.main:
        return [bars]
    return [bars, Fold(title="Each model", blocks=[_table(figures, rows)])]


def _line(row: dict[str, Any]) -> Line:
    areas = f"{words.number(row['area_own'], 3)} against {words.number(row['area'], 3)}"
    return Line(
        name=f"{row['control']}: {MEANING.get(row['control'], '')}".rstrip(": "),
        value=row["excess"],
        low=row["low"],
        high=row["high"],
        text=words.told(row, "excess", digits=3),
        note=words.joined([areas, wording.many(row["n"], "model"), row["note"] or ""]),
        faint=words.spans(row["low"], row["high"]),
    )


def _table(figures: Figures, rows: list[dict[str, Any]]) -> Table:
    cells = {(r["target"], r["control"]): words.told(r, "excess", digits=3) for r in rows}
    controls = list(figures.study.controls)
    lines = [[f"{figures.number(m)} {m}", *(cells.get((m, c), "-") for c in controls)] for m in figures.members]
    return Table(
        caption="Own map minus control, area, with the 95 % interval over images",
        columns=["model", *controls],
        rows=lines,
    )
