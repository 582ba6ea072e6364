"""What was found, in plain words: no claim without an interval, and what cannot be told is said to be so."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sightline.studies.generalising.validity import claims, verdicts
from sightline.studies.generalising.validity.elsewhere import elsewhere
from sightline.studies.generalising.validity.rows import SWAP
from sightline.studies.generalising.validity.rule import MAPS_MARGIN, answered
from sightline.studies.generalising.validity.table import CASCADE, Finding, findings, skills, table
from sightline.studies.generalising.validity.wording import (
    ALTERED,
    Sentence,
    counted,
    interval,
    joined,
    mean,
    models_by,
)

if TYPE_CHECKING:
    import polars

    from sightline.studies.generalising.reading import Generalisation


def sentences(run: "Generalisation", found: list[Finding] | None = None) -> list[Sentence]:
    """All that can be said of a run: what carries over, by which factor less, both ways alike or not, and whose doing.

    Args:
        run: A study.
        found: Its `findings`, where they are at hand.
    """
    found = findings(run) if found is None else found
    frame = table(run)
    out = list(_chance(run))
    for method in run.methods:
        curves = run.curves(method)
        start = f"{method}: " if len(run.methods) > 1 else ""
        of_method = [f for f in found if f.method == method]
        said = [
            *claims.carries(curves, run.factor_names),
            *claims.effects(curves),
            *elsewhere(run, method),
            *claims.asymmetries(curves),
            *claims.controls(curves),
            *_alike(of_method),
            *_verdicts(of_method),
            *_swap(of_method, frame.filter(method=method)),
        ]
        out += [Sentence(s.kind, start + s.text, {"method": method, **s.figures}) for s in said]
    return [*out, *_rules(run, frame)]


def _chance(run: "Generalisation") -> Iterator[Sentence]:
    known = {m: s for m, s in skills(run).items() if s is not None}
    if not known:
        text = "Nothing says what would be right, so whether the models are better than chance cannot be told."
        yield Sentence("chance", text)
        return
    weak = {m: s for m, s in known.items() if not s.better}
    if weak:
        listed = joined([f"{m} (right on {s.accuracy:.0%}, by chance {s.chance:.0%})" for m, s in weak.items()])
        it = "it" if len(weak) == 1 else "them"
        images = max(s.images for s in weak.values())
        text = (
            f"On {images:,} unaltered images {listed} cannot be told from chance, so what is said of maps leaves {it} "
            "out."
        )
        figures = {m: {"accuracy": s.accuracy, "chance": s.chance, "p": s.p} for m, s in weak.items()}
        yield Sentence("chance", text, figures)


def _alike(found: list[Finding]) -> Iterator[Sentence]:
    for f in found:
        if f.within is not None or answered(f.stable, MAPS_MARGIN) != "more":
            continue
        text = (
            f"Maps of {models_by(f.factor)} are alike by {mean(f.alike)} in rank correlation, the mean map taken off; "
            f"that is {mean(f.stable)} more than maps of different images ({counted(f.alike)})."
        )
        yield Sentence("alike", text, verdicts.figures(f))


def _verdicts(found: list[Finding]) -> Iterator[Sentence]:
    for f in found:
        if f.within is None:
            yield Sentence("validity", verdicts.said(f), verdicts.figures(f))
    named = {(f.factor, f.within): f for f in found}
    for (factor, within), f in named.items():
        whole = named.get((factor, None))
        if within is None or whole is None:
            continue
        mine, all_ = (x.ruling.verdict if x.ruling else "not alike" for x in (f, whole))
        if mine != all_ and mine != "unknown":
            yield Sentence("validity", verdicts.said(f), verdicts.figures(f))


def _swap(found: list[Finding], frame: "polars.DataFrame") -> Iterator[Sentence]:
    row = next(iter(frame.filter(check=SWAP).iter_rows(named=True)), None)
    if row is None:
        return
    figures = {k: row[k] for k in ("value", "low", "high", "images", "models")}
    if "by construction" in row["note"]:
        text = (
            f"Swapping the decision tells nothing here: {row['note'].split(' by construction')[0]} by construction, "
            "whatever the network is. Random upper layers stand in for it."
        )
        yield Sentence("swap", text, figures)
        return
    likeness = interval(row["value"], row["low"], row["high"])
    text = f"Maps of a model's own decision and of the one against it are alike by {likeness} in rank correlation"
    kept = [f for f in found if f.within is None and SWAP in f.maps.get("decision", {})]
    blind = [f.factor for f in kept if answered(f.maps["decision"][SWAP], MAPS_MARGIN) == "no more"]
    if blind:
        text += (
            f"; two models that differ in {joined(blind, 'or')} have maps that are no more alike for the same decision"
        )
    yield Sentence("swap", text + ".", figures)


def _rules(run: "Generalisation", frame: "polars.DataFrame") -> Iterator[Sentence]:
    """What each method's maps keep where the upper half of the layers, or the head, is random."""
    if len(run.methods) < 2:
        return
    for stage in ("upper half", "head"):
        rows = [r for r in frame.filter(check=CASCADE, what=stage).iter_rows(named=True) if r["value"] is not None]
        if len(rows) == len(run.methods):
            listed = joined([f"{r['method']} {interval(r['value'], r['low'], r['high'])}" for r in rows])
            text = f"How alike a model's map stays to its own {ALTERED[stage]}, by rule: {listed}."
            yield Sentence("rules", text, {r["method"]: r["value"] for r in rows})
            return
