"""What is looked for in an audit's errors: each rule tests every attribute and says how large the effect is.

A rule yields one `Candidate` a test, also where the effect is too small: Holm's correction counts all that was tested.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sightline.studies.auditing import _sentences as say
from sightline.studies.auditing.thresholds import Thresholds

if TYPE_CHECKING:
    import polars

Line = Mapping[str, Any]
JOINED = " x "
"""What joins columns, and values, of an intersection of groups."""


class Tables(Protocol):
    """An audit as the rules see it: its derived tables."""

    def errors(self) -> "polars.DataFrame": ...
    def groups(self) -> "polars.DataFrame": ...
    def evidence(self) -> "polars.DataFrame": ...
    def bias(self) -> "polars.DataFrame": ...
    def interventions(self) -> "polars.DataFrame": ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One test.

    Attributes:
        kind: A key of `kinds.KINDS`.
        attribute: Of what.
        p: Of the test, in [0, 1].
        effect: How large it is, in the unit of its kind's limits; larger is worse.
        severity: 1 notable, 2 serious, 3 grave; 0: the effect is too small, whatever p is.
        sentence: What was found, in plain words.
        figures: The numbers in the sentence.
        group: A group of images, such as `Male: no`.
        parts: Of a group, each column with its value.
        confirmed: Whether an intervention confirms what maps say; None where none was asked, or where no map is meant.
    """

    kind: str
    attribute: str
    p: float
    effect: float
    severity: int
    sentence: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    confirmed: bool | None = None
    parts: dict[str, str] = field(default_factory=dict)


def minority_share(line: Line) -> float | None:
    """Share of the rarer side, in training where it is known, else in the audited images."""
    rate = line.get("train_rate")
    if rate is None:
        judged = line["positives"] + line["negatives"]
        rate = line["positives"] / judged if judged else None
    return None if rate is None else min(rate, 1 - rate)


def step(value: float, steps: tuple[float, float, float]) -> int:
    """How many of three rising limits a value reaches."""
    return sum(value >= step for step in steps)


def above(mean: float, low: float, high: float, limit: float) -> float:
    """One-sided p that a mean exceeds a limit: normal, with the standard error that its 95 % interval tells."""
    from scipy.stats import norm

    se = (high - low) / (2 * 1.959963984540054)
    if se <= 0:  # all images alike: the sample says nothing of its spread
        return 1.0 if mean <= limit else 0.0
    return float(norm.sf((mean - limit) / se))


def known(line: Line, *names: str) -> bool:
    return all(line.get(name) is not None and math.isfinite(line[name]) for name in names)


def errors(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    """Do the two sides of an attribute get their errors in unequal shares?

    Fisher's exact test of FN of P against FP of N. One-sided where one side is rare (is the minority neglected?), else
    two-sided (does the classifier lean to one answer?).
    """
    from scipy.stats import fisher_exact

    for line in tables.errors().iter_rows(named=True):
        positives, negatives, share = line["positives"], line["negatives"], minority_share(line)
        if min(positives, negatives) < limits.min_count or share is None or not known(line, "FNR", "FPR"):
            continue
        yes, no = (line["FN"], positives), (line["FP"], negatives)
        few, many = (yes, no) if line["minority"] == "yes" else (no, yes)
        gap = few[0] / few[1] - many[0] / many[1]
        table = [[few[0], few[1] - few[0]], [many[0], many[1] - many[0]]]
        figures = {"minority_share": share, "minority_error": few[0] / few[1], "majority_error": many[0] / many[1]}
        figures |= {"minority_count": few[1], "majority_count": many[1]}
        if share <= limits.rare:
            p = float(fisher_exact(table, alternative="greater").pvalue)
            kind, steps = "neglected-minority", limits.gap
        else:
            p, gap = float(fisher_exact(table).pvalue), abs(gap)
            kind, steps = "sign-asymmetry", limits.lean
        severity = step(gap, steps)
        yield Candidate(
            kind=kind,
            attribute=line["attribute"],
            p=p,
            effect=gap,
            severity=severity,
            sentence=say.unequal_errors(line) if severity else "",
            figures=figures,
        )


def groups(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    """Is a group served worse than all other images of the same truth? Fisher's exact test, one-sided.

    FNR and FPR apart, so that a group which merely has more images of the harder side is not blamed; every group that
    is large enough is tested, not only the worst one, which would be the maximum of noisy rates. Intersections are
    tested where few columns were named: those of many would drown the columns themselves in the correction.
    """
    from scipy.stats import fisher_exact

    whole = {line["attribute"]: line for line in tables.errors().iter_rows(named=True)}
    lines = list(tables.groups().iter_rows(named=True))
    crossed = len({line["by"] for line in lines if JOINED not in line["by"]}) <= limits.crossed
    for line in lines:
        everyone = whole.get(line["attribute"])
        if line["greyed"] or everyone is None or (JOINED in line["by"] and not crossed):
            continue
        for side, missed, right in (("yes", "FN", "TP"), ("no", "FP", "TN")):
            wrong, n = line[missed], line[missed] + line[right]
            other_wrong, others = everyone[missed] - wrong, everyone[missed] + everyone[right] - n
            if min(n, others) < limits.min_count or not 0 <= other_wrong <= others:
                continue
            table = [[wrong, n - wrong], [other_wrong, others - other_wrong]]
            gap = wrong / n - other_wrong / others
            severity = step(gap, limits.group)
            parts = dict(zip(line["by"].split(JOINED), line["group"].split(JOINED), strict=True))
            figures = {
                "truth": side,
                "n": n,
                "error": wrong / n,
                "others": others,
                "error_others": other_wrong / others,
            }
            text = (
                say.worst_group(line["attribute"], side, parts, (wrong, n), (other_wrong, others)) if severity else ""
            )
            yield Candidate(
                kind="worst-group",
                attribute=line["attribute"],
                group=f"{line['by']}: {line['group']}",
                parts=parts,
                p=float(fisher_exact(table, alternative="greater").pvalue),
                effect=gap,
                severity=severity,
                sentence=text,
                figures=figures,
            )
