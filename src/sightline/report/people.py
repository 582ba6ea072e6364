"""The page of what people's judgements say of models."""

from collections.abc import Mapping
from typing import Any

from sightline.report.bars import Bars, Line
from sightline.report.chart import Axis
from sightline.report.page import Block, Callout, Page, Section, Table, Text
from sightline.studies.people.scoring import Scored

_KINDS = {
    "embedding": "whole images, penultimate layer",
    "masked": "images masked by relevance, penultimate layer",
    "map": "relevance maps",
    "scores": "scores of identities",
    "given": "given",
}


def people_page(found: Scored) -> Page:
    """The page of a `Scored`."""
    sections = []
    if found.accuracy is not None:
        sections.append(Section(title="Choices", lead=_CHOICES, blocks=[_choices(found), *_apart(found)]))
    if found.preference is not None:
        sections.append(Section(title="Whose options people chose", blocks=[_preference(found)]))
    if found.agreement is not None:
        sections.append(Section(title="Matrices", lead=_MATRICES, blocks=[_matrices(found), _mantel(found)]))
    sections.append(Section(title="Who took part", blocks=_people(found)))
    sections.append(Section(title="Protocol", blocks=[Text(_protocol(found))]))
    counted = len(found.people) - len(found.left_out)
    return Page(
        title="Do models see as people do?",
        lead=f"{found.judgements} judgements ({found.source}) of {counted} participants.",
        sections=sections,
        facts=[(name, str(value)) for name, value in found.settings.items()],
    )


_CHOICES = (
    "How often people chose what a model finds more alike. Half is chance. Between the two ends of the ceiling lies "
    "what the best model could reach, given that people differ."
)
_MATRICES = (
    "Spearman's correlation, over pairs of images, of how alike a model finds them with how alike people do: with each "
    "person's own matrix, averaged over people, because that is what can be held against the ceiling."
)


def percent(value: float | None) -> str:
    """A share in words."""
    return "not defined" if value is None else f"{100 * value:.1f} %"


def interval(low: float | None, high: float | None, *, digits: int = 1, share: bool = True) -> str:
    """An interval in words; empty where there is none."""
    if low is None or high is None:
        return ""
    scale = 100 if share else 1
    return f"[{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def named(row: Mapping[str, Any]) -> str:
    """A model, and what was asked of it."""
    return f"{row['model']} ({_KINDS.get(row['kind'], row['kind'])})"


def _choices(found: Scored) -> Block:
    assert found.accuracy is not None  # noqa: S101 - asked by the caller
    lines = [
        Line(
            name=named(row),
            value=row["accuracy"],
            low=row["boot_low"],
            high=row["boot_high"],
            text=f"{percent(row['accuracy'])} {interval(row['boot_low'], row['boot_high'])}",
            note=_counts(row),
            faint=row["boot_low"] is None or row["boot_low"] <= 0.5 <= row["boot_high"],
        )
        for row in found.accuracy.iter_rows(named=True)
    ]
    return Bars(
        title="Agreement of choices",
        axis=Axis(label="share of choices", low=0, high=1),
        lines=lines,
        marks=[(0.5, "chance"), *_ceiling_marks(found)],
        note="Whiskers: bootstrap over participants and items, each drawn on its own. In the note below a model: "
        "Wilson's interval and the exact binomial test against a half, which take all judgements as independent.",
    )


def _ceiling_marks(found: Scored) -> list[tuple[float, str]]:
    top = found.ceiling
    if top is None:
        return []
    marks = [(round(top.upper, 3), "ceiling, upper end")]
    return marks if top.lower is None else [(round(top.lower, 3), "ceiling, lower end"), *marks]


def _counts(row: Mapping[str, Any]) -> str:
    parts = [f"{row['judgements']} judgements", f"{row['participants']} people", f"{row['items']} items"]
    parts += [f"{row[what]} {what}" for what in ("ties", "undefined") if row[what]]
    if row["low"] is not None:
        parts.append(f"Wilson {interval(row['low'], row['high'])}")
    if row["p"] is not None:
        parts.append(f"p = {row['p']:.2g}")
    return "; ".join([*parts, *([row["note"]] if row["note"] else [])])


def _apart(found: Scored) -> list[Block]:
    if found.differences is None:
        return []
    rows = [
        (
            f"{row['a']} - {row['b']}",
            "not defined" if row["difference"] is None else f"{100 * row['difference']:+.1f} points",
            interval(row["low"], row["high"]) or "none",
            f"{row['differ']} of {row['judgements']}",
        )
        for row in found.differences.iter_rows(named=True)
    ]
    columns = ("Models", "Difference", "Interval", "Judgements on which they differ")
    note = "Paired: the same judgements, the same resamples of participants and items."
    return [Table(columns=columns, rows=rows, caption="Which model chooses more as people do", note=note)]


def _preference(found: Scored) -> Block:
    assert found.preference is not None  # noqa: S101 - asked by the caller
    lines = [
        Line(
            name=f"{row['b']} rather than {row['a']}",
            value=row["share"],
            low=row["boot_low"],
            high=row["boot_high"],
            text=f"{percent(row['share'])} {interval(row['boot_low'], row['boot_high'])}",
            note=f"{row['judgements']} judgements; {row['participants']} people; {row['items']} targets; Wilson "
            f"{interval(row['low'], row['high'])}",
            faint=row["boot_low"] is None or row["boot_low"] <= 0.5 <= row["boot_high"],
        )
        for row in found.preference.iter_rows(named=True)
    ]
    axis = Axis(label="share of choices", low=0, high=1)
    return Bars(title="Share of choices", axis=axis, lines=lines, marks=[(0.5, "chance")])


def _matrices(found: Scored) -> Block:
    assert found.agreement is not None  # noqa: S101 - asked by the caller
    rows = found.agreement.to_dicts()
    lines = [
        Line(
            name=named(row),
            value=row["person"],
            low=row["person_low"],
            high=row["person_high"],
            text=_rho(row["person"], row["person_low"], row["person_high"]),
            note=f"{row['pairs']} pairs of {row['images']} images{'; ' + row['note'] if row['note'] else ''}",
            faint=row["person_low"] is None or row["person_low"] <= 0 <= row["person_high"],
        )
        for row in rows
    ]
    ends = [
        (rows[0][end], f"ceiling, {end} end {rows[0][end]:.2f}")
        for end in ("lower", "upper")
        if rows[0][end] is not None
    ]
    low = min([0.0, *(v for row in rows for v in (row["person"], row["person_low"]) if v is not None)])
    axis = Axis(label="Spearman's correlation", low=min(low, -0.1), high=1)
    note = "Whiskers: bootstrap over participants and images."
    if found.source == "triads":
        note += (
            " Everyone met the same rivals, and the shares hold these too: the ceiling is then higher than any matrix "
            "of similarities can reach. Choices, above, are the fairer comparison."
        )
    return Bars(title="Agreement of matrices", axis=axis, lines=lines, marks=[(0.0, "none"), *ends], note=note)


def _rho(value: float | None, low: float | None, high: float | None) -> str:
    words = "not defined" if value is None else f"{value:.2f}"
    return f"{words} {interval(low, high, digits=2, share=False)}".strip()


def _mantel(found: Scored) -> Block:
    assert found.agreement is not None  # noqa: S101 - asked by the caller
    rows = [
        (
            named(row),
            _rho(row["rho"], row["low"], row["high"]),
            *("none" if row[p] is None else f"{row[p]:.2g}" for p in ("p", "p_holm")),
        )
        for row in found.agreement.iter_rows(named=True)
    ]
    return Table(
        columns=("Model", "Correlation with the group", "p", "p, corrected"),
        rows=rows,
        caption="With the matrix of all people together",
        note="Interval: bootstrap over participants and images. p: Mantel test, images relabelled, one-sided; "
        "corrected for all models after Holm.",
    )


def _people(found: Scored) -> list[Block]:
    blocks: list[Block] = []
    if found.left_out:
        text = f"{', '.join(found.left_out)}: too few catch trials passed."
        blocks.append(Callout(title="Left out", text=text, tone="warning"))
    if found.note:
        blocks.append(Callout(text=found.note[:1].upper() + found.note[1:] + "."))
    columns = ["Participant", "Judgements"]
    rows = [[str(row["participant"]), str(row["judgements"])] for row in found.people.iter_rows(named=True)]
    if found.source == "triads":
        columns += ["Catch trials passed", "Chose the left side", "Median time"]
        for row, person in zip(rows, found.people.iter_rows(named=True), strict=True):
            row.append(f"{person['passed']} of {person['catch']}" if person["catch"] else "none asked")
            row.append("unknown" if person["left"] is None else percent(person["left"]))
            row.append("unknown" if person["median_rt_ms"] is None else f"{person['median_rt_ms'] / 1000:.1f} s")
    blocks.append(Table(columns=columns, rows=rows, caption="Participants"))
    return blocks


def _protocol(found: Scored) -> str:
    of_triads = (
        "A model chooses the option with the higher similarity to the target; where both are equal it counts as half "
        "right. The ceiling's upper end is the accuracy of the majority of all participants on each triad, which no "
        "model can exceed; the lower end that of the majority of the others, participant by participant."
    )
    of_matrices = (
        "Of each participant's matrix ratings are ranked first; triads give the share of trials in which one image "
        "was chosen beside the other. The ceiling's ends are the mean correlation of participants with the mean of "
        "all, and with the mean of the others (Nili et al. 2014)."
    )
    parts = ([of_triads] if found.source == "triads" else []) + ([of_matrices] if found.agreement is not None else [])
    return "\n\n".join(parts)
