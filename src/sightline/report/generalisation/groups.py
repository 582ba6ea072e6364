"""What models differ in, and what of that matters most."""

from typing import Any

from sightline.report.bars import Bars, Line, axis_of
from sightline.report.benchmark import wording
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.page import Block, Callout, Choice, Section

_MARKS = [(0.0, "as random pixels"), (1.0, "as its own")]
_LEAD = (
    "The mean index of all ordered pairs of different models that differ in the same factors; the interval is over "
    "images and models together."
)


def of_groups(figures: Figures) -> Section:
    """Bars by what differs, and the effect of each factor."""
    options = [(view.label, _of_view(figures, view)) for view in figures.views]
    return Section(title="By what differs", lead=_LEAD, blocks=[Choice(label="figures", options=options)])


def _of_view(figures: Figures, view: View) -> list[Block]:
    blocks: list[Block] = [by_difference(figures, view)]
    if len(figures.factors) > 1:
        blocks += [_same(figures, view, factor) for factor in figures.factors[:1]]
    effects = _effects(figures, view) if view in figures.conditions else None
    return [*blocks, *([effects] if effects else [])]


def by_difference(figures: Figures, view: View, title: str = "") -> Bars:
    """The index by what two models differ in, with the controls that need no model's help: own, and random."""
    lines = [_line(row, words.differing(row["differs"])) for row in figures.groups(view).iter_rows(named=True)]
    return Bars(
        title=title or f"Models that differ in ..., {view.label}",
        axis=axis_of("generalisation index G", lines, 0, 1),
        lines=lines,
        marks=_MARKS,
        note="Pale: the 95 % interval reaches 0.",
    )


def _line(row: dict[str, Any], name: str) -> Line:
    counts = f"{wording.many(row['pairs'], 'pair')} of {wording.many(row['models'], 'model')}"
    missing = f"{row['undefined']} not defined" if row["undefined"] else ""
    return Line(
        name=name,
        value=row["g"],
        low=row["low"],
        high=row["high"],
        text=words.told(row, "g"),
        note=words.joined([counts, missing, row["note"] or ""]),
        faint=words.spans(row["low"], row["high"]),
    )


def _same(figures: Figures, view: View, factor: str) -> Bars:
    rows = figures.groups(view, factor).iter_rows(named=True)
    lines = [_line(row, f"{row['differs']} {factor}") for row in rows]
    return Bars(
        title=f"Same or different {factor}, whatever else differs",
        axis=axis_of("generalisation index G", lines, 0, 1),
        lines=lines,
        marks=_MARKS,
    )


def _effects(figures: Figures, view: View) -> Block | None:
    """By how much a difference in each factor lowers the index, other factors held."""
    if len(figures.study.members) < 3 or not figures.factors:
        return None
    rows = list(figures.effects(view).iter_rows(named=True))
    lines = [_effect(row) for row in sorted(rows, key=lambda r: (r["rank"] is None, r["rank"] or 0))]
    if not any(line.value is not None for line in lines):
        items = [f"{row['factor']}: {row['note'] or words.UNDEFINED}" for row in rows]
        return Callout(title="Which factor matters most cannot be told", text="Of each factor:", items=items)
    least = next((r["p_least"] for r in rows if words.known(r.get("p_least"))), None)
    note = (
        "Effect: by how much G is lower where two models differ in the factor, the other factors held (least squares "
        "over ordered pairs). The test relabels the models (double semi-partialling; Dekker, Krackhardt and Snijders "
        "2007); p is Holm's over the factors."
    )
    if least is not None and least > 0.05:
        note += f" So few models can reach no p below {least:.2g}: a large p says nothing here."
    return Bars(
        title="What matters most",
        axis=axis_of("how much less carries over when two models differ in it", lines),
        lines=lines,
        note=note,
    )


def _effect(row: dict[str, Any]) -> Line:
    first = f"the largest in {100 * row['first']:.0f} % of resamples" if words.known(row.get("first")) else ""
    kind = ("exact" if row["exact"] else f"{row['permutations']:,} relabellings") if row["permutations"] else ""
    p = f"{words.probability(row['p_holm'])}, {kind}" if words.known(row["p_holm"]) else ""
    return Line(
        name=row["factor"],
        value=row["effect"],
        low=row["low"],
        high=row["high"],
        text=words.told(row, "effect"),
        note=words.joined([p, first, row["note"] or ""]),
        faint=words.spans(row["low"], row["high"]),
    )
