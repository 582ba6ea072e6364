"""The decision rule: is it owed to the models, or to the rule that draws the maps, that maps stay the same?

**What is claimed.** Maps of models that differ in a factor X alone (a seed, a task) are alike, and the pixels that one
chooses serve the other. Two things bring that about without any likeness of what the models have learned to rest on:

- *the image and the architecture*: relevance falls on edges and contrast whatever the weights are;
- *the lower layers*: rules that let only positive contributions through converge to one direction from the output down,
  so that their maps hardly hang on the upper layers, where the decision is made (Sixt, Granz, Landgraf 2020, arXiv
  1912.09818). Where models share pretrained lower layers, their maps are then alike by construction.

**What is asked.** The same two, made on purpose in each single model, are held against what X leaves:

    weights     the map after *all* weights were made random
    decision    the map after the *upper* layers alone were made random (head, upper quarter, upper half), and the map
                of the decision that was *not* made, where the rule can tell the two apart

by two instruments, which have different weak points:

    maps        S_X - r: likeness of two models' maps of one image minus that of a model's map and its altered map
    masks       A(s -> t) - A(altered t -> t): area of the masking curve of t on pixels that the other model chose,
                minus that on pixels that t's own altered map chose

Random weights next to the output turn the sign of the score, and with it that of the map; so maps of random networks
count up to their sign (`turned`), or a rule that is blind to the upper layers would seem to see them.

Neither is enough. Making the upper layers random keeps the lower features and the scale of activations in place, so an
honest map may stay alike, and noise alone makes maps unlike (Binder et al. 2023, arXiv 2211.12486): likeness of maps
proves the rule guilty only where masks say so too. And masks alone cannot see why another model's pixels serve.

**What is answered.** A difference is `more` where its interval lies above 0, and `no more` where its upper end is below
a margin (0.05 of a rank correlation; of an area, a tenth of what the models' own pixels gain over random ones): what X
leaves is then not worth more than what the altered model leaves. Otherwise it is `unclear`. An instrument says `more`
of a question where it does so against *every* map altered for it (so that asking more controls cannot make a false
claim more likely), and `no more` where any of them is `no more`.

    rule        weights: both say `no more`. Random networks give as much: nothing that was learned is seen.
    features    weights: both say `more`; decision: both say `no more`. The maps tell what the lower layers respond to,
                which models share by common pretraining or otherwise, and nothing of what decides.
    models      weights and decision: both say `more`. What stays over X is more than the rule gives: the conclusion
                that the *models* rest on the same pixels is justified.
    split       maps and masks contradict each other on a question that the answer hangs on.
    unknown     anything else: an instrument is missing or unclear.

One instrument alone justifies nothing, so where masks were not made for a question, it stays open; with one exception:
`decision` may be answered `more` by maps alone if masks speak for `weights`, because what Binder et al. hold against
randomising from the top makes maps more alike, and so can only hide a difference, never feign one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.studies.generalising.validity.resampling import Mean

Answer = Literal["more", "no more", "unclear"]
Verdict = Literal["models", "features", "rule", "split", "unknown"]

MAPS_MARGIN = 0.05
MASKS_SHARE = 0.1


@dataclass(frozen=True)
class Ruling:
    """A verdict and what it rests on.

    Attributes:
        verdict: See above.
        weights, decision: Instrument (`maps`, `masks`) -> its answer; an instrument that was not asked is absent.
        decisive: Question -> instrument -> the altered map that its answer rests on: the one with the least margin.
    """

    verdict: Verdict
    weights: Mapping[str, Answer]
    decision: Mapping[str, Answer]
    decisive: Mapping[str, Mapping[str, str]]


def masks_margin(gain: Mean | None) -> float:
    """A tenth of the area that models gain from their own pixels over random ones; 0 where that is not known."""
    return MASKS_SHARE * gain.value if gain is not None and gain.value is not None else 0.0


def answered(difference: Mean, margin: float) -> Answer | None:
    """What one difference says; None where it has no interval."""
    if difference.value is None or difference.low is None or difference.high is None:
        return None
    if difference.high < margin:
        return "no more"
    return "more" if difference.low > 0 else "unclear"


def ruled(
    maps: Mapping[str, Mapping[str, Mean]],
    masks: Mapping[str, Mapping[str, Mean]],
    margin: float,
) -> Ruling:
    """The verdict.

    Args:
        maps: Question (`weights`, `decision`) -> altered map -> S_X minus its likeness.
        masks: The same -> area on the other model's pixels minus that on its own.
        margin: Of areas, below which a difference is not worth more; see `masks_margin`.
    """
    said: dict[str, dict[str, Answer]] = {"weights": {}, "decision": {}}
    decisive: dict[str, dict[str, str]] = {"weights": {}, "decision": {}}
    for instrument, found, least in (("maps", maps, MAPS_MARGIN), ("masks", masks, margin)):
        for question in said:
            answers = {k: a for k, d in found.get(question, {}).items() if (a := answered(d, least)) is not None}
            if answers:
                said[question][instrument] = _together(list(answers.values()))
                decisive[question][instrument] = _least(found[question], answers)
    return Ruling(_verdict(said["weights"], said["decision"]), said["weights"], said["decision"], decisive)


def _least(found: Mapping[str, Mean], answers: Mapping[str, Answer]) -> str:
    """The altered map that leaves the least: of those that say `no more`, if any does."""
    kept = [k for k, a in answers.items() if a == "no more"] or list(answers)
    return min(kept, key=lambda k: found[k].value or 0.0)


def _together(answers: Sequence[Answer]) -> Answer:
    if "no more" in answers:
        return "no more"
    return "more" if all(a == "more" for a in answers) else "unclear"


def _verdict(weights: Mapping[str, Answer], decision: Mapping[str, Answer]) -> Verdict:
    learned, decides = _agreed(weights), _agreed(decision)
    if learned == "split":
        return "split"
    if learned == "no more":
        return "rule"
    if learned != "more":
        return "unknown"
    if decides == "open" and decision.get("maps") == "more" and "masks" not in decision:
        decides = "more"
    found: dict[str, Verdict] = {"more": "models", "no more": "features", "split": "split"}
    return found.get(decides, "unknown")


def _agreed(said: Mapping[str, Answer]) -> str:
    """What both instruments say; `split` where they contradict each other, `open` where one is missing or unclear."""
    answers = {said.get("maps"), said.get("masks")}
    if answers == {"more", "no more"}:
        return "split"
    (one,) = answers if len(answers) == 1 else (None,)
    return one if one in ("more", "no more") else "open"
