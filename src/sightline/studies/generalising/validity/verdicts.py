"""The verdict on one factor in a sentence, with the figures that it rests on."""

from dataclasses import asdict
from typing import Any

from sightline.studies.generalising.validity.evidence import DECISION, WEIGHTS
from sightline.studies.generalising.validity.resampling import Mean
from sightline.studies.generalising.validity.rule import MAPS_MARGIN, Ruling, answered, masks_margin
from sightline.studies.generalising.validity.table import Finding
from sightline.studies.generalising.validity.wording import ALTERED, counted, mean, over

_OPENINGS = {
    "models": "That maps stay alike {over} is the models' doing and not that of the rule that draws them: {figures}.",
    "features": "That maps stay alike {over} tells what the lower layers respond to, and not what decides: {figures}. "
    "With a trunk that models share by pretraining this is so by construction (Sixt et al. 2020), so it cannot be "
    "taken for a sign that their decisions rest on the same pixels.",
    "rule": "That maps stay alike {over} is a property of the rule that draws them and of the images, not of the "
    "models: {figures}. Random networks give as much.",
    "split": "Whose doing it is that maps stay alike {over}, the models' or the rule's, cannot be told: maps and masks "
    "contradict each other. {Figures}.",
    "unknown": "Whose doing it is that maps stay alike {over}, the models' or the rule's, cannot be told. {Figures}.",
}

_MUCH = {
    "maps": {"more": "more alike", "no more": "no more alike", "unclear": "not clearly more alike"},
    "masks": {"more": "better", "no more": "no better", "unclear": "not clearly better"},
}


def said(finding: Finding) -> str:
    """What is to be said of a finding; for pairs whose maps are not alike, that there is nothing to explain."""
    where = over(finding.factor, finding.within)
    if finding.ruling is None:
        if finding.stable.low is None:
            return f"Whether maps stay alike {where} cannot be told: {finding.stable.note or 'there is no interval'}."
        start = f"Maps do not stay alike {where}" if _apart(finding) else f"That maps stay alike {where} cannot be told"
        return f"{start}: beyond those of different images they are so by {mean(finding.stable)} in rank correlation."
    text = "; ".join(_figures(finding, finding.ruling))
    whole = _OPENINGS[finding.ruling.verdict].format(over=where, figures=text, Figures=text[:1].upper() + text[1:])
    return f"{whole} This rests on {counted(finding.alike)}."


def _apart(finding: Finding) -> bool:
    """Whether maps are as unlike as those of different images, and not merely unknown to be more alike."""
    return finding.stable.high is not None and finding.stable.high < MAPS_MARGIN


def figures(finding: Finding) -> dict[str, Any]:
    """The same as numbers."""
    ruling = finding.ruling
    return {
        "method": finding.method,
        "factor": finding.factor,
        "within": None if finding.within is None else "=".join(finding.within),
        "verdict": ruling.verdict if ruling else "not alike" if _apart(finding) else "unknown",
        "alike": asdict(finding.alike),
        "beyond_other_images": asdict(finding.stable),
        "maps": {q: {k: asdict(d) for k, d in kept.items()} for q, kept in finding.maps.items()},
        "masks": {q: {k: asdict(d) for k, d in kept.items()} for q, kept in finding.masks.items()},
    }


def _figures(finding: Finding, ruling: Ruling) -> list[str]:
    """A clause an instrument: what was compared with what, and how it came out."""
    found = []
    margins = {"maps": MAPS_MARGIN, "masks": masks_margin(finding.own)}
    for instrument, kept in (("maps", finding.maps), ("masks", finding.masks)):
        clauses: list[str] = []
        missing, before = [], ""
        for question, answers in ((WEIGHTS, ruling.weights), (DECISION, ruling.decision)):
            if instrument not in answers:
                missing.append(_missing(finding, instrument, question))
                continue
            name = ruling.decisive[question][instrument]
            much = _MUCH[instrument][answered(kept[question][name], margins[instrument]) or "unclear"]
            clauses.append(_clause(instrument, name, kept[question][name], much, before))
            before = much
        if clauses:
            start = "two models' maps are" if instrument == "maps" else "the pixels that the other model chose serve"
            found.append(" ".join([start, *clauses]))
        found += list(dict.fromkeys(missing))
    return found


def _clause(instrument: str, altered: str, difference: Mean, much: str, before: str) -> str:
    """What one altered map says; the second clause is shorter, and says `and` where it says the same."""
    link = f"{much} than" if not before else "and than" if much == before else f"but {much} than"
    if instrument == "maps":
        what = "to its own" if before else "one model's map is to its own"
        return f"{link} {what} {ALTERED[altered]} ({mean(difference)} in rank correlation)"
    whose = "its" if before else "a model's"
    return f"{link} those of {whose} own map {ALTERED[altered]} ({mean(difference, 3)} in area)"


def _missing(finding: Finding, instrument: str, question: str) -> str:
    if instrument == "maps":
        return f"no maps of altered models speak to it ({_question(question)}): give validity= a number of images"
    if finding.own is None:
        return "masks say nothing without the control 'random'"
    if finding.own.low is None or finding.own.low <= 0:
        return (
            f"masks say nothing: the models' own pixels gain {mean(finding.own, 3)} in area over random ones, which "
            "is not clearly more than nothing"
        )
    need = (
        "'randomised'" if question == WEIGHTS else "'upper-random' or, where models have several outputs, 'other-class'"
    )
    return f"no masks speak to it ({_question(question)}): run the control {need}"


def _question(question: str) -> str:
    return "whether the weights matter" if question == WEIGHTS else "whether what decides matters"
