"""Tables of validity: how alike maps are, by what was changed, and for each factor whose doing that is."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sightline.studies.generalising.statistics._drawn import NOTHING
from sightline.studies.generalising.validity.chance import Skill, skill
from sightline.studies.generalising.validity.evidence import DECISION, WEIGHTS, Evidence, Pair, evidence
from sightline.studies.generalising.validity.resampling import USUAL, Bootstrap, Mean, means
from sightline.studies.generalising.validity.rows import SWAP
from sightline.studies.generalising.validity.rule import MAPS_MARGIN, Ruling, answered, masks_margin, ruled

if TYPE_CHECKING:
    from sightline.studies.generalising.reading import Generalisation

PAIRS, OTHER_IMAGE, CASCADE = "models", "other image", "cascade"

_NUMBERS: dict[str, Any] = {
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    **dict.fromkeys(("images", "pairs", "models"), pl.Int64),
}
_TABLE = {
    "method": pl.String,
    "check": pl.String,
    "what": pl.String,
    "share": pl.Float64,
    **_NUMBERS,
    "note": pl.String,
}
_DIFFERENCES = {
    **dict.fromkeys(("method", "factor", "within", "question", "instrument", "altered"), pl.String),
    **_NUMBERS,
    **dict.fromkeys(("answer", "note"), pl.String),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What stays the same over one factor, and whose doing that is.

    Attributes:
        method: Its label.
        factor: Pairs differ in it alone; `nothing` where all their factors are equal.
        within: The value of another factor that all of them share, as (factor, value); None for all pairs.
        alike: Likeness of their maps of the same image.
        stable: That, minus the likeness of maps of different images.
        own: Area that models gain from their own pixels over random ones; without it masks say nothing.
        maps, masks: Question -> altered map -> difference; see `rule`.
        ruling: The verdict; None where maps of these pairs are no more alike than those of different images.
    """

    method: str
    factor: str
    within: tuple[str, str] | None
    alike: Mean
    stable: Mean
    own: Mean | None
    maps: Mapping[str, Mapping[str, Mean]]
    masks: Mapping[str, Mapping[str, Mean]]
    ruling: Ruling | None


def skills(run: "Generalisation") -> dict[str, Skill | None]:
    """Member -> how it does on the unaltered images; None where the truth is not known."""
    found: dict[str, Skill | None] = {}
    rows = run.decisions().filter(pl.col("status") == "ok", pl.col("truth").is_not_null())
    for model in run.members:
        own = rows.filter(model=model)
        found[model] = skill(own["decision"].to_list(), own["truth"].to_list()) if len(own) else None
    return found


def left_out(run: "Generalisation") -> tuple[str, ...]:
    """Members that are no better than chance: they take no part in what is said of a factor."""
    return tuple(m for m, s in skills(run).items() if s is not None and not s.better)


def table(run: "Generalisation", how: Bootstrap = USUAL) -> pl.DataFrame:
    """How alike maps of the same image are: a mean rank correlation after the mean map over images is taken off.

    Returns:
        method, check, what, share, value, low, high, images, pairs, models, note. By check: `models` that differ in
        `what` alone; `other image`, one model's map of an image and the other's of another one, for the same pairs;
        `class-swap`, a model's maps of both decisions; `cascade`, its map and that after the weights named by `what`
        were made random, `share` of all of them. `pairs` counts models where a model is compared with itself. All are
        over the same images. Intervals are over images and models.
    """
    lines: list[dict[str, Any]] = []
    for method in run.methods:
        found = evidence(run, method)
        weak = left_out(run)
        for factor, pairs in _by_factor(found, weak):
            both = (np.array([kept[pair] for pair in pairs]) for kept in (found.alike, found.apart))
            for check, mean in zip((PAIRS, OTHER_IMAGE), means(list(both), pairs, how), strict=True):
                lines.append(_line(method, check, factor, None, mean))
        alone = [(m, m) for m in found.members if m not in weak]
        for name, altered in found.altered.items():
            (mean,) = means([np.array([altered[m] for m, _ in alone])], alone, how)
            held = [v for m, v in found.shares.get(name, {}).items() if m not in weak]
            share = float(np.mean(held)) if held else None
            swapped = name == SWAP
            note = _one_output(found, [m for m, _ in alone]) if swapped else ""
            lines.append(_line(method, SWAP if swapped else CASCADE, "" if swapped else name, share, mean, note))
    return pl.DataFrame(lines, schema=_TABLE, orient="row")


def findings(run: "Generalisation", how: Bootstrap = USUAL) -> list[Finding]:
    """One a method and factor, and one for each value of another factor where there are several."""
    weak = left_out(run)
    out = []
    for method in run.methods:
        found = evidence(run, method)
        for factor, pairs in _by_factor(found, weak):
            out.append(_finding(found, factor, None, pairs, how))
            for within in _levels(found, factor, pairs):
                some = [p for p in pairs if found.factors[p[0]].get(within[0]) == within[1]]
                out.append(_finding(found, factor, within, some, how))
    return out


def differences(found: list[Finding]) -> pl.DataFrame:
    """What the verdicts rest on: what models leave in common that differ in a factor alone, minus an altered model.

    Returns:
        method, factor, within ("" for all pairs), question (`weights`, `decision`), instrument (`maps`: rank
        correlation, `masks`: area), altered, value, low, high, images, pairs, models, answer (`more`, `no more`,
        `unclear`; null without an interval), note.
    """
    lines: list[tuple[Any, ...]] = []
    for f in found:
        within = "" if f.within is None else "=".join(f.within)
        for instrument, kept, margin in (("maps", f.maps, MAPS_MARGIN), ("masks", f.masks, masks_margin(f.own))):
            for question, altered in kept.items():
                for name, mean in altered.items():
                    head = (f.method, f.factor, within, question, instrument, name)
                    lines.append((*head, *asdict(mean).values(), answered(mean, margin), mean.note))
    return pl.DataFrame(lines, schema=_DIFFERENCES, orient="row")


def _finding(
    found: Evidence, factor: str, within: tuple[str, str] | None, pairs: list[Pair], how: Bootstrap
) -> Finding:
    alike = np.array([found.alike[p] for p in pairs])
    apart = np.array([found.apart[p] for p in pairs])
    mean, stable = means([alike, alike - apart], pairs, how)
    members = sorted({m for pair in pairs for m in pair})
    own = None
    if "random" in found.source:
        (own,) = means([found.own_gain(members)], [(m, m) for m in members], how)
    usable = own is not None and own.low is not None and own.low > 0
    maps: dict[str, dict[str, Mean]] = {}
    masks: dict[str, dict[str, Mean]] = {}
    for question in (WEIGHTS, DECISION):
        stages, controls = found.asked(question, pairs)
        held = means([found.beyond(pairs, k) for k in stages], pairs, how)
        maps[question] = {k: d for k, d in zip(stages, held, strict=True) if d.value is not None}
        controls = controls if usable else []
        held = means([found.served(pairs, k) for k in controls], pairs, how)
        masks[question] = {k: d for k, d in zip(controls, held, strict=True) if d.value is not None}
    ruling = ruled(maps, masks, masks_margin(own)) if answered(stable, MAPS_MARGIN) == "more" else None
    return Finding(
        method=found.method,
        factor=factor,
        within=within,
        alike=mean,
        stable=stable,
        own=own,
        maps=maps,
        masks=masks,
        ruling=ruling,
    )


def _by_factor(found: Evidence, weak: tuple[str, ...]) -> Iterator[tuple[str, list[Pair]]]:
    """Factor -> pairs that differ in it alone, without members that are no better than chance."""
    names = dict.fromkeys(f for m in found.members for f in found.factors[m])
    for factor in (*names, NOTHING):
        pairs = [p for p in found.differ_in(factor) if p in found.alike and not set(p) & set(weak)]
        if pairs:
            yield factor, pairs


def _levels(found: Evidence, factor: str, pairs: list[Pair]) -> Iterator[tuple[str, str]]:
    """Values of other factors by which the pairs fall apart, where there are two pairs or more of each."""
    names = [f for f in found.factors[pairs[0][0]] if f != factor]
    for name in names:
        values = [found.factors[a].get(name, "") for a, _ in pairs]
        counts = {v: values.count(v) for v in dict.fromkeys(values)}
        if len(counts) > 1 and min(counts.values()) > 1:
            yield from itertools.product([name], counts)


def _one_output(found: Evidence, members: list[str]) -> str:
    lost = [m for m in members if m in found.negative]
    if not lost:
        return ""
    many = "all models" if len(lost) == len(members) else f"{len(lost)} of {len(members)} models"
    return f"for {many} the map of the other answer is the negative of the first by construction: it tells nothing"


def _line(method: str, check: str, what: str, share: float | None, mean: Mean, note: str = "") -> dict[str, Any]:
    said = "; ".join(text for text in (note, mean.note) if text)
    return {"method": method, "check": check, "what": what, "share": share, **asdict(mean), "note": said}
