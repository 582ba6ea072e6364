"""What the masks say: what carries over, by which factor less, both ways alike or not, and beyond which controls."""

from collections.abc import Iterator, Mapping
from typing import Any

from sightline.studies.generalising import statistics
from sightline.studies.generalising.statistics import Curves
from sightline.studies.generalising.statistics._drawn import NOTHING
from sightline.studies.generalising.validity.wording import Sentence, interval, joined, models_by, number, p_value

ALPHA = 0.05
NEARLY, HALF = 0.8, 0.5
"""Of the index: at least so much at the lower end is nearly all; less at the upper end is less than half."""
SURE = 0.95
"""Share of resamples in which a factor has the largest effect, from which on it is said to matter most."""


def carries(curves: Curves, factors: tuple[str, ...]) -> Iterator[Sentence]:
    """What carries over between models that differ in one factor alone."""
    rows = {row["differs"]: row for row in statistics.groups(curves).iter_rows(named=True)}
    for factor in (*factors, NOTHING):
        row = rows.get(factor)
        if row is None:
            if factor != NOTHING:
                text = f"No two models differ in {factor} alone, so whether relevance carries over it cannot be told."
                yield Sentence("carries", text, {"factor": factor})
            continue
        figures = {"factor": factor, **{k: row[k] for k in ("g", "low", "high", "pairs", "undefined", "models")}}
        whom = models_by(factor)
        if row["g"] is None or row["low"] is None:
            why = row["note"] or "there is no interval"
            yield Sentence("carries", f"Whether relevance carries over between {whom} cannot be told: {why}.", figures)
            continue
        share = interval(row["g"], row["low"], row["high"])
        note = f"; {row['note']}" if row["note"] else ""
        basis = f"{row['pairs']} ordered pairs of {row['models']} models{note}"
        text = (
            f"Relevance {_how_much(row['low'], row['high'])} between {whom}: another's pixels are worth {share} of "
            f"what a model's own are worth above random ones ({basis})."
        )
        yield Sentence("carries", text, figures)


def _how_much(low: float, high: float) -> str:
    if high <= 0:
        return "does not carry over"
    if low <= 0:
        return "cannot be told to carry over"
    if low >= NEARLY:
        return "carries over nearly in full"
    return "carries over by less than half" if high < HALF else "carries over in part"


def effects(curves: Curves) -> Iterator[Sentence]:
    """What differing in each factor takes off the index."""
    frame = statistics.factor_effects(curves)
    for row in frame.iter_rows(named=True):
        factor = row["factor"]
        figures = {k: row[k] for k in ("factor", "effect", "low", "high", "p", "p_holm", "p_least")}
        if row["effect"] is None or row["p_holm"] is None:
            why = row["note"] or "it could not be tested"
            text = f"What differing in {factor} takes off, the other factors held, cannot be told: {why}."
            yield Sentence("factor", text, figures)
            continue
        cost = interval(row["effect"], row["low"], row["high"])
        p = f"{p_value(row['p_holm'])} after correction for {len(frame)} factor{'s' if len(frame) > 1 else ''}"
        claimed = sure(row)
        if claimed and row["effect"] > 0:
            text = f"Differing in {factor} takes {cost} off the index, the other factors held ({p})."
        elif claimed:
            text = f"Models that differ in {factor} serve each other better than those that do not: {cost} ({p})."
        else:
            text = f"That differing in {factor} takes anything off the index cannot be told: {cost} ({p})."
            if row["p_least"] is not None and row["p_least"] >= ALPHA:
                text = f"{text[:-1]}; a family of this design cannot reach less than p = {row['p_least']:.2f}."
        yield Sentence("factor", text, figures)
    ranked = [r for r in frame.iter_rows(named=True) if r["rank"] == 1 and r["first"] is not None]
    if ranked and len(frame) > 1 and ranked[0]["first"] >= SURE and sure(ranked[0]):
        one = ranked[0]
        text = f"Of all factors, {one['factor']} matters most: in {one['first']:.0%} of the resamples."
        yield Sentence("factor", text, {"factor": one["factor"], "first": one["first"]})


def sure(row: Mapping[str, Any]) -> bool:
    """Whether both tests say so: p is of other models at these images, the interval of other images and models too."""
    if row["p_holm"] is None or row["low"] is None or row["high"] is None:
        return False
    return bool(row["p_holm"] < ALPHA and (row["low"] > 0 or row["high"] < 0))


def asymmetries(curves: Curves) -> Iterator[Sentence]:
    """Whether one way differs from the other, between models, and between the values of a factor."""
    pairs = statistics.asymmetry(curves)
    tested = pairs.drop_nulls("p_holm")
    if not len(tested):
        yield Sentence("asymmetry", "Whether relevance carries over both ways alike cannot be told: no pair of models "
                       "has an index both ways.")  # fmt: skip
        return
    uneven = [row for row in tested.iter_rows(named=True) if row["p_holm"] < ALPHA]
    uneven.sort(key=lambda row: -abs(row["difference"]))
    figures = {"pairs": len(tested), "uneven": len(uneven)}
    if not len(uneven):
        which = "the one pair" if len(tested) == 1 else f"any of {len(tested)} pairs"
        text = f"One way cannot be told from the other in {which} of models (Holm, 5 %)."
        yield Sentence("asymmetry", text, figures)
    else:
        yield Sentence("asymmetry", _uneven(uneven[0], len(uneven), len(tested)), figures)
    for factor in curves.factor_names:
        rows = statistics.asymmetry(curves, factor)
        for row in rows.drop_nulls("p_holm").iter_rows(named=True):
            if sure(row):
                yield Sentence("asymmetry", _of_values(row), {"factor": factor, **_both(row)})


def _uneven(row: Mapping[str, Any], count: int, tested: int) -> str:
    a, b = (row["a"], row["b"]) if row["difference"] > 0 else (row["b"], row["a"])
    there, back = sorted((row["g_ab"], row["g_ba"]), reverse=True)
    gap = interval(*_positive(row))
    return (
        f"Relevance carries over unevenly in {count} of {tested} pairs of models (Holm, 5 %); most of all, pixels of "
        f"{a} serve {b} by {number(there)}, and those of {b} serve {a} by {number(back)} (difference {gap})."
    )


def _of_values(row: Mapping[str, Any]) -> str:
    a, b = (row["a"], row["b"]) if row["difference"] > 0 else (row["b"], row["a"])
    there, back = sorted((row["g_ab"], row["g_ba"]), reverse=True)
    gap = interval(*_positive(row))
    return (
        f"Pixels of models with {row['factor']} {a} serve those with {b} better ({number(there)}) than the other way "
        f"round ({number(back)}; difference {gap}, {p_value(row['p_holm'])})."
    )


def _positive(row: Mapping[str, Any]) -> tuple[float, float | None, float | None]:
    d, low, high = (row[k] for k in ("difference", "low", "high"))
    return (d, low, high) if d > 0 or low is None else (-d, -high, -low)


def _both(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: row[k] for k in ("a", "b", "g_ab", "g_ba", "difference", "low", "high", "p_holm")}


def controls(curves: Curves) -> Iterator[Sentence]:
    """Controls whose pixels are worth as much to the models as their own, or more; or the closest of all."""
    frame = statistics.control_table(curves)
    known = [row for row in frame.iter_rows(named=True) if row["target"] is None and row["low"] is not None]
    known.sort(key=lambda row: row["excess"])
    worse = [row for row in known if row["high"] < 0]
    level = [row for row in known if row["low"] <= 0 <= row["high"]]
    for rows, start in (
        (worse, "A model's own pixels are worth less to it than those of"),
        (level, "It cannot be told that a model's own pixels are worth more to it than those of"),
    ):
        if rows:
            text = f"{start} {joined([_against(row) for row in rows], 'or')}, mean over {rows[0]['n']} models."
            yield Sentence("control", text, {row["control"]: _ends(row) for row in rows})
    if known and not worse and not level:
        text = (
            f"A model's own pixels are worth more to it than those of all {len(known)} controls; the closest is "
            f"{_against(known[0])}."
        )
        yield Sentence("control", text, {row["control"]: _ends(row) for row in known})


def _against(row: Mapping[str, Any]) -> str:
    return f"{row['control']} ({interval(row['excess'], row['low'], row['high'], 3)} in area)"


def _ends(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: row[k] for k in ("excess", "low", "high")}
