"""Triads: a target and two options, of which people choose the one that is more like it. The tables of both."""

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from sightline.errors import InputError
from sightline.files import atomic_write

Kind = Literal["trial", "catch", "practice"]

ASKED = ("trial", "target", "option_1", "option_2", "kind", "expected", "source_1", "source_2")
"""Columns of a table of triads to ask."""

SCHEMA = {
    "trial": pl.String,
    "participant": pl.String,
    "target": pl.String,
    "option_1": pl.String,
    "option_2": pl.String,
    "choice": pl.Int64,
    "rt_ms": pl.Float64,
    "side": pl.String,
    "kind": pl.String,
    "expected": pl.Int64,
    "source_1": pl.String,
    "source_2": pl.String,
}
"""Columns of judgements, with their types."""

_NEEDED = ("trial", "participant", "target", "option_1", "option_2", "choice")


@dataclass(frozen=True, kw_only=True)
class Triad:
    """A question: which of two images is more like the target?

    Attributes:
        target, option_1, option_2: Names of images.
        trial: A name of the question of its own; its place in the list unless given.
        kind: `trial`; `catch`, whose answer is known; or `practice`, which is not judged.
        expected: 1 or 2, the answer of a catch trial.
        source_1, source_2: Whose choice an option is: the name of a model, or of a group of them.

    Raises:
        InputError: Two options that are one, an option that is the target (but in a catch trial), or a catch trial
            without its answer.
    """

    target: str
    option_1: str
    option_2: str
    trial: str = ""
    kind: Kind = "trial"
    expected: int | None = None
    source_1: str = ""
    source_2: str = ""

    def __post_init__(self) -> None:
        what = f"triad {self.trial or self.names}"
        if not all(self.names):
            raise InputError(f"{what} names fewer than three images")
        if self.kind not in get_args(Kind):
            raise InputError(f"{what} is of kind {self.kind!r}; kinds are {', '.join(get_args(Kind))}")
        if self.option_1 == self.option_2:
            raise InputError(f"{what} offers {self.option_1!r} twice; its two options must differ")
        if self.kind != "catch" and self.target in (self.option_1, self.option_2):
            raise InputError(f"{what} offers its own target; only a trial of kind 'catch' may")
        if (self.kind == "catch") != (self.expected is not None) or self.expected not in (None, 1, 2):
            raise InputError(f"{what}: 'expected' is 1 or 2 in a catch trial, and empty in any other")

    @property
    def names(self) -> tuple[str, str, str]:
        """Target and options."""
        return self.target, self.option_1, self.option_2


def write_plan(path: str | os.PathLike[str], triads: Sequence[Triad]) -> None:
    """Write triads to ask as a table (.csv), with the columns `ASKED`.

    Raises:
        InputError: Two trials of one name.
        StorageError: It cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ASKED)
    for triad in numbered(triads):
        writer.writerow(["" if (value := getattr(triad, name)) is None else value for name in ASKED])
    data = text.getvalue().encode("utf-8")
    with atomic_write(path, size=len(data)) as file:
        file.write(data)


def read_plan(path: str | os.PathLike[str]) -> list[Triad]:
    """Triads to ask, from a table (.csv): target, option_1, option_2; trial, kind, expected and sources if there.

    Raises:
        InputError: It cannot be read, a column is missing, or a line is no triad; the text names it.
    """
    found = []
    for line, row in _rows(path, needed=("target", "option_1", "option_2")):
        kind, expected = row.get("kind") or "trial", row.get("expected") or None
        if expected not in (None, "1", "2"):
            raise InputError(f"{path}, line {line}: expected must be 1, 2 or empty, not {expected!r}")
        try:
            triad = Triad(
                **{name: row.get(name) or "" for name in ASKED if name not in ("kind", "expected")},
                kind=kind,  # type: ignore[arg-type] # checked by the triad
                expected=int(expected) if expected else None,
            )
        except InputError as reason:
            raise InputError(f"{path}, line {line}: {reason}") from reason
        found.append(triad)
    if not found:
        raise InputError(f"{path} holds no triad")
    return numbered(found)


def numbered(triads: Sequence[Triad]) -> list[Triad]:
    """The same triads, each with a name of its own.

    Raises:
        InputError: Two of them have the same name.
    """
    from dataclasses import replace

    named = [t if t.trial else replace(t, trial=str(i)) for i, t in enumerate(triads, 1)]
    twice = [name for name, count in Counter(t.trial for t in named).items() if count > 1]
    if twice:
        raise InputError(f"two triads are called {twice[0]!r}; names of trials must differ")
    return named


def read_triads(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> pl.DataFrame:
    """Judgements of triads, from tables (.csv, with commas, semicolons or tabs), as `triads_page` gives them.

    Needed columns: trial, participant, target, option_1, option_2, choice (1, 2, or the name of the image that was
    chosen; empty where none was). Optional: rt_ms, side (where option 1 stood), kind, expected, source_1, source_2.

    Args:
        paths: A file or several, one a participant or with all of them.

    Returns:
        The columns `SCHEMA`; choice is 1, 2 or null.

    Raises:
        InputError: A column is missing, a value makes no sense, or a participant answered a trial twice; the text
            names file and line.
    """
    files = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not files:
        raise InputError("no file with judgements was given")
    lines: list[dict[str, object]] = []
    where: dict[tuple[str, str], str] = {}
    for path in files:
        for line, row in _rows(path, needed=_NEEDED):
            place = f"{path}, line {line}"
            found = _judgement(row, place)
            key = (row["participant"], row["trial"])
            if key in where:
                raise InputError(f"{place}: participant {key[0]!r} answered trial {key[1]!r} before, in {where[key]}")
            where[key] = place
            lines.append(found)
    if not lines:
        raise InputError(f"{files[0]} holds no judgement")
    return pl.DataFrame(lines, schema=SCHEMA)


def _judgement(row: Mapping[str, str], place: str) -> dict[str, object]:
    options = {"1": 1, "2": 2, "": None} | {row["option_1"]: 1, row["option_2"]: 2}
    if {row["option_1"], row["option_2"]} & {"1", "2"} and (row["option_1"], row["option_2"]) != ("1", "2"):
        raise InputError(f"{place}: an image that is called 1 or 2 cannot be told from a choice; rename it")
    if row["choice"] not in options:
        raise InputError(f"{place}: choice must be 1, 2 or the name of an option, not {row['choice']!r}")
    if not row["participant"] or not row["trial"]:
        raise InputError(f"{place}: participant and trial must not be empty")
    expected = row.get("expected", "")
    if expected not in ("", "1", "2"):
        raise InputError(f"{place}: expected must be 1, 2 or empty, not {expected!r}")
    try:
        rt = float(row["rt_ms"]) if row.get("rt_ms") else None
        names = {name: row.get(name) or "" for name in ("target", "option_1", "option_2", "source_1", "source_2")}
        kind = row.get("kind") or "trial"
        Triad(trial=row["trial"], kind=kind, expected=int(expected) if expected else None, **names)  # type: ignore[arg-type]
    except ValueError as reason:  # an InputError is one
        raise InputError(f"{place}: {reason}") from reason
    return {
        **{name: row.get(name) or None for name in SCHEMA},
        "choice": options[row["choice"]],
        "rt_ms": rt,
        "kind": kind,
        "expected": int(expected) if expected else None,
    }


def _rows(path: str | os.PathLike[str], *, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Lines of a table with their numbers; values without spaces around them."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as reason:
        raise InputError(f"{path} cannot be read as a table of UTF-8 text: {reason}") from reason
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    columns = [name.strip() for name in next(reader, [])]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns) or 'nothing'}")
    found = []
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(columns):
            raise InputError(f"{path}, line {reader.line_num}: {len(values)} values for {len(columns)} columns")
        found.append((reader.line_num, {c: v.strip() for c, v in zip(columns, values, strict=True)}))
    return found
