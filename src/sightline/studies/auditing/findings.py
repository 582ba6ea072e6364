"""Findings of an audit: what is wrong, in plain words, only where it is both large and more than chance.

Every rule (`_rules`, `_rules_evidence`) tests every attribute, and every group. A finding needs an effect of the size
that `Thresholds` names *and* a p-value below `alpha` after Holm's correction over all tests of the audit, whatever
their kind, so that the chance of any false finding in a clean audit is at most alpha as far as the tests' assumptions
hold. What maps say is set beside what interventions say: a finding that they contradict stays in the list, flagged,
with severity 0.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.studies.auditing import _rules, _rules_edits, _rules_evidence, _sentences
from sightline.studies.auditing._rules import Candidate, Tables
from sightline.studies.statistics import holm

if TYPE_CHECKING:
    import polars

__all__ = ["KINDS", "Kind", "Tables", "Thresholds", "findings"]

Steps = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """How large an effect must be; conventions, stated in the report. Three limits: notable, serious, grave.

    Attributes:
        alpha: Level of the whole audit, after Holm's correction.
        min_count: Images that each side of a comparison must have.
        rare: Share up to which a side counts as rare.
        gap: Error of the rare side minus that of the other.
        lean: Absolute difference of FNR and FPR where no side is rare.
        constant: Share of a side's decision that is the same for every image.
        empty: Rate of empty maps on the majority's side.
        outside: Energy in the region as a multiple of chance (lift), at most.
        points: Lift from which on a map counts as pointing at the region.
        idle: Difference between changing the region and changing something else, in probability, below which (upper
            end of the interval) the region counts as without effect.
        group: Error of a group minus that of all others.
        crossed: Group columns up to which their intersections are tested too.
        elsewhere: What changing something outside the region does beyond its control, in probability.
        companion: Share of right answers on images that have the attribute (or not) minus that on images in which it
            alone was switched.
    """

    alpha: float = 0.05
    min_count: int = 20
    rare: float = 0.4
    gap: Steps = (0.10, 0.25, 0.40)
    lean: Steps = (0.15, 0.30, 0.45)
    constant: Steps = (0.50, 0.75, 1.00)
    empty: Steps = (0.50, 0.75, 0.90)
    outside: Steps = (0.75, 0.50, 0.25)
    points: float = 1.5
    idle: float = 0.03
    group: Steps = (0.10, 0.20, 0.30)
    crossed: int = 3
    elsewhere: Steps = (0.10, 0.25, 0.50)
    companion: Steps = (0.15, 0.30, 0.50)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.min_count < 2 or not 0 < self.rare <= 0.5:
            raise InputError("alpha must lie between 0 and 1, min_count be 2 or more, rare lie in (0, 0.5]")
        for name in ("gap", "lean", "constant", "empty", "group", "elsewhere", "companion"):
            if list(getattr(self, name)) != sorted(getattr(self, name)):
                raise InputError(f"the three limits of {name} must rise")
        if list(self.outside) != sorted(self.outside, reverse=True):
            raise InputError("the three limits of outside must fall")


@dataclass(frozen=True)
class Kind:
    """What a kind of finding is called, what it means, and what may be done."""

    title: str
    meaning: str
    advice: str


KINDS = {
    "neglected-minority": Kind(
        "The rarer side bears the errors",
        "A classifier that mostly sees one answer may do well on average by giving it nearly always.",
        "Weigh the rarer side higher in training, collect more of it, or choose another threshold; then audit again.",
    ),
    "sign-asymmetry": Kind(
        "One answer is given too readily",
        "Both sides are about as frequent, but one of them gets far more wrong answers.",
        "Choose the threshold on held-out images; the errors table shows what a tuned threshold gives.",
    ),
    "worst-group": Kind(
        "A group is served worse",
        "The classifier errs more often on one group of images than on all others.",
        "Look at the group's images, and at how many the training had; collect more, or weigh them higher.",
    ),
    "bias-decides": Kind(
        "A constant decides, not the image",
        "Most of what makes the decision is a fixed number of the network that no image can change.",
        "Train with balanced weights, then audit again; do not read such a decision as a statement about the image.",
    ),
    "common-evidence-decides": Kind(
        "What fires on every image decides",
        "Most of what makes the decision are features that are there in all images, so it is a constant in effect.",
        "Train with balanced weights, then audit again; do not read such a decision as a statement about the image.",
    ),
    "majority-without-evidence": Kind(
        "The usual answer rests on nothing in the region",
        "For the rarer answer the classifier looks where it should, for the usual one it does not.",
        "Compare with the shares of bias below; train with balanced weights, then audit again.",
    ),
    "shortcut": Kind(
        "Something elsewhere decides",
        "Changing what has nothing to do with the attribute changes the answer.",
        "Find out whether the thing is there when the classifier is used; take it out of the training images, or have "
        "it there with and without the attribute; then audit again.",
    ),
    "companion-decides": Kind(
        "A companion of the attribute decides",
        "The answer is right while attribute and companion come together, and wrong when one of them changes alone.",
        "Find the companion with the edit “sweep” and the mean maps; train on images in which both come apart.",
    ),
    "evidence-outside-region": Kind(
        "The evidence lies elsewhere",
        "The classifier says yes because of something outside the place where the attribute is to be seen.",
        "Look at the mean map for what it looks at: a companion of the attribute, a mark, a background. Test it by "
        "taking that away.",
    ),
    "intervention-unconfirmed": Kind(
        "The maps point at a region that does not matter",
        "Maps and intervention disagree, so the maps of this attribute prove nothing.",
        "Try another method, and edits that are closer to real images.",
    ),
}
"""Kind -> how it is told, in the order of the report."""

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
