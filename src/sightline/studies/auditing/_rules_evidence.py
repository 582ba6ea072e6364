"""Rules on what decisions rest on: shares of bias, evidence in the region, and what interventions say of both."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.studies.auditing import _sentences as say
from sightline.studies.auditing._rules import Candidate, Line, Tables, above, known, step
from sightline.studies.auditing.edits import ON_REGION
from sightline.studies.auditing.thresholds import Thresholds

if TYPE_CHECKING:
    import polars


def shares(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    """Is more than half of a side's decision the same for every image?

    1 - share_own = share_bias + share_common against one half; the larger of the two names the finding.
    """
    for line in tables.bias().iter_rows(named=True):
        names = ("share_bias", "share_common", "share_own", "share_own_low", "share_own_high")
        if line["n"] < limits.min_count or not known(line, *names):
            continue
        constant = 1 - line["share_own"]
        p = above(constant, 1 - line["share_own_high"], 1 - line["share_own_low"], limits.constant[0])
        severity = step(constant, limits.constant)
        kind = "bias-decides" if line["share_bias"] >= line["share_common"] else "common-evidence-decides"
        figures = {name: line[name] for name in names} | {"constant": constant, "side": line["side"], "n": line["n"]}
        text = say.constant_share(line, kind) if severity else ""
        yield Candidate(
            kind=kind,
            attribute=line["attribute"],
            p=p,
            effect=constant,
            severity=severity,
            sentence=text,
            figures=figures,
        )


def reference(evidence: "polars.DataFrame") -> tuple[str, str] | None:
    """Method and layer that findings rest on: HiResCAM, whose map sums to the logit's evidence exactly, if it is there.

    Else the first method; the layer after its activation, else the first one.
    """
    if not len(evidence):
        return None
    methods = evidence["method"].unique(maintain_order=True).to_list()
    method = "hires-cam" if "hires-cam" in methods else methods[0]
    layers = evidence.filter(method=method)["layer"].unique(maintain_order=True).to_list()
    return method, "after" if "after" in layers else layers[0]


def evidence_lines(tables: Tables) -> dict[tuple[str, str], Line]:
    """(attribute, side) -> the line of all its decisions under the method and layer that findings rest on."""
    frame = tables.evidence()
    found = reference(frame)
    if found is None:
        return {}
    mine = frame.filter(method=found[0], layer=found[1], outcome="all")
    return {(line["attribute"], line["side"]): line for line in mine.iter_rows(named=True)}


def evidence(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    """Does the evidence lie where it should?

    Decisions for yes with less energy in the region than chance; majority decisions without energy there while those
    for the minority have it.
    """
    lines = evidence_lines(tables)
    removed, neutral = (verdicts(tables, limits, way) for way in ("remove", "neutral"))
    poor = {line["attribute"]: line for line in tables.errors().iter_rows(named=True)}
    for attribute in dict.fromkeys(name for name, _ in lines):
        yes = lines.get((attribute, "yes"))
        if yes is not None and _usable(yes, limits):
            yield _outside(attribute, yes, removed.get(attribute), limits)
        if (few := poor.get(attribute, {}).get("minority")) is None:
            continue
        many = "no" if few == "yes" else "yes"
        pair = [lines.get((attribute, side)) for side in (few, many)]
        if all(line is not None and _usable(line, limits) for line in pair):
            tested = (neutral if many == "no" else removed).get(attribute)
            yield _without(attribute, pair[0], pair[1], tested, limits)  # type: ignore[arg-type]


def _usable(line: Line, limits: Thresholds) -> bool:
    return line["n"] >= limits.min_count and known(line, "pe", "pe_low", "pe_high", "chance") and line["chance"] > 0


def _outside(attribute: str, yes: Line, tested: "Verdict | None", limits: Thresholds) -> Candidate:
    p = above(-yes["pe"], -yes["pe_high"], -yes["pe_low"], -yes["chance"])
    severity = step(-yes["pe"] / yes["chance"], tuple(-limit for limit in limits.outside))  # type: ignore[arg-type]
    text = say.outside(yes) if severity else ""
    return Candidate(
        kind="evidence-outside-region",
        attribute=attribute,
        p=p,
        effect=1 - yes["pe"] / yes["chance"],
        severity=severity,
        sentence=text,
        figures={name: yes[name] for name in ("n", "pe", "pe_low", "pe_high", "chance", "method", "layer")},
        confirmed=_confirmed(tested),
    )


def _confirmed(tested: "Verdict | None") -> bool | None:
    """Of a finding that the region is without effect: confirmed, contradicted, or open.

    Where the attribute is not, hiding its region may confirm but never contradicts: what hides it may look like the
    attribute (a grey bar over bare eyes), and so speak for it, without anything there having spoken against it.
    """
    if tested is None or (tested.matters and tested.line["direction"] == "neutral"):
        return None
    return True if tested.idle else False if tested.matters else None


def _without(attribute: str, few: Line, many: Line, tested: "Verdict | None", limits: Thresholds) -> Candidate:
    """Majority: no more than chance and far less than the minority; minority: above chance."""
    from scipy.stats import norm

    se = math.hypot(few["pe_high"] - few["pe_low"], many["pe_high"] - many["pe_low"]) / (2 * 1.959963984540054)
    gap = few["pe"] - many["pe"]
    p = float(norm.sf(gap / se)) if se > 0 else float(gap <= 0)
    there, gone = few["pe_low"] > few["chance"], many["pe"] <= many["chance"]
    empty = many["empty_rate"] if known(many, "empty_rate") else 0.0
    severity = 0
    if there and gone and (empty >= limits.empty[0] or many["pe"] <= limits.outside[0] * many["chance"]):
        severity = 1 + step(empty, limits.empty)
        severity = min(3, severity)
    figures = {"minority_pe": few["pe"], "majority_pe": many["pe"], "chance": many["chance"], "empty_rate": empty}
    figures |= {"majority": many["side"], "method": many["method"], "layer": many["layer"], "n": many["n"]}
    text = say.without(few, many) if severity else ""
    return Candidate(
        kind="majority-without-evidence",
        attribute=attribute,
        p=p,
        effect=gap,
        severity=severity,
        sentence=text,
        figures=figures,
        confirmed=_confirmed(tested),
    )


@dataclass(frozen=True)
class Verdict:
    """What taking the region away says of an attribute.

    Attributes:
        line: The line of the intervention.
        matters: It changes the decision more than the same elsewhere does, beyond chance and by enough to count.
        idle: The interval leaves no room for a difference that counts.
    """

    line: Line
    matters: bool
    idle: bool


def verdicts(tables: Tables, limits: Thresholds, direction: str = "remove") -> dict[str, Verdict]:
    """The strongest intervention of each attribute: `remove` hides what is there, `neutral` where there is nothing."""
    found: dict[str, Verdict] = {}
    for line in tables.interventions().iter_rows(named=True):
        if line["edit"] not in ON_REGION:  # a cue, a patch or a map's hottest pixels are not the attribute's region
            continue
        if line["direction"] != direction or line["n"] < limits.min_count or not known(line, "difference"):
            continue
        idle = known(line, "difference_high") and line["difference_high"] < limits.idle
        verdict = Verdict(line, bool(line["confirmed"]) and line["difference"] >= limits.idle, idle)
        before = found.get(line["attribute"])
        if before is None or abs(line["difference"]) > abs(before.line["difference"]):
            found[line["attribute"]] = verdict
    return found


def interventions(tables: Tables, limits: Thresholds) -> Iterator[Candidate]:
    """Maps that point at the region although taking it away changes no more than taking away something else."""
    lines, edits = evidence_lines(tables), verdicts(tables, limits)
    for attribute, verdict in edits.items():
        yes = lines.get((attribute, "yes"))
        if yes is None or not _usable(yes, limits):
            continue
        points = yes["pe"] >= limits.points * yes["chance"]
        p = above(yes["pe"], yes["pe_low"], yes["pe_high"], yes["chance"])
        severity = int(points and verdict.idle)
        figures = {"pe": yes["pe"], "chance": yes["chance"], "method": yes["method"], "layer": yes["layer"]}
        figures |= {k: verdict.line[k] for k in ("edit", "n", "effect_region", "effect_control", "difference")}
        yield Candidate(
            kind="intervention-unconfirmed",
            attribute=attribute,
            p=p,
            effect=yes["pe"] / yes["chance"],
            severity=severity,
            sentence=say.unconfirmed(yes, verdict.line) if severity else "",
            figures=figures,
            confirmed=False if severity else None,
        )
