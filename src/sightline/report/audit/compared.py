"""Two audits of the same images side by side: before and after a fix, one network against another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.report.audit.cells import Line, count, known, number, signed, spoken
from sightline.report.audit.pictures import Pictures
from sightline.report.audit.tables import protocol
from sightline.report.benchmark import wording
from sightline.report.cells import Cell
from sightline.report.page import Block, Callout, Figures, Page, Section, Table
from sightline.studies.auditing import Audit, compare
from sightline.studies.auditing._rules_evidence import reference
from sightline.studies.auditing._sentences import percent
from sightline.studies.auditing.comparison import Comparison
from sightline.studies.auditing.kinds import KINDS

if TYPE_CHECKING:
    import polars

_DRAWN = 20
_LEVEL = 0.05


def page(first: Audit, second: Audit) -> Page:
    """The page of a comparison: differences are the second less the first, paired on images.

    Raises:
        InputError: The audits share no image or no attribute.
    """
    both = compare(first, second)
    names = _names(first, second)
    parts = [
        _changes(both, names),
        _errors(both, names),
        _evidence(both, names),
        _bias(both, names),
        _maps(both, names),
        _protocols(both, names),
    ]
    return Page(
        title=f"{names[0]} against {names[1]}",
        lead=f"Two audits of the same {both.images:,} images, compared image by image. Differences are {names[1]} less "
        f"{names[0]}: of errors, less than zero is better.",
        facts=[
            (name, f"{one.manifest['settings']['model'].get('weights', 'a black box')}")
            for name, one in zip(names, (first, second), strict=True)
        ],
        sections=[part for part in parts if part is not None],
        footer="Made with Sightline. Each of the two has a report of its own.",
    )


def _names(first: Audit, second: Audit) -> tuple[str, str]:
    a, b = (f"“{one.manifest['name']}”" for one in (first, second))
    return (a, b) if a != b else (f"{a} (first)", f"{b} (second)")


def _mean(frame: "polars.DataFrame", column: str) -> float:
    values = [float(v) for v in frame[column] if known(v)]
    return sum(values) / len(values) if values else float("nan")


def _changes(both: Comparison, names: tuple[str, str]) -> Section:
    """In sentences: errors on average, attributes that got better and worse, findings that went and came."""
    errors = both.errors()
    sides = {"minority_error": "the rarer sides get", "majority_error": "the other sides get"}
    means = [
        f"{said} {percent(_mean(errors, f'{name}_a'))} wrong answers with {names[0]} and "
        f"{percent(_mean(errors, f'{name}_b'))} with {names[1]}"
        for name, said in sides.items()
    ]
    text = f"On average over {wording.many(len(errors), 'attribute')}: {'; '.join(means)}."
    better, worse = [], []
    for line in errors.iter_rows(named=True):
        gap, p = line["balanced_error_difference"], line["p_holm"]
        sure = known(line["balanced_error_difference_high"]) and known(p)
        if sure and line["balanced_error_difference_high"] < 0:
            better.append(f"{spoken(line['attribute'])} ({_points(gap)})")
        elif sure and line["balanced_error_difference_low"] > 0:
            worse.append(f"{spoken(line['attribute'])} ({_points(gap)})")
    items = []
    if better:
        items.append(
            f"The mean error of both sides falls, beyond its 95 % interval: {wording.listed(better, most=12)}."
        )
    if worse:
        items.append(f"It rises: {wording.listed(worse, most=12)}.")
    if not better and not worse:
        items.append("The mean error of both sides changes on no attribute beyond its 95 % interval.")
    tone: Any = "warning" if worse else "finding"
    blocks: list[Block] = [Callout(title="Errors", text=text, items=items, tone=tone), _findings(both, names)]
    if notes := both.notes():
        said = "Beside the classifiers these differ, so a difference may come from them:"
        blocks.append(Callout(title="Not all else is equal", text=said, items=notes, tone="warning"))
    return Section(title="What changed", blocks=blocks)


def _points(gap: float) -> str:
    return f"{100 * gap:+.0f} points" if abs(gap) >= 0.0095 else f"{100 * gap:+.1f} points"


def _findings(both: Comparison, names: tuple[str, str]) -> Callout:
    """Findings of either audit by kind, and how many attributes lost or gained one."""
    import polars as pl

    held = [
        {(r["kind"], r["attribute"], r["group"]) for r in one.findings().filter(pl.col("severity") > 0).to_dicts()}
        for one in (both.a, both.b)
    ]
    items = []
    for kind, said in KINDS.items():
        a, b = ({key for key in side if key[0] == kind} for side in held)
        if a or b:
            new = sorted({spoken(key[1]) for key in b - a})
            more = f"; new: {wording.listed(new, most=6)}" if new else ""
            items.append(f"{said.title}: {len(a)} with {names[0]}, {len(b)} with {names[1]}{more}.")
    text = f"{wording.many(len(held[0]), 'finding')} with {names[0]}, {wording.many(len(held[1]), 'finding')} with "
    text += f"{names[1]}. A finding that goes may have become too small or too unsure to be one: see the tables."
    tone: Any = "finding" if held[1] < held[0] else "note"
    return Callout(title="Findings", text=text, items=items, tone=tone)


def _three(line: Line, name: str, least: float, most: float) -> list[Cell]:
    """Both values and their difference, on scales of their own."""
    plain = (line.get(f"{name}_{end}") for end in ("a", "b"))
    return [
        *(percent(float(value)) if value is not None and known(value) else "-" for value in plain),
        signed(line, f"{name}_difference", least, most),
    ]


def _span(lines: Sequence[Line], names: Sequence[str], most: float = 1.0) -> tuple[float, float]:
    """A scale that holds all differences up to `most`, symmetric about zero."""
    ends = [line.get(f"{name}_difference_{end}") for line in lines for name in names for end in ("low", "high")]
    most = min(most, max([0.05, *(abs(float(end)) for end in ends if end is not None and known(end))]))
    return -most, most


def _errors(both: Comparison, names: tuple[str, str]) -> Section:
    lines = list(both.errors().iter_rows(named=True))
    kinds = ("minority_error", "majority_error", "balanced_error")
    span = _span(lines, kinds)
    rows: list[list[Cell]] = [
        [
            spoken(line["attribute"]),
            line["minority"] or "-",
            count(line["n"]),
            *(cell for kind in kinds for cell in _three(line, kind, *span)),
            number(line["p_holm"], 3),
            line["note"] or "",
        ]
        for line in lines
    ]
    titles = ("rarer side", "other side", "mean of both")
    table = Table(
        caption="Errors of both, the rarest side first",
        columns=["attribute", "rarer side", "images",
                 *(f"{title}: {what}" for title in titles for what in (*names, "difference")), "p", "note"],
        rows=rows,
        text_columns=[1, 13],
        sort=["words", "words", "up", *["words", "words", "down"] * 3, "down", "words"],
        note="Bars: 95 % intervals of the paired difference, zero in the middle. p: McNemar's exact test of right and "
        f"wrong answers over all images, corrected over the attributes (Holm). {protocol(both.b)}",
    )  # fmt: skip
    return Section(title="Errors", blocks=[table])


def _evidence(both: Comparison, names: tuple[str, str]) -> Section | None:
    import polars as pl

    frame = both.evidence()
    found = reference(frame)
    if found is None:
        return None
    lines = list(frame.filter(method=found[0], layer=found[1]).iter_rows(named=True))
    span = _span(lines, ("pe", "empty_rate"))
    rows: list[list[Cell]] = [
        [
            f"{spoken(line['attribute'])}: {line['side']}",
            {True: "usual", False: "rarer", None: "-"}[line["majority"]],
            count(line["n_a"]),
            count(line["n_b"]),
            *_three(line, "pe", *span),
            *_three(line, "empty_rate", *span),
        ]
        for line in lines
    ]
    table = Table(
        caption=f"Energy in the region by decision ({found[0]}, layer {found[1]})",
        columns=["decision", "answer", *(f"images: {name}" for name in names),
                 *(f"in the region: {what}" for what in (*names, "difference")),
                 *(f"empty maps: {what}" for what in (*names, "difference"))],
        rows=rows,
        text_columns=[1],
        sort=["words", "words", "up", "up", "words", "words", "up", "words", "words", "down"],
        note="Each audit's maps are those of its own decisions, so the images behind the two columns differ.",
    )  # fmt: skip
    usual = frame.filter((pl.col("method") == found[0]) & (pl.col("layer") == found[1]) & pl.col("majority"))
    text = (
        f"Usual answers have {percent(_mean(usual, 'pe_a'))} of their evidence in the region with {names[0]} and "
        f"{percent(_mean(usual, 'pe_b'))} with {names[1]}, on average over the attributes."
    )
    lead = text if len(usual) and known(_mean(usual, "pe_a")) and known(_mean(usual, "pe_b")) else ""
    return Section(title="Where the evidence lies", lead=lead, blocks=[table])


def _bias(both: Comparison, names: tuple[str, str]) -> Section | None:
    lines = [line for line in both.bias().iter_rows(named=True) if line["n_a"] or line["n_b"]]
    if not lines:
        return None
    rows: list[list[Cell]] = [
        [
            f"{spoken(line['attribute'])}: {line['side']}",
            {True: "usual", False: "rarer", None: "-"}[line["majority"]],
            *_three(line, "constant", *_span(lines, ("constant",))),
        ]
        for line in lines
    ]
    table = Table(
        caption="Share of a decision that is the same for every image",
        columns=["decision", "answer", *names, "difference"],
        rows=rows,
        text_columns=[1],
        sort=["words", "words", "words", "words", "down"],
        note="Bias of the head and features common to all images; less than zero: the constant speaks against.",
    )
    usual = [line for line in lines if line["majority"]]
    text = "Usual answers are, on average over the attributes, "
    shares = [[float(line[f"constant_{end}"]) for line in usual if known(line[f"constant_{end}"])] for end in "ab"]
    if not all(shares):
        return Section(title="Bias or evidence", blocks=[table])
    means = [percent(sum(part) / len(part)) for part in shares]
    text += f"{means[0]} the same for every image with {names[0]} and {means[1]} with {names[1]}."
    return Section(title="Bias or evidence", lead=text, blocks=[table])


def _maps(both: Comparison, names: tuple[str, str]) -> Section | None:
    drawn = [Pictures(one) for one in (both.a, both.b)]
    items = []
    for name in both.attributes[:_DRAWN]:
        four = [figure for pictures in drawn for figure in pictures.pair(name)]
        items += four if len(four) == 4 else []
    if not items:
        return None
    lead = f"The rarer and the usual answer with {names[0]}, then with {names[1]}; each pair on a scale of its own."
    return Section(title="Mean maps", lead=lead, blocks=[Figures(items=items, group=4, width=120)])


def _protocols(both: Comparison, names: tuple[str, str]) -> Section:
    blocks = [
        Table(
            caption=name,
            columns=["entry", "value"],
            rows=[[str(k), wording.value(v)] for k, v in one.manifest["protocol"].items()],
            text_columns=[1],
        )
        for name, one in zip(names, (both.a, both.b), strict=True)
    ]
    return Section(title="Protocol", blocks=blocks)
