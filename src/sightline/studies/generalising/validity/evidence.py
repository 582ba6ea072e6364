"""What a run says of one method: likeness of maps between models, and of each with its altered ones; areas of masks."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.studies.generalising.similarity import GRID, pooled
from sightline.studies.generalising.statistics import areas
from sightline.studies.generalising.statistics._drawn import NOTHING, differs
from sightline.studies.generalising.validity.rows import CASCADE, STAGES, SWAP, UPPER, unit_ranks

if TYPE_CHECKING:
    from sightline.studies.generalising.reading import Generalisation

Array = NDArray[np.float64]
Pair = tuple[str, str]

SOME = 32  # images, where a run has no validity rows that name them
NEGATIVE = -0.999
"""A mean raw correlation of the two maps of a swap below which one is the negative of the other."""
WEIGHTS, DECISION = "weights", "decision"
_MASKS = {WEIGHTS: ("randomised",), DECISION: ("upper-random", "other-class")}


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence on one method.

    Attributes:
        method: Its label.
        factors: Member -> factor -> value, in the order of the names.
        images: (n,) numbers of the images whose maps are compared.
        alike: Pair of members (a < b) -> (n,) mean-removed rank correlation of their maps; NaN where they explain
            different decisions (see `same`), or a map is missing.
        apart: Pair -> (n,) the same of a's map of an image and b's map of another one: what chance gives.
        altered: Altered map (`class-swap`, a stage of the cascade) -> member -> (n,) the same with its own map.
        shares: Stage -> member -> share of the parameters that are random.
        negative: Members for which the swapped map is the negative of the own one.
        same: Pairs whose members explain the same decision on some image; only those images count for them.
        source: Member or control -> its place in `areas`.
        target: Member -> its place in `areas`.
        areas: (N, S, T) of the masking curves, one an image; see `statistics.areas`.
    """

    method: str
    factors: Mapping[str, Mapping[str, str]]
    images: tuple[int, ...]
    alike: Mapping[Pair, Array]
    apart: Mapping[Pair, Array]
    altered: Mapping[str, Mapping[str, Array]]
    shares: Mapping[str, Mapping[str, float]]
    negative: frozenset[str]
    same: frozenset[Pair]
    source: Mapping[str, int]
    target: Mapping[str, int]
    areas: Array

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self.factors)

    def differ_in(self, factor: str, among: Mapping[str, str] | None = None) -> list[Pair]:
        """Pairs that differ in one factor alone (or in `nothing`), among the members with some values of others."""
        chosen = [m for m in self.members if all(self.factors[m].get(k) == v for k, v in (among or {}).items())]
        return [
            (a, b)
            for a, b in itertools.combinations(chosen, 2)
            if differs(self.factors[a], self.factors[b]) == (factor or NOTHING)
        ]

    def beyond(self, pairs: list[Pair], altered: str) -> Array:
        """(P, n) likeness of a pair minus the mean likeness of both members' own and altered maps."""
        kept = self.altered[altered]
        return np.array([self.alike[a, b] - (kept[a] + kept[b]) / 2 for a, b in pairs])

    def served(self, pairs: list[Pair], control: str) -> Array:
        """(P, N) area of a target on the other's pixels minus that on a control's, mean of both ways round."""
        k, found = self.source[control], []
        for pair in pairs:
            ways = []
            for s, t in (pair, pair[::-1]):
                gain = self.areas[:, self.source[s], self.target[t]] - self.areas[:, k, self.target[t]]
                # The negative of a map is no other class: its masks are those of the control `bottom`.
                ways.append(np.full_like(gain, np.nan) if control == "other-class" and t in self.negative else gain)
            found.append(_mean_of(np.stack(ways)))
        return np.array(found)

    def own_gain(self, members: list[str]) -> Array:
        """(M, N) area of members on their own pixels minus that on random ones."""
        t = [self.target[m] for m in members]
        return (self.areas[:, [self.source[m] for m in members], t] - self.areas[:, self.source["random"], t]).T

    def asked(self, question: str, pairs: list[Pair]) -> tuple[list[str], list[str]]:
        """Altered maps, and controls, that speak to a question: `weights` or `decision`."""
        stages = ("all",) if question == WEIGHTS else (*UPPER, SWAP)
        maps = [name for name in stages if name in self.altered]
        if all(m in self.negative for pair in pairs for m in pair):
            maps = [name for name in maps if name != SWAP]
        return maps, [name for name in _MASKS[question] if name in self.source]


def evidence(run: "Generalisation", method: str) -> Evidence:
    """The evidence of a run on one method."""
    members = tuple(sorted(run.members))
    rows = run.validity_rows()
    rows = rows.filter(method=method) if len(rows) else rows
    images = _images(run, rows)
    grid = int(run.manifest.get("settings", {}).get("grid", GRID))
    stacks = {m: pooled(np.asarray(run.maps(m, method)[list(images)]), grid) for m in members} if images else {}
    ranked = {m: unit_ranks(stack) for m, stack in stacks.items()}
    asked = _asked(run, images)
    alike, apart, same = {}, {}, set()
    for a, b in itertools.combinations(members, 2) if images else ():
        equal = np.array([x is not None and x == y for x, y in zip(asked[a], asked[b], strict=True)])
        found = (ranked[a] * ranked[b]).sum(1)
        alike[a, b] = np.where(equal, found, np.nan) if equal.any() else found
        apart[a, b] = _apart(ranked[a], ranked[b])
        if equal.any():
            same.add((a, b))
    altered, shares = _altered(rows, images, members)
    curves = run.curves(method)
    return Evidence(
        method=method,
        factors={m: run.factors[m] for m in members},
        images=images,
        alike=alike,
        apart=apart,
        altered={k: v["spearman"] for k, v in altered.items()},
        shares=shares,
        negative=_negative(altered.get(SWAP, {}).get("pearson_raw", {})),
        same=frozenset(same),
        source={name: s for s, name in enumerate(curves.sources)},
        target={name: t for t, name in enumerate(curves.targets)},
        areas=areas(curves),
    )


def _images(run: "Generalisation", rows: pl.DataFrame) -> tuple[int, ...]:
    if not len(rows):
        k = min(SOME, len(run.images))
        return tuple(run.images[i * len(run.images) // k] for i in range(k))
    return tuple(sorted(set(rows["image_index"]) & set(run.images)))


def _asked(run: "Generalisation", images: tuple[int, ...]) -> dict[str, list[str | None]]:
    """Member -> what it explains on each image."""
    place = {index: n for n, index in enumerate(images)}
    found: dict[str, list[str | None]] = {m: [None] * len(images) for m in run.members}
    for row in run.decisions().filter(pl.col("status") == "ok").iter_rows(named=True):
        if row["image_index"] in place:
            found[row["model"]][place[row["image_index"]]] = row["target"]
    return found


def _apart(a: Array, b: Array) -> Array:
    """Both ways round: one model's map of an image, the other's map of one half of all images further on.

    Images are in the order of their paths, so that the next one may be of the same class.
    """
    if len(a) < 2:
        return np.full(len(a), np.nan)
    one, two = ((x * np.roll(y, len(y) // 2, axis=0)).sum(1) for x, y in ((a, b), (b, a)))
    found: Array = (one + two) / 2
    return found


def _altered(
    rows: pl.DataFrame, images: tuple[int, ...], members: tuple[str, ...]
) -> tuple[dict[str, dict[str, dict[str, Array]]], dict[str, dict[str, float]]]:
    """Altered map -> measure -> member -> (n,), and stage -> member -> share of the parameters."""
    place = {index: n for n, index in enumerate(images)}
    found: dict[str, dict[str, dict[str, Array]]] = {}
    shares: dict[str, dict[str, float]] = {}
    for row in rows.iter_rows(named=True):
        if row["image_index"] not in place:
            continue
        name = SWAP if row["check"] == SWAP else row["stage"]
        for measure in ("spearman", "pearson_raw"):
            blank = found.setdefault(name, {}).setdefault(measure, {m: np.full(len(images), np.nan) for m in members})
            if row[measure] is not None:
                blank[row["model"]][place[row["image_index"]]] = row[measure]
        if row["check"] == CASCADE:
            shares.setdefault(name, {})[row["model"]] = row["share"]
    order = [name for name in (SWAP, *STAGES) if name in found]
    return {name: found[name] for name in order}, shares


def _negative(swapped: Mapping[str, Array]) -> frozenset[str]:
    return frozenset(m for m, v in swapped.items() if not np.isnan(v).all() and np.nanmean(v) < NEGATIVE)


def _mean_of(ways: Array) -> Array:
    there = ~np.isnan(ways)
    total = np.where(there, ways, 0.0).sum(0)
    found: Array = np.full(total.shape, np.nan)
    np.divide(total, there.sum(0), out=found, where=there.any(0))
    return found
