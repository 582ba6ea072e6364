"""Whether the rule that draws the maps can be trusted to show models, and not itself."""

from typing import Any

from sightline.report.bars import Bars, Line, axis_of
from sightline.report.benchmark import wording
from sightline.report.generalisation import words
from sightline.report.generalisation.figures import Figures, View
from sightline.report.page import Block, Callout, Choice, Fold, Section, Table
from sightline.studies.generalising import validity
from sightline.studies.generalising.validity.table import CASCADE, OTHER_IMAGE, PAIRS

VERDICTS = {
    "models": "More stays than the rule alone gives, by maps and by masks: the models rest on the same pixels.",
    "features": "The maps tell what lower layers respond to, and nothing of what decides: models that share those "
    "layers have similar maps whatever they decide.",
    "rule": "Random networks give as much: the maps show the image and the rule, and nothing that was learned.",
    "split": "Maps and masks contradict each other: nothing can be concluded.",
    "unknown": "An instrument is missing or unclear: nothing can be concluded.",
}
_LEAD = (
    "Maps of different models can be alike because the models are, or because the rule that draws them hardly hangs on "
    "what was learned (Sixt, Granz and Landgraf 2020). So what stays between models is set against what stays in one "
    "model when its weights are made random from the output down, or the other decision is explained."
)


def of_trust(figures: Figures) -> Section | None:
    """Bars a method, and what the verdicts rest on; None where maps were compared with nothing."""
    table = figures.trust
    if not len(table):
        return None
    found = figures.findings
    options = [(view.label, _of_view(table.filter(method=view.method), found, view)) for view in figures.by_method]
    blocks: list[Block] = [Choice(label="figures", options=options)]
    weak = validity.left_out(figures.study)
    if weak:
        text = "They are no better than chance on the unaltered images, so they take no part in this section:"
        blocks.append(Callout(title="Models that were left out", text=text, items=list(weak), tone="warning"))
    rest = _differences(found)
    if rest:
        blocks.append(Fold(title="What the verdicts rest on", blocks=[rest]))
    return Section(title="Can the rule be trusted?", lead=_LEAD, blocks=blocks)


def _of_view(table: Any, found: list[validity.Finding], view: View) -> list[Block]:
    lines = [_line(row) for row in table.iter_rows(named=True)]
    blocks: list[Block] = [_verdict(one) for one in found if one.method == view.method and one.within is None]
    if lines:
        blocks.append(
            Bars(
                title=f"What leaves maps alike, {view.method}",
                axis=axis_of("Spearman's rank correlation of maps, mean map taken off", lines, 0, 1),
                lines=lines,
                note="All over the same images; intervals over images and models. Grey: what was altered on purpose in "
                "one model. If grey bars reach as far as the others, the rule explains it.",
            )
        )
    return blocks


def _verdict(one: validity.Finding) -> Callout:
    ruling = one.ruling
    what = "no factor" if one.factor == "nothing" else one.factor
    title = f"Models that differ in {what} alone: {ruling.verdict if ruling else 'maps are not alike'}"
    alike = f"Likeness of the maps {words.number(one.alike.value)}{words.ends(one.alike.low, one.alike.high)}."
    tone: Any = {"models": "finding", "features": "warning", "rule": "warning"}.get(
        ruling.verdict if ruling else "", "note"
    )
    meaning = [VERDICTS[ruling.verdict]] if ruling else []
    return Callout(title=title, text=validity.said(one), items=[*meaning, alike], tone=tone)


def _line(row: dict[str, Any]) -> Line:
    share = ""
    if words.known(row["share"]) and row["share"] > 0:
        percent = 100 * row["share"]
        share = f"{percent:.{1 if percent < 1 else 0}f} % of the weights"  # a head may have a thousandth of them
    counts = f"{wording.many(row['images'], 'image')}, {wording.many(row['models'], 'model')}"
    names = {
        PAIRS: f"two models that {words.differing(row['what'])}{'' if row['what'] == 'nothing' else ' alone'}",
        OTHER_IMAGE: "the same pairs, different images",
        "class-swap": "one model, the other decision",
        CASCADE: f"one model, random: {row['what']}",
    }
    return Line(
        name=names.get(row["check"], row["check"]),
        value=row["value"],
        low=row["low"],
        high=row["high"],
        text=words.told(row, "value"),
        note=words.joined([share, counts, row["note"] or ""]),
        control=row["check"] != PAIRS,
        faint=words.spans(row["low"], row["high"]),
    )


def _differences(found: list[validity.Finding]) -> Table | None:
    frame = validity.differences(found)
    if not len(frame):
        return None
    lines = [
        [
            r["method"], words.differing(r["factor"]), r["within"] or "all", r["question"], r["instrument"],
            r["altered"], words.told(r, "value", digits=3), r["answer"] or "-", r["note"] or "",
        ] for r in frame.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        caption="What models leave in common, minus what the altered model leaves",
        columns=["method", "models that", "within", "question", "by", "altered", "difference [95 %]", "answer", "note"],
        rows=lines,
        text_columns=[1, 2, 3, 4, 5, 7, 8],
        note="Maps: rank correlation; masks: area under the curve. `more`: the interval lies above 0; `no more`: it "
        "ends below a margin (0.05 of a correlation; of an area, a tenth of what own pixels gain over random ones).",
    )
