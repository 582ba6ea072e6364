"""The tables: errors, evidence, shares of bias, groups, interventions."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sightline.report.audit.cells import UNDEFINED, Line, count, group_of, known, number, rate, signed, spoken, top
from sightline.report.benchmark import wording
from sightline.report.page import Block, Callout, Choice, Section, Stack, Table
from sightline.studies.auditing import Audit
from sightline.studies.auditing._rules import JOINED
from sightline.studies.auditing._rules_evidence import reference
from sightline.studies.auditing._sentences import between, percent

if TYPE_CHECKING:
    import polars

_LINES, _WORST, _COLUMNS = 400, 40, 3
_SHARES = ("share_bias", "share_common", "share_own")
SHARES = ("bias of the head", "the same for every image", "this image")
"""Names of the parts of a decision, in the order of the bars."""
_HEADLESS = "The head is not affine, so its bias is part of what is the same for every image. "


def of_errors(audit: Audit) -> Section:
    """Errors of each attribute, the rarest side first."""
    lines = list(audit.errors().iter_rows(named=True))
    high = top(lines, ("minority_error", "majority_error", "balanced_error"))
    rows = []
    for line in lines:
        yes, no = (f"{line[k]} of {line[n]}" for k, n in (("FN", "positives"), ("FP", "negatives")))
        few, many = (yes, no) if line["minority"] == "yes" else (no, yes)
        rows.append([
            spoken(line["attribute"]),
            f"{line['minority'] or UNDEFINED}",
            count(line["minority_count"]),
            rate(line, "minority_error", high, counts=f"{few} images"),
            rate(line, "majority_error", high, counts=f"{many} images"),
            rate(line, "balanced_error", high),
            rate(line, "balanced_error_tuned", high),
            number(line["AP"]), number(line["AUC"]),
            count(line["positives"]), count(line["negatives"]),
            percent(line["train_rate"]) if known(line["train_rate"]) else UNDEFINED,
            line["note"] or "",
        ])  # fmt: skip
    table = Table(
        caption="Errors by attribute, the rarest side first",
        columns=["attribute", "rarer side", "its images", "its error", "error of the other side", "balanced error",
                 "with a tuned threshold", "AP", "AUC", "yes", "no", "yes in training", "note"],
        rows=rows,
        text_columns=[1, 12],
        sort=["words", "words", "down", *["up"] * 4, "down", "down", "up", "up", "down", "words"],
        note="Error of a side: share of its images that get the other answer (of yes: the false negative rate; of no: "
        "the false positive rate). Balanced error: the mean of the two; a classifier that always says the same has "
        "50 %. Tuned: the threshold of the least balanced error on one half of the images, measured on the other. "
        f"Bars: 95 % intervals on a scale from 0 to {percent(high)}. A dash: not defined. {protocol(audit)}",
    )  # fmt: skip
    return Section(
        title="Errors",
        lead="How often the classifier is wrong on either side. A rare side with many more errors than the other is "
        "neglected, however good the plain accuracy is. Press a title to sort.",
        blocks=[table],
    )


def of_evidence(audit: Audit) -> Section | None:
    """Where the evidence lies, for each method and layer."""
    frame = audit.evidence()
    if not len(frame):
        return None
    first = reference(frame)
    pairs = sorted(frame.select("method", "layer").unique(maintain_order=True).iter_rows(), key=lambda p: p != first)
    options: list[tuple[str, Sequence[Block]]] = []
    for method, layer in pairs:
        mine = frame.filter(method=method, layer=layer)
        options.append((f"{method}, layer {layer}", [_by_side(audit, mine), _of_empty(audit, mine), _by_outcome(mine)]))
    return Section(
        title="Where the evidence lies",
        lead="The share of a map's energy that lies in the region where the attribute is to be seen, for the decisions "
        "of either side. A map without any information gets the region's share of the image: chance.",
        blocks=[Choice(label="method", options=options)],
    )


def _by_side(audit: Audit, mine: "polars.DataFrame") -> Table:
    rows = []
    for name, rarer, pair in _pairs(audit, mine):
        chances = [line["chance"] for line in pair if known(line.get("chance"))]
        row: list[Any] = [spoken(name), rarer]
        for line in pair:
            row += [count(line.get("n")), rate(line, "pe", 1.0), number(line.get("lift"))]
        row.append(percent(sum(chances) / len(chances)) if chances else UNDEFINED)
        notes = dict.fromkeys(line["note"] for line in pair if line.get("note"))
        rows.append([*row, "; ".join(notes)])
    return Table(
        caption="Energy in the region, by the decision that was made",
        columns=["attribute", "rarer answer", *(f"{side}: {what}" for side in ("rarer", "usual")
                 for what in ("images", "in the region", "times chance")), "chance", "note"],
        rows=rows,
        text_columns=[1, 9],
        sort=["words", "words", *["up", "down", "down"] * 2, "words", "words"],
        note=f"Mean over images; an empty map counts 0 in the region. Bars: 95 % intervals from 0 to 100 %. "
        f"{protocol(audit)}",
    )  # fmt: skip


def _pairs(audit: Audit, mine: "polars.DataFrame") -> Iterator[tuple[str, str, list[Line]]]:
    """Attribute, its rarer answer, and the lines of the rarer and of the usual answer."""
    few = dict(audit.errors().select("attribute", "minority").iter_rows())
    cells = {(r["attribute"], r["side"]): r for r in mine.filter(outcome="all").iter_rows(named=True)}
    for name in dict.fromkeys(mine["attribute"]):
        rarer = few.get(name) or "yes"
        yield name, rarer, [cells.get((name, side), {}) for side in (rarer, "no" if rarer == "yes" else "yes")]


def _of_empty(audit: Audit, mine: "polars.DataFrame") -> Table:
    rows = []
    for name, rarer, pair in _pairs(audit, mine):
        row: list[Any] = [spoken(name), rarer]
        for line in pair:
            row += [rate(line, "empty_rate", 1.0), rate(line, "pe_nonempty", 1.0)]
        rows.append(row)
    return Table(
        caption="Empty maps, and the energy of those that are not",
        columns=["attribute", "rarer answer", *(f"{side}: {what}" for side in ("rarer", "usual")
                 for what in ("empty maps", "in the region, without empty ones"))],
        rows=rows,
        text_columns=[1],
        sort=["words", "words", *["up", "down"] * 2],
        note="A map is empty where nothing in the image speaks for the decision at that layer. Low energy of a usual "
        "answer is often that, rather than evidence elsewhere.",
    )  # fmt: skip


def _by_outcome(mine: "polars.DataFrame") -> Table:
    cells = {(r["attribute"], r["outcome"]): r for r in mine.iter_rows(named=True) if r["outcome"] != "all"}
    outcomes = ("TP", "FN", "FP", "TN")
    rows: list[list[Any]] = []
    for name in dict.fromkeys(mine["attribute"]):
        row: list[Any] = [spoken(name)]
        for outcome in outcomes:
            line = cells.get((name, outcome), {})
            row += [rate(line, "pe", 1.0, counts=wording.many(line.get("n") or 0, "image")), count(line.get("n"))]
        rows.append(row)
    said = {"TP": "rightly yes", "FN": "wrongly no", "FP": "wrongly yes", "TN": "rightly no"}
    return Table(
        caption="The same by outcome",
        columns=["attribute", *(text for o in outcomes for text in (f"{said[o]} ({o})", "images"))],
        rows=rows,
        sort=["words", *["down", "up"] * 4],
        note="Energy in the region. Maps follow the decision: of wrongly no and rightly no they show what speaks for "
        "no.",
    )


def of_bias(audit: Audit) -> Section | None:
    """How much of a decision is a constant."""
    lines = [line for line in audit.bias().iter_rows(named=True) if line["n"]]
    if not lines:
        return None
    told = [line for line in lines if known(line["share_own"])]
    least = min([0.0, *(_ends(line)[0] for line in told)])
    most = max([1.0, *(_ends(line)[1] for line in told)])
    least, most = max(least, -2.0), min(most, 3.0)
    layered = any(known(line["share_layers"]) for line in lines)
    head = audit.manifest.get("head", {}).get("affine", True)
    rows: list[list[Any]] = []
    for line in lines:
        kind = {True: "usual", False: "rarer", None: ""}[line["majority"]]
        row: list[Any] = [f"{spoken(line['attribute'])}: {line['side']}", kind, count(line["n"])]
        row.append(_stack(line, least, most) if known(line["share_own"]) else UNDEFINED)
        row += [signed(line, name, least, most) for name in _SHARES]
        row += [signed(line, "share_layers", least, most)] if layered else []
        rows.append([*row, number(line["mean_abs_z"]), line["note"] or ""])
    columns = ["decision", "answer", "images", "shares", *SHARES, *(["biases of all layers"] if layered else [])]
    table = Table(
        caption="What a decision is made of",
        columns=[*columns, "mean of |z|", "note"],
        rows=rows,
        swatches=SHARES,
        text_columns=[1, len(columns) + 1],
        sort=["words", "words", "up", *["up"] * (len(columns) - 3), "up", "words"],
        note="z = bias of the head + what is the same for every image + what this image adds; shares of the mean of "
        "|z|, positive where they speak for the decision. What is the same: the mean over a reference in which both "
        f"answers weigh alike. The lines mark 0 and 100 %. {'' if head else _HEADLESS}{protocol(audit)}",
    )  # fmt: skip
    return Section(
        title="Bias or evidence",
        lead="How much of a decision comes from the image at hand, and how much would be there whatever the image "
        "shows. Where more than half is constant, the classifier says its usual answer rather than what it sees.",
        blocks=[table],
    )


def _ends(line: Line) -> tuple[float, float]:
    """Sums of the negative and of the positive shares."""
    shares = [line[name] or 0.0 for name in _SHARES]
    return sum(s for s in shares if s < 0), sum(s for s in shares if s > 0)


def _stack(line: Line, least: float, most: float) -> Stack:
    shares = [line[name] or 0.0 for name in _SHARES]
    parts = [
        f"{said} {percent(share)}{between(line[f'{name}_low'], line[f'{name}_high'])}"
        for said, name, share in zip(SHARES, _SHARES, shares, strict=True)
    ]
    constant = 1 - line["share_own"]
    return Stack(parts=shares, names=SHARES, detail="; ".join(parts), low=least, high=most, order=constant)


def of_groups(audit: Audit) -> Section | None:
    """Errors by group; groups that are too small stand in grey, below, and are never ranked."""
    import polars as pl

    frame = audit.groups()
    if not len(frame):
        return None
    groupings = frame["by"].unique(maintain_order=True).to_list()
    options: list[tuple[str, Sequence[Block]]] = [
        (_grouping(by), [_of_grouping(audit, frame.filter(by=by))]) for by in groupings
    ]
    if len(groupings) > 1:
        options.insert(0, ("all, the worst first", [_of_grouping(audit, frame.filter(~pl.col("greyed")), most=_WORST)]))
    return Section(
        title="Groups",
        lead="Who bears the errors. Grey: too few images of either truth to be ranked.",
        blocks=[Choice(label="groups", options=options)],
    )


def _grouping(by: str) -> str:
    columns = by.split(JOINED)
    return spoken(by) if len(columns) <= _COLUMNS else f"all {len(columns)} columns"


def _of_grouping(audit: Audit, frame: "polars.DataFrame", most: int = _LINES) -> Table:
    lines = list(frame.iter_rows(named=True))
    lines.sort(key=lambda r: (r["greyed"], -(r["balanced_error"] or 0.0)))
    high = top([line for line in lines if not line["greyed"]], ("FNR", "FPR", "balanced_error"))
    rows: list[list[Any]] = []
    for line in lines[:most]:
        worst = "worst" if line["worst"] else ""
        grey = line["greyed"]
        gap = percent(line["disparity"]) if known(line.get("disparity")) and not grey else UNDEFINED
        chance = percent(line["disparity_chance"]) if known(line.get("disparity_chance")) and not grey else UNDEFINED
        rows.append([
            spoken(line["attribute"]), group_of(line["by"], line["group"]),
            count(line["positives"]), count(line["negatives"]),
            rate(line, "FNR", high), rate(line, "FPR", high), rate(line, "balanced_error", high),
            gap, chance, UNDEFINED if grey else number(line["disparity_p_holm"], 3), worst or line.get("note") or "",
        ])  # fmt: skip
    return Table(
        caption="Errors by group, the worst first",
        columns=["attribute", "group", "yes", "no", "misses (FNR)", "wrongly yes (FPR)", "balanced error",
                 "gap between groups", "gap by chance", "p", "note"],
        rows=rows,
        dimmed=[i for i, line in enumerate(lines[:most]) if line["greyed"]],
        text_columns=[1, 10],
        sort=["words", "words", "down", "down", "up", "up", "up", "words", "words", "down", "words"],
        note="Gap: greatest less least balanced error of the ranked groups; by chance: what groups shuffled among "
        "images of the same truth give on average, since the largest of noisy rates is large by itself; p of that, "
        f"corrected over all groupings (Holm). {_more(len(lines), most)}{protocol(audit)}",
    )  # fmt: skip


def of_interventions(audit: Audit) -> Section | None:
    """What changing the region does, beside the same change elsewhere."""
    lines = list(audit.interventions().iter_rows(named=True))
    if not lines:
        return None
    effects = ("effect_region", "effect_control", "difference")
    least = min([0.0, *(line[f"{n}_low"] for line in lines for n in effects if known(line[f"{n}_low"]))])
    most = max([0.05, *(line[f"{n}_high"] for line in lines for n in effects if known(line[f"{n}_high"]))])
    rows: list[list[Any]] = []
    for line in lines[:_LINES]:
        verdict = {True: "the region matters", False: "no more than elsewhere", None: "not judged"}[line["confirmed"]]
        rows.append([
            spoken(line["attribute"]), line["edit"], line["direction"] or "", count(line["n"]),
            *(signed(line, name, least, most) for name in effects),
            rate(line, "flip_region", 1.0), rate(line, "flip_control", 1.0),
            number(line["p_holm"], 3), verdict, line.get("note") or "",
        ])  # fmt: skip
    table = Table(
        caption="Effect of changing the region, and of the same change elsewhere",
        columns=["attribute", "edit", "meant to", "images", "region", "elsewhere", "difference",
                 "answers turned: region", "elsewhere", "p", "verdict", "note"],
        rows=rows,
        text_columns=[1, 2, 10, 11],
        sort=["words", "words", "words", "up", *["up"] * 5, "down", "words", "words"],
        note="Effect: mean change of the probability of yes in the direction that the edit means (remove: its fall, "
        "insert: its rise, neutral: its amount). Elsewhere: places of the same size and shape in the same image. p of "
        f"the difference, corrected over the whole table (Holm). {_more(len(lines))}{protocol(audit)}",
    )  # fmt: skip
    silent = [spoken(line["attribute"]) for line in lines if line["confirmed"] is None]
    blocks: list[Block] = [table]
    if silent:
        names = wording.listed(list(dict.fromkeys(silent)), most=8)
        blocks.insert(0, Callout(text=f"Not judged, for the reasons in the table: {names}.", tone="note"))
    return Section(
        title="Interventions",
        lead="Maps only suggest. Here the region was changed, and the same change was made elsewhere in the image: "
        "only where the first moves the decision more than the second does the region matter.",
        blocks=blocks,
    )


def protocol(audit: Audit) -> str:
    """The protocol in one line, as it stands under every table."""
    parts = [f"{name} {wording.value(entry)}" for name, entry in audit.manifest["protocol"].items()]
    return f"Protocol: {'; '.join(parts)}."


def _more(number_of: int, most: int = _LINES) -> str:
    return f"The first {most} of {number_of:,} lines. " if number_of > most else ""
