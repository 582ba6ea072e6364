"""Findings of an audit: what is wrong, in plain words, only where it is both large and more than chance.

Every rule (`_rules`, `_rules_evidence`) tests every attribute, and every group. A finding needs an effect of the size
that `Thresholds` names *and* a p-value below `alpha` after Holm's correction over all tests of the audit, whatever
their kind, so that the chance of any false finding in a clean audit is at most alpha as far as the tests' assumptions
hold. What maps say is set beside what interventions say: a finding that they contradict stays in the list, flagged,
with severity 0.
"""

import json
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from sightline.studies.auditing import _rules, _rules_edits, _rules_evidence, _sentences
from sightline.studies.auditing._rules import Candidate, Tables
from sightline.studies.auditing.kinds import KINDS
from sightline.studies.auditing.thresholds import Steps, Thresholds
from sightline.studies.statistics import holm

if TYPE_CHECKING:
    import polars

__all__ = ["Tables", "findings"]

_BY_EDITS = ("shortcut", "companion-decides", "intervention-unconfirmed")  # they are interventions: no verdict on them

RULES = (
    _rules.errors,
    _rules.groups,
    _rules_evidence.shares,
    _rules_evidence.evidence,
    _rules_evidence.interventions,
    _rules_edits.elsewhere,
    _rules_edits.companions,
)


def findings(tables: Tables, thresholds: Thresholds | None = None) -> "polars.DataFrame":
    """What is wrong, the gravest first.

    Args:
        tables: An audit: its errors(), groups(), evidence(), bias() and interventions(); empty frames where something
            was not asked.
        thresholds: Effect sizes and the level.

    Returns:
        kind, attribute, group (null where all images are meant), severity (3 grave, 2 serious, 1 notable, 0: an
        intervention contradicts it), effect (in the unit of its limits), sentence, figures (JSON), p, p_holm (over all
        tests), tests (how many), confirmed (null: not tested by an intervention).
    """
    import polars as pl

    limits = thresholds or Thresholds()
    tested = list(_candidates(tables, limits))
    corrected = holm([one.p for one in tested])
    kinds = list(KINDS)
    found = [(one, float(p)) for one, p in zip(tested, corrected, strict=True) if one.severity and p < limits.alpha]
    lines = [_line(one, p, len(tested)) for one, p in _distinct(found, limits)]
    schema = {
        **dict.fromkeys(("kind", "attribute", "group"), pl.String),
        "severity": pl.Int64,
        "effect": pl.Float64,
        **dict.fromkeys(("sentence", "figures"), pl.String),
        **dict.fromkeys(("p", "p_holm"), pl.Float64),
        "tests": pl.Int64,
        "confirmed": pl.Boolean,
    }
    frame = pl.DataFrame(lines, schema=schema, orient="row")
    order = pl.col("kind").replace_strict(kinds, range(len(kinds)), return_dtype=pl.Int64)
    return frame.sort(-pl.col("severity"), order, -pl.col("effect"), "attribute", maintain_order=True)


def described(thresholds: Thresholds | None = None) -> dict[str, str]:
    """The thresholds in words, as the report states them; three values: notable, serious, grave."""
    limits = thresholds or Thresholds()

    def steps(values: Steps) -> str:
        return ", ".join(_sentences.percent(value) for value in values)

    return {
        "chance of any false finding": f"{_sentences.percent(limits.alpha)} (Holm, over all tests of the audit)",
        "images that each side needs": str(limits.min_count),
        "a side is rare up to": _sentences.percent(limits.rare),
        "error of the rare side above that of the other": steps(limits.gap),
        "difference of the two errors where no side is rare": steps(limits.lean),
        "share of a decision that is the same for every image": steps(limits.constant),
        "empty maps of the usual answer": steps(limits.empty),
        "energy in the region, of what chance gives, at most": steps(limits.outside),
        "a map points at the region from, of what chance gives": _sentences.percent(limits.points),
        "the region is without effect below": f"{_sentences.percent(limits.idle)} of probability",
        "error of a group above that of all others": steps(limits.group),
        "intersections of groups are tested": f"where at most {limits.crossed} columns were named",
        "change elsewhere, beyond its control, of probability": steps(limits.elsewhere),
        "right answers as they come, above those after the attribute alone was switched": steps(limits.companion),
    }


def _candidates(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    return chain.from_iterable(rule(tables, limits) for rule in RULES)


def _distinct(found: list[tuple[Candidate, float]], limits: Thresholds) -> list[tuple[Candidate, float]]:
    """Without intersections of groups that say no more than one of the larger groups they are part of."""
    groups = [one for one, _ in found if one.parts]

    def told(one: Candidate) -> bool:
        return any(
            other.attribute == one.attribute
            and other.figures["truth"] == one.figures["truth"]
            and other.parts.items() < one.parts.items()
            and one.figures["error"] - other.figures["error"] < limits.group[0]
            for other in groups
        )

    return [pair for pair in found if not (pair[0].parts and told(pair[0]))]


def _line(one: Candidate, p_holm: float, tests: int) -> tuple[object, ...]:
    contradicted = one.confirmed is False and one.kind != "intervention-unconfirmed"
    said = one.sentence
    if one.confirmed is not None and one.kind not in _BY_EDITS:
        said = f"{said} {_sentences.VERDICTS[one.confirmed]}"
    severity = 0 if contradicted else one.severity
    figures = json.dumps(one.figures)
    head = (one.kind, one.attribute, one.group, severity, one.effect)
    return *head, said, figures, one.p, p_holm, tests, one.confirmed
