"""What was found, in sentences: the first thing on the page, and the only one that some will read."""

from typing import Literal

from sightline.report.generalisation import groups
from sightline.report.generalisation.figures import Figures, View
from sightline.report.page import Block, Callout, Choice, Fold, Section
from sightline.studies.generalising.validity import Sentence

_ASKED = {
    "Can the models do it at all?": ("chance",),
    "Does relevance carry over?": ("carries",),
    "Between which models, and what matters?": ("factor",),
    "Both ways alike?": ("asymmetry",),
    "Is it more than what needs no model?": ("control",),
    "Can the rule be trusted, or does it make maps alike?": ("validity", "swap", "rules"),
    "Are the maps alike?": ("alike",),
}
"""Questions with the kinds of sentences that answer them."""
_MOST = 6


def of_findings(figures: Figures) -> Section:
    """What holds for all methods, then the answers by each method, question by question."""
    common = [one for one in figures.sentences if one.figures.get("method") not in figures.study.methods]
    options = [(view.label, _of_view(figures, view)) for view in figures.by_method]
    blocks = [
        *_answers([one for one in common if one.kind == "chance"]),
        Choice(label="figures", options=options),
        *_answers([one for one in common if one.kind != "chance"]),
    ]
    lead = (
        "Brackets are 95 % intervals. Nothing is claimed without one; what cannot be told is said to be so. Everything "
        "below shows where these sentences come from."
    )
    return Section(title="What was found", lead=lead, blocks=blocks)


def _of_view(figures: Figures, view: View) -> list[Block]:
    """The answers by one method, with the index by what differs after the first."""
    mine = [one for one in figures.sentences if one.figures.get("method") == view.method]
    first = [one for one in mine if one.kind == "carries"]
    bars = groups.by_difference(figures, view, title=f"How much carries over, {view.label}")
    return [*_answers(first), bars, *_answers([one for one in mine if one not in first])]


def _answers(said: list[Sentence]) -> list[Block]:
    """A callout a question."""
    blocks: list[Block] = []
    for question, kinds in _ASKED.items():
        mine = [one for one in said if one.kind in kinds]
        if mine:
            blocks += _answer(question, mine)
    told = {kind for kinds in _ASKED.values() for kind in kinds}
    rest = [one for one in said if one.kind not in told]
    return [*blocks, *(_answer("And", rest) if rest else [])]


def _answer(question: str, said: list[Sentence]) -> list[Block]:
    first, *rest = said
    shown, hidden = rest[: _MOST - 1], rest[_MOST - 1 :]
    callout = Callout(title=question, text=first.text, items=[one.text for one in shown], tone=_tone(said))
    if not hidden:
        return [callout]
    more = Callout(text="Further:", items=[one.text for one in hidden])
    return [callout, Fold(title=f"{len(hidden)} more on this", blocks=[more])]


def _tone(said: list[Sentence]) -> Literal["finding", "note", "warning"]:
    """A warning where a verdict says that maps do not show models."""
    verdicts = {one.figures.get("verdict") for one in said}
    if verdicts & {"rule", "features", "split"}:
        return "warning"
    return "finding" if said[0].kind == "carries" or "models" in verdicts else "note"
