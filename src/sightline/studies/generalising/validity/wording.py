"""Figures and names in plain words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sightline.studies.generalising.statistics._drawn import NOTHING
from sightline.studies.generalising.validity.resampling import Mean

ALTERED = {
    "all": "with all weights random",
    "head": "with the weights next to the output random",
    "upper quarter": "with the upper quarter of the layers random",
    "upper half": "with the upper half of the layers random",
    "upper three quarters": "with the upper three quarters of the layers random",
    "class-swap": "of the other decision",
    "randomised": "with all weights random",
    "upper-random": "with the upper half of the layers random",
    "other-class": "of the other decision",
}
"""Altered map -> what it is, as in: a model's own map with all weights random."""


@dataclass(frozen=True)
class Sentence:
    """One thing that can be said.

    Attributes:
        kind: chance, carries, alike, factor, elsewhere, asymmetry, control, validity, swap or rules.
        text: In plain words, with figures and intervals.
        figures: The same as numbers; `method` where it is of one.
    """

    kind: str
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def number(value: float | None, digits: int = 2) -> str:
    """0.625 -> `0.62`; a minus only where a digit is left."""
    if value is None:
        return "none"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """`0.62 [0.55, 0.69]`."""
    if low is None or high is None:
        return f"{number(value, digits)} (no interval)"
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def mean(found: Mean, digits: int = 2) -> str:
    """The same of a mean."""
    return interval(found.value, found.low, found.high, digits)


def p_value(p: float) -> str:
    """`p = 0.03`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def models_by(factor: str, within: tuple[str, str] | None = None) -> str:
    """`models that differ in seed alone`, with what they share where it is a part of them."""
    said = "models whose factors are all equal" if factor == NOTHING else f"models that differ in {factor} alone"
    return said if within is None else f"{said} (all with {within[0]} {within[1]})"


def over(factor: str, within: tuple[str, str] | None = None) -> str:
    """`over seed`, as in: maps stay alike over seed."""
    said = "between models whose factors are all equal" if factor == NOTHING else f"over {factor}"
    return said if within is None else f"{said} among models with {within[0]} {within[1]}"


def counted(found: Mean) -> str:
    """`12 pairs of 12 models, 32 images`, with the note on its interval."""
    pairs, images = ("s" if n != 1 else "" for n in (found.pairs, found.images))
    said = f"{found.pairs} pair{pairs} of {found.models} models, {found.images} image{images}"
    return f"{said}; {found.note}" if found.note else said


def joined(parts: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return " ".join([", ".join(parts[:-1]), last, parts[-1]]) if len(parts) > 1 else "".join(parts)
