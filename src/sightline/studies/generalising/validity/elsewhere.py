"""Whether what is said of the first fill and mode holds with the others that were run."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sightline.studies.generalising import statistics
from sightline.studies.generalising.validity.claims import sure
from sightline.studies.generalising.validity.wording import Sentence, interval, joined, models_by, number

if TYPE_CHECKING:
    from sightline.studies.generalising.reading import Generalisation

Row = dict[str, Any]


def elsewhere(run: "Generalisation", method: str) -> Iterator[Sentence]:
    """The span of the index, and where an effect is found and where not; nothing where one fill and mode was run."""
    conditions = [(fill, mode) for fill in run.fills for mode in run.modes]
    if len(conditions) == 1:
        return
    carried: dict[str, dict[str, Row]] = {factor: {} for factor in run.factor_names}
    effects: dict[str, dict[str, Row]] = {factor: {} for factor in run.factor_names}
    for fill, mode in conditions:
        curves, name = run.curves(method, fill=fill, mode=mode), _name(run, fill, mode)
        for row in statistics.groups(curves).iter_rows(named=True):
            if row["differs"] in carried and row["g"] is not None:
                carried[row["differs"]][name] = row
        for row in statistics.factor_effects(curves).iter_rows(named=True):
            effects[row["factor"]][name] = row
    for factor in run.factor_names:
        yield from _span(factor, carried[factor], len(conditions))
        yield from _effect(factor, effects[factor])


def _name(run: "Generalisation", fill: str, mode: str) -> str:
    """`keep/blur`, or what there is more than one of."""
    return "/".join([mode] * (len(run.modes) > 1) + [fill] * (len(run.fills) > 1))


def _span(factor: str, rows: dict[str, Row], asked: int) -> Iterator[Sentence]:
    if len(rows) < 2:
        return
    low, high = (pick(rows, key=lambda name: rows[name]["g"]) for pick in (min, max))
    missing = f"; it is not defined under {asked - len(rows)} of {asked}" if len(rows) < asked else ""
    text = (
        f"Between {models_by(factor)} the index is {number(rows[low]['g'])} ({low}) to {number(rows[high]['g'])} "
        f"({high}), as fill and mode are chosen{missing}."
    )
    yield Sentence("elsewhere", text, {"factor": factor, "g": {name: row["g"] for name, row in rows.items()}})


def _effect(factor: str, rows: dict[str, Row]) -> Iterator[Sentence]:
    """Where a factor lowers the index and where that cannot be told; nothing where it is claimed nowhere."""
    found = [name for name, row in rows.items() if sure(row) and row["effect"] > 0]
    open_ = [name for name in rows if name not in found]
    if not found:
        return
    told = {name: f"{name} ({interval(row['effect'], row['low'], row['high'])})" for name, row in rows.items()}
    if open_:
        text = (
            f"That differing in {factor} takes something off the index is found under "
            f"{joined([told[n] for n in found])}; it cannot be told under {joined([told[n] for n in open_], 'or')}. So "
            "it is as much a finding about the mask as about the models."
        )
    else:
        text = f"Differing in {factor} takes something off the index whatever is run: {joined(list(told.values()))}."
    figures = {name: {k: row[k] for k in ("effect", "low", "high", "p_holm")} for name, row in rows.items()}
    yield Sentence("elsewhere", text, {"factor": factor, "effects": figures})
