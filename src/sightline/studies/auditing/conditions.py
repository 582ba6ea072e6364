"""Conditions on an audit's figures, for use in continuous integration: `balanced_error(Eyeglasses) > 0.1`.

    condition  = part { ("and" | "or") part }            "and" binds closer than "or"; brackets group
    part       = value OP number | "(" condition ")"      OP: > >= < <= == !=
    value      = FUNCTION "(" [attribute] {"," name "=" text} ")"  |  ("low" | "high") "(" value ")"

A function is a column of the audit's tables. An attribute may be `*`: the condition then holds if it does for any of
them. Names with other characters than letters, digits, `_ - . +` stand between quotes. A value that is not defined is
an error and never counts as passed.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.errors import InputError
from sightline.studies.auditing._lookup import Value, look_up
from sightline.studies.auditing._rules import Tables

__all__ = ["Verdict", "check", "parse"]

_TOKEN = re.compile(
    r"\s*(?:(?P<op>>=|<=|==|!=|>|<)|(?P<mark>[(),=])|(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<word>[\w.+*-]+))"
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """`value OP number`."""

    value: Value
    op: str
    number: float
    text: str


@dataclass(frozen=True)
class Both:
    """Parts joined by `and` or `or`."""

    how: Literal["and", "or"]
    parts: "tuple[Condition, ...]"


Condition = Comparison | Both


@dataclass(frozen=True)
class Verdict:
    """One condition and what became of it.

    Attributes:
        condition: As it was typed.
        holds: Whether it holds: with `--fail-if` this is a failure.
        values: Each figure that was looked at, by its text, such as `balanced_error(Bald)`.
    """

    condition: str
    holds: bool
    values: dict[str, float]

    def __str__(self) -> str:
        seen = ", ".join(f"{name} = {value:.4g}" for name, value in self.values.items())
        return f"{'holds' if self.holds else 'does not hold'}: {self.condition} ({seen})"


def check(tables: Tables, texts: Sequence[str]) -> list[Verdict]:
    """Which conditions hold.

    Args:
        tables: An audit.
        texts: Conditions.

    Raises:
        InputError: A condition that cannot be read, names what does not exist, or asks for a figure that is not
            defined (no image of a side, a group that is too small); the text says which, and what there is.
    """
    return [_judge(tables, text, parse(text)) for text in texts]


def parse(text: str) -> Condition:
    """A condition as a tree; nothing is looked up yet, so that a slip is told before the audit runs.

    Raises:
        InputError: It cannot be read; the text shows where.
    """
    return _Reader(text).whole()


def _judge(tables: Tables, text: str, condition: Condition) -> Verdict:
    values: dict[str, float] = {}

    def holds(part: Condition) -> bool:
        if isinstance(part, Both):
            found = [holds(one) for one in part.parts]  # all are looked up: an undefined one is never passed over
            return all(found) if part.how == "and" else any(found)
        seen = look_up(tables, part.value)
        for name, value in seen.items():
            if value is None or math.isnan(value):
                raise InputError(
                    f"--fail-if {text!r}: {name} is not defined in this audit (no image of a side, or too few of a "
                    "group); ask for a figure that has images behind it"
                )
            values[name] = value
        return any(_COMPARE[part.op](value, part.number) for value in seen.values() if value is not None)

    return Verdict(text, holds(condition), values)


class _Reader:
    """A text as a condition."""

    def __init__(self, text: str) -> None:
        self.text, at = text, 0
        self.tokens: list[tuple[str, str]] = []
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._slip(f"{text[at:].strip()[0]!r} has no place in a condition")
            kind = str(found.lastgroup)
            word = found.group(kind)
            self.tokens.append((kind, word[1:-1] if kind == "quoted" else word))
            at = found.end()
        self.at = 0

    def _slip(self, why: str) -> InputError:
        example = "balanced_error(Eyeglasses) > 0.1"
        return InputError(f"cannot read the condition {self.text!r}: {why}; write it like {example!r}")

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def _next(self, *kinds: str, word: str | None = None) -> str:
        kind, found = self._peek()
        if kind not in kinds or (word is not None and found != word):
            wanted = repr(word) if word is not None else _SPOKEN[kinds[0]]
            got = repr(found) if found else "its end"
            raise self._slip(f"{wanted} is wanted where {got} stands")
        self.at += 1
        return found

    def whole(self) -> Condition:
        found = self._any()
        if self._peek()[0] != "end":
            raise self._slip(f"{self._peek()[1]!r} is left over")
        return found

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._peek() == ("word", "or"):
            self.at += 1
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Both("or", tuple(parts))

    def _all(self) -> Condition:
        parts = [self._part()]
        while self._peek() == ("word", "and"):
            self.at += 1
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else Both("and", tuple(parts))

    def _part(self) -> Condition:
        if self._peek() == ("mark", "("):
            self.at += 1
            inner = self._any()
            self._next("mark", word=")")
            return inner
        first = self.at
        value = self._value()
        op = self._next("op")
        typed = self._next("word")
        try:
            number = float(typed)
        except ValueError:
            raise self._slip(f"{typed!r} is no number") from None
        return Comparison(value, op, number, " ".join(word for _, word in self.tokens[first : self.at]))

    def _value(self) -> Value:
        name = self._next("word")
        self._next("mark", word="(")
        if name in ("low", "high"):
            inner = self._value()
            self._next("mark", word=")")
            if inner.end:
                raise self._slip(f"{name} of {inner.end} has no meaning")
            return Value(inner.function, inner.attribute, inner.options, end=name)
        attribute, options = None, {}
        while self._peek() != ("mark", ")"):
            word = self._next("word", "quoted")
            if self._peek() == ("mark", "="):
                self.at += 1
                options[word] = self._next("word", "quoted")
            elif attribute is None and not options:
                attribute = word
            else:
                raise self._slip(f"{word!r} must be name=text, such as side=yes")
            if self._peek() != ("mark", ")"):
                self._next("mark", word=",")
        self._next("mark", word=")")
        return Value(name, attribute, options)


_SPOKEN = {"word": "a name", "op": "a comparison such as >", "mark": "a bracket"}
