"""From numbers to words: what the checks of a trust card found, for those who do not know the metrics."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["pass", "doubt", "fail", "not checked"]

# Conventions, not laws: where a similarity in [-1, 1] counts as different, as partly alike, as the same.
ALIKE, SAME, IDENTICAL = 0.5, 0.9, 0.9999
RANDOM_SAME = 0.8
STABLE, UNSTABLE = 0.8, 0.5
SPAN = 0.05  # of the probability, below which insertion and deletion have nothing to say
MOVED = 0.1  # of the probability under noise, from which the map may move too

TITLES = {
    "controls": "Does it mark what matters?",
    "weights": "Does it depend on what was learned?",
    "class": "Does it depend on the class?",
    "noise": "Is it stable?",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question that was put to a map.

    Attributes:
        name: `controls`, `weights`, `class` or `noise`.
        verdict: `pass`, `doubt`, `fail` or `not checked`.
        text: The finding in words.
        numbers: What it rests on.
    """

    name: str
    verdict: Verdict
    text: str
    numbers: Mapping[str, float]

    @property
    def title(self) -> str:
        """The question in words."""
        return TITLES[self.name]


@dataclass(frozen=True, kw_only=True)
class Card:
    """What speaks for one map and what against it.

    Attributes:
        image: Which image of the batch.
        target: The decision that the map explains.
        probability: Of the decision.
        method: Of the map.
        verdict: `pass` (nothing speaks against it), `doubt` (read it with care) or `fail` (do not rely on it).
        summary: The verdict in words.
        checks: The questions with their findings.
    """

    image: int
    target: str
    probability: float
    method: str
    verdict: Verdict
    summary: str
    checks: tuple[Check, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; a number that is not defined is None."""
        found = asdict(self)
        for check in found["checks"]:
            check["numbers"] = {k: v if math.isfinite(v) else None for k, v in check["numbers"].items()}
        return found | {"checks": list(found["checks"])}

    def __str__(self) -> str:
        width = max(len(title) for title in TITLES.values())
        lines = [f"{self.target} (p = {self.probability:.3f}), {self.method}: {self.summary}"]
        lines += [f"  {check.title:{width}}  {check.verdict:11}  {check.text}" for check in self.checks]
        return "\n".join(lines)


def on_controls(score: float, others: Mapping[str, float], span: float) -> Check:
    """Is insertion minus deletion higher than that of maps that know nothing of the classifier?

    Args:
        score: Of the map.
        others: Of the controls; `uniform` and `random` are luck.
        span: How far the probability goes, at most, when all pixels are taken away.
    """
    numbers = {"insertion - deletion": score, **others, "span": span}
    if not span >= SPAN:
        text = (
            f"The probability goes by {span:.2f} only when the whole image is taken away: taking pixels away cannot "
            "tell good maps from bad ones here."
        )
        return Check(name="controls", verdict="not checked", text=text, numbers=numbers)
    best = max(others, key=others.__getitem__)
    figures = f"(insertion minus deletion {score:.2f}; best control, {best}, {others[best]:.2f})"
    ahead = [name for name, value in others.items() if not score > value]
    if not ahead:
        text = f"What it marks matters more to the classifier than luck, the centre or edges {figures}."
        return Check(name="controls", verdict="pass", text=text, numbers=numbers)
    if {"uniform", "random"} & set(ahead):
        text = f"It finds what matters no better than luck does on this image {figures}."
        return Check(name="controls", verdict="fail", text=text, numbers=numbers)
    those = f"the control {ahead[0]} explains" if len(ahead) == 1 else f"the controls {_listed(ahead)} explain"
    text = f"It beats luck, but {those} this image as well {figures}."
    return Check(name="controls", verdict="doubt", text=text, numbers=numbers)


def on_weights(similarities: Sequence[float]) -> Check:
    """How alike are the map and those of the classifier with random weights? The sign does not count."""
    found = [abs(s) for s in similarities if math.isfinite(s)]
    mean = sum(found) / len(found) if found else math.nan
    numbers = {"similarity": mean, "vanished": float(len(similarities) - len(found))}
    if not found:
        text = "With random weights nothing is left of it: it depends on what the classifier learned."
        return Check(name="weights", verdict="pass", text=text, numbers=numbers)
    figures = f"(rank correlation {mean:.2f} without its sign)"
    verdict, text = _graded(
        mean,
        (RANDOM_SAME, f"With random weights it stays much the same {figures}: it shows the image and the "
         "architecture, not what this classifier learned."),
        (ALIKE, f"With random weights it changes only in part {figures}."),
        f"With random weights it changes {figures}: it depends on what the classifier learned.",
    )  # fmt: skip
    return Check(name="weights", verdict=verdict, text=text, numbers=numbers)


def on_class(similarities: Sequence[float], other: str) -> Check:
    """How alike are the map and those of other decisions? `other` says which, in words."""
    mean = sum(similarities) / len(similarities)
    numbers, figures = {"similarity": mean}, f"(rank correlation {mean:.2f})"
    if mean >= IDENTICAL:
        text = (
            f"It is the same for {other}: by its construction, or here, the method does not tell decisions apart. It "
            "shows where the classifier looks, not why it decides so."
        )
        return Check(name="class", verdict="doubt", text=text, numbers=numbers)
    verdict, text = _graded(
        mean,
        (SAME, f"It is nearly the same for {other} {figures}: do not read it as evidence for this decision."),
        (ALIKE, f"It changes only in part for {other} {figures}."),
        f"It changes for {other} {figures}.",
    )
    return Check(name="class", verdict=verdict, text=text, numbers=numbers)


def on_noise(similarities: Sequence[float], shift: float) -> Check:
    """How alike are the map and those of the image with noise; `shift` is how far the probability goes."""
    mean = sum(similarities) / len(similarities)
    numbers, figures = {"similarity": mean, "probability shift": shift}, f"(rank correlation {mean:.2f})"
    if mean >= STABLE:
        text = f"Noise that the eye hardly sees leaves it as it is {figures}."
        return Check(name="noise", verdict="pass", text=text, numbers=numbers)
    if shift >= MOVED:
        text = (
            f"It moves under faint noise {figures}, but so does the answer, by {shift:.2f}: the classifier is unsure."
        )
        return Check(name="noise", verdict="doubt", text=text, numbers=numbers)
    if mean >= UNSTABLE:
        text = f"It moves in part under noise that the eye hardly sees {figures}."
        return Check(name="noise", verdict="doubt", text=text, numbers=numbers)
    text = f"It becomes another map under noise that the eye hardly sees {figures}, although the answer stays."
    return Check(name="noise", verdict="fail", text=text, numbers=numbers)


def unchecked(name: str, reason: str) -> Check:
    """A question that could not be put, and why."""
    return Check(name=name, verdict="not checked", text=reason, numbers={})


def together(checks: Sequence[Check], state: str) -> tuple[Verdict, str]:
    """The verdict on a map, and its words; `state` is `ok`, or that the map is `empty` or `flat`."""
    if state == "empty":
        return "fail", "There is nothing to rely on: the map is empty, the method found no evidence for this decision."
    if state == "flat":
        return "fail", "There is nothing to rely on: the map is the same everywhere."
    by = {v: [c for c in checks if c.verdict == v] for v in ("pass", "doubt", "fail", "not checked")}
    if by["fail"]:
        return "fail", f"Do not rely on this map: {_listed([_FAULTS[c.name] for c in by['fail']])}."
    if by["doubt"]:
        return "doubt", f"Read this map with care: {_listed([_DOUBTS[c.name] for c in by['doubt']])}."
    if not by["pass"]:
        return "not checked", "Nothing could be checked."
    left = "" if not by["not checked"] else f" ({len(by['not checked'])} of {len(checks)} could not be checked)"
    return "pass", f"No check speaks against this map{left}. That is no proof that it is right."


_FAULTS = {
    "controls": "luck finds what matters as well",
    "weights": "it is much the same with random weights",
    "class": "it is nearly the same for other decisions",
    "noise": "faint noise makes it another map",
}
_DOUBTS = {
    "controls": "a simple control explains the image as well",
    "weights": "it is partly the same with random weights",
    "class": "it says little of this decision alone",
    "noise": "it moves under faint noise",
}


def _graded(mean: float, worst: tuple[float, str], middle: tuple[float, str], best: str) -> tuple[Verdict, str]:
    if mean >= worst[0]:
        return "fail", worst[1]
    return ("doubt", middle[1]) if mean >= middle[0] else ("pass", best)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
