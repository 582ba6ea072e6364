"""What was found, in sentences: the first thing on the page, and the only one that some will read."""

from typing import Literal

from sightline.report.generalisation import groups
from sightline.report.generalisation.figures import Figures, View
from sightline.report.generalisation.trust import VERDICTS
from sightline.report.page import Block, Callout, Choice, Fold, Section
from sightline.studies.generalising.validity import Sentence

RULE = "Can the rule be trusted, or does it make maps alike?"
_ASKED = {
    "Can the models do it at all?": ("chance",),
    "Does relevance carry over?": ("carries",),
    RULE: ("validity",),
    "Between which models, and what matters?": ("factor",),
    "And with another fill, or the other way of masking?": ("elsewhere",),
    "Both ways alike?": ("asymmetry",),
    "Is it more than what needs no model?": ("control",),
    "Are the maps alike?": ("alike", "swap"),
    "Does the rule hang on what was learned?": ("rules",),
}
"""Questions with the kinds of sentences that answer them."""
_MOST = 8
_NONE = "Maps are no more alike than maps of different images: there is nothing to explain."


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
    if question == RULE:
        return _verdicts(said)
    first, *rest = said
    shown, hidden = rest[: _MOST - 1], rest[_MOST - 1 :]
    tone: Literal["finding", "note"] = "finding" if first.kind == "carries" else "note"
    callout = Callout(title=question, text=_text(first), items=[_text(one) for one in shown], tone=tone)
    return [callout, *_folded(f"{len(hidden)} more on this", hidden)]


def _verdicts(said: list[Sentence]) -> list[Block]:
    """The verdicts in short, over each factor; the sentences with all figures behind them."""
    verdicts = [str(one.figures.get("verdict", "unknown")) for one in said]
    lines = [
        f"Over {_factor(one)}: {VERDICTS.get(verdict, _NONE)}" for one, verdict in zip(said, verdicts, strict=True)
    ]
    tone: Literal["finding", "note", "warning"] = "warning" if set(verdicts) & {"rule", "features", "split"} else "note"
    if set(verdicts) == {"models"}:
        tone = "finding"
    callout = Callout(title=RULE, text=lines[0], items=lines[1:_MOST], tone=tone)
    return [callout, *_folded("These verdicts with their figures", said)]


def _factor(one: Sentence) -> str:
    factor, within = one.figures.get("factor") or "no factor", one.figures.get("within")
    return f"{factor} (where {within})" if within else str(factor)


def _folded(title: str, said: list[Sentence]) -> list[Block]:
    if not said:
        return []
    first, *rest = said
    return [Fold(title=title, blocks=[Callout(text=_text(first), items=[_text(one) for one in rest])])]


def _text(one: Sentence) -> str:
    """A sentence without the method in front, which the part it stands in tells."""
    return one.text.removeprefix(f"{one.figures.get('method')}: ")
