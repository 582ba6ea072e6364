"""A figure of an audit by the name of its column: `FNR(Bald)`, `empty_rate(Bald, side=no, method=grad-cam)`."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.studies.auditing._rules import Tables

if TYPE_CHECKING:
    import polars

KEYS: Mapping[str, tuple[str, ...]] = {
    "errors": (),
    "bias": ("side",),
    "evidence": ("side", "method", "layer", "outcome"),
    "interventions": ("edit", "direction"),
    "groups": ("by", "group"),
}
"""Columns of each table that tell its lines apart, beside the attribute."""

_WORDS = ("attribute", "side", "method", "layer", "outcome", "edit", "direction", "by", "group", "note", "minority")


@dataclass(frozen=True)
class Value:
    """A figure to be looked up.

    Attributes:
        function: A column, `disparity` or `findings`.
        attribute: A name, `*` for each of them, or None (for `findings()`).
        options: What else tells its line.
        end: `low` or `high`: that end of its interval.
    """

    function: str
    attribute: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    end: str = ""

    def named(self, attribute: str | None) -> str:
        """The text of it for one attribute."""
        inside = ", ".join([*([attribute] if attribute else []), *(f"{k}={v}" for k, v in self.options.items())])
        text = f"{self.function}({inside})"
        return f"{self.end}({text})" if self.end else text


def look_up(tables: Tables, value: Value) -> dict[str, float | None]:
    """The figure, or one for each attribute where it is asked of `*`; None where it is not defined.

    Raises:
        InputError: An unknown function, attribute or option, or one that does not tell a single line.
    """
    if value.function == "findings":
        return {value.named(value.attribute): _findings(tables, value)}
    frame, keys = _table(tables, value)
    known = tables.errors()["attribute"].to_list()
    if value.attribute is None:
        raise InputError(f"{value.named(None)} names no attribute; write {value.function}({known[0]}), or * for any")
    if value.attribute != "*" and value.attribute not in known:
        raise InputError(f"there is no attribute {value.attribute!r}{_near(value.attribute, known)}")
    lines = _chosen(frame, keys, value)
    column = f"{value.function}_{value.end}" if value.end else value.function
    if column not in frame.columns:
        raise InputError(f"{value.function} has no interval, so {value.end}({value.function}(...)) has no meaning")
    wanted = known if value.attribute == "*" else [value.attribute]
    found: dict[str, float | None] = {}
    for name in wanted:
        mine = lines.filter(attribute=name)
        if len(mine) > 1:
            raise _several(mine, keys, value, name)
        if not len(mine) and value.attribute != "*":
            raise InputError(f"{value.named(name)}: the audit has no such line; {_there(frame, keys, name)}")
        if len(mine):
            small = "greyed" in mine.columns and mine["greyed"][0]  # never judged by, so never passed either
            number = None if small else mine[column][0]
            found[value.named(name)] = None if number is None else float(number)
    if not found:
        raise InputError(f"{value.named('*')}: the audit has no such line")
    return found


def _findings(tables: Tables, value: Value) -> float:
    """How many findings there are that no intervention contradicts; by attribute, kind and least severity."""
    import polars as pl

    from sightline.studies.auditing.findings import findings
    from sightline.studies.auditing.kinds import KINDS

    asked = getattr(tables, "findings", None)
    frame = (asked() if asked is not None else findings(tables)).filter(pl.col("severity") > 0)
    for name, text in value.options.items():
        if name == "kind" and text in KINDS:
            frame = frame.filter(kind=text)
        elif name == "severity" and text in ("1", "2", "3"):
            frame = frame.filter(pl.col("severity") >= int(text))
        else:
            raise InputError(f"findings() takes kind= ({', '.join(KINDS)}) and severity= (1, 2, 3), not {name}={text}")
    if value.attribute not in (None, "*"):
        known = tables.errors()["attribute"].to_list()
        if value.attribute not in known:
            raise InputError(f"there is no attribute {value.attribute!r}{_near(str(value.attribute), known)}")
        frame = frame.filter(attribute=value.attribute)
    return float(len(frame))


def _table(tables: Tables, value: Value) -> "tuple[polars.DataFrame, tuple[str, ...]]":
    """The table that has the column, and what tells its lines apart."""
    import polars as pl

    shape = KEYS["groups"] if {"by", "group"} & set(value.options) or value.function == "disparity" else None
    order = ("groups",) if shape or _of_group(tables, value) else ("errors", "bias", "evidence", "interventions")
    found: list[str] = []
    for name in order:
        frame = getattr(tables, name)()
        columns = [c for c, t in frame.schema.items() if c not in _WORDS and (t.is_numeric() or t == pl.Null)]
        if value.function in columns:
            return frame, KEYS[name]
        found += [c for c in columns if not c.endswith(("_low", "_high"))]
    names = list(dict.fromkeys([*found, "findings"]))
    raise InputError(f"there is no figure {value.function!r}{_near(value.function, names)}")


def _of_group(tables: Tables, value: Value) -> bool:
    """Whether an option is the name of a group column, as in `FNR(Bald, Male=no)`."""
    groups = tables.groups()
    return len(groups) > 0 and bool(set(value.options) & set(groups["by"].unique()))


def _chosen(frame: "polars.DataFrame", keys: Sequence[str], value: Value) -> "polars.DataFrame":
    import polars as pl

    lines = frame
    by = set(frame["by"].unique()) if "by" in frame.columns else set()
    if value.function == "disparity":
        lines = lines.unique(["attribute", "by"], keep="first", maintain_order=True)
    for name, text in value.options.items():
        if name in by:
            lines = lines.filter((pl.col("by") == name) & (pl.col("group") == text))
            continue
        if name not in keys:
            allowed = ", ".join([*keys, *sorted(by)]) or "no options"
            raise InputError(f"{value.function}() takes {allowed}, not {name}=")
        if name == "side" and text in ("majority", "minority") and "majority" in frame.columns:
            lines = lines.filter(pl.col("majority") == (text == "majority"))
            continue
        there = [str(one) for one in frame[name].unique(maintain_order=True)]
        if text not in there:
            raise InputError(f"{value.function}(): {name}={text} does not occur{_near(text, there)}")
        lines = lines.filter(pl.col(name) == text)
    if "outcome" in keys and "outcome" not in value.options:
        lines = lines.filter(pl.col("outcome") == "all")
    return lines


def _several(lines: "polars.DataFrame", keys: Sequence[str], value: Value, name: str) -> InputError:
    left = [key for key in keys if key not in value.options and lines[key].n_unique() > 1]
    choices = "; ".join(f"{key}= {', '.join(map(str, lines[key].unique(maintain_order=True)))}" for key in left)
    return InputError(
        f"{value.named(name)} is {len(lines)} figures; say which: {choices or 'nothing tells them apart'}"
    )


def _there(frame: "polars.DataFrame", keys: Sequence[str], name: str) -> str:
    mine = frame.filter(attribute=name)
    if not len(mine):
        return f"nothing of this kind was measured for {name}"
    return "; ".join(f"{key}= {', '.join(map(str, mine[key].unique(maintain_order=True)))}" for key in keys)


def _near(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known[:45])}"
