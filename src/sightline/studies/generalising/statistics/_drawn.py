"""What the tables share: gains over random pixels by image, resamples of images and models, groups of pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.studies.generalising.statistics.areas import Curves, areas
from sightline.studies.statistics.intervals import Array, divide, draws, ends

RESAMPLES, LEVEL = 2000, 0.95
FEW = 6  # models below which an interval over models is rough
LEAST = 0.01  # of the gain of a model's own pixels over random ones: below it the index would be noise over noise
RANDOM = "random"
NOTHING = "nothing"  # what two models differ in whose factors are all equal


@dataclass(frozen=True, eq=False)
class Gains:
    """G = sum_n top / sum_n own for each source and target, with the images in the order of their numbers.

    Attributes:
        curves: Canonical.
        areas: (N, S, T); see `areas`.
        top: (N, S, T) A(s, t) - A(random, t), 0 where an image has no value for the pair.
        own: (N, S, T) A(t, t) - A(random, t) of the same images.
        there: (N, S, T) whether an image has a value for the pair.
        notes: (T,) why a target has no index; "" where it has.
    """

    curves: Curves
    areas: Array
    top: Array
    own: Array
    there: NDArray[np.bool_]
    notes: tuple[str, ...]

    @property
    def members(self) -> int:
        """M, how many sources are models; they come first."""
        return len(self.curves.targets)

    @property
    def defined(self) -> NDArray[np.bool_]:
        """(T,) whether a target has an index."""
        return np.array([not note for note in self.notes])

    def index(self) -> Array:
        """G (S, T); NaN where the target has none, or no image has a value for the pair."""
        return np.where(self.defined, divide(self.top.sum(0), self.own.sum(0)), np.nan)

    def drawn(self, resamples: int, seed: int, sources: int | None = None) -> Array:
        """G (r, S, T) of bootstrap resamples of the images; the first `sources` only where given."""
        n, shape = len(self.top), self.top[:, :sources].shape[1:]
        top, own = (v[:, :sources].reshape(n, -1) for v in (self.top, self.own))
        found = np.concatenate([divide(w @ top, w @ own) for w in draws(n, resamples, seed)])
        return np.where(self.defined, found.reshape(-1, *shape), np.nan)


def gains(curves: Curves, *, resamples: int, level: float, seed: int) -> Gains:
    """Gains of curves, with the reason where a target has no index.

    Raises:
        InputError: The control `random` is missing, or settings are out of range.
    """
    check(resamples, level)
    curves = curves.canonical()
    if RANDOM not in curves.controls:
        raise InputError("the index compares with random pixels: the study needs the control 'random'")
    A = areas(curves)
    t = np.arange(len(curves.targets))
    own, random = A[:, t, t][:, None], A[:, curves.source(RANDOM)][:, None]  # (N, 1, T)
    there = ~np.isnan(A) & ~np.isnan(own) & ~np.isnan(random)
    top, gain = (np.where(there, v, 0.0) for v in (A - random, own - random + 0 * A))
    notes = _notes(gain[:, t, t], there[:, t, t], resamples, level, seed)
    return Gains(curves, A, top, gain, there, notes)


def _notes(gain: Array, there: NDArray[np.bool_], resamples: int, level: float, seed: int) -> tuple[str, ...]:
    """Why the gains of models' own pixels over random ones (n, T) carry no index; "" where they do."""
    n, found = there.astype(np.float64), []
    drawn = np.concatenate([divide(w @ gain, w @ n) for w in draws(len(gain), resamples, seed)])
    for mean, low, high, count in zip(divide(gain.sum(0), n.sum(0)), *ends(drawn, level), n.sum(0), strict=True):
        if count < 2:
            found.append("fewer than two images have a value")
        elif mean < LEAST or low <= 0:
            text = f"the model's own pixels gain {mean:.3f} [{low:.3f}, {high:.3f}] in area over random ones"
            found.append(f"{text}: too little to divide by")
        else:
            found.append("")
    return tuple(found)


def check(resamples: int, level: float) -> None:
    """Refuse settings out of range.

    Raises:
        InputError: The text names them.
    """
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"resamples must be 1 or more and level between 0 and 1, not {resamples} and {level}")


def drawn_models(m: int, resamples: int, seed: int) -> Array:
    """How often each of m models is in each resample, (r, m): m - 1 are drawn with replacement.

    One fewer than there are, so that the spread of a mean over few models is not too small by (m - 1) / m (Rao, Wu and
    Yue 1992, Survey Methodology 18, 209-217). Up to two models are all in every resample: there is nothing to draw.
    """
    if m <= 2:
        return np.ones((resamples, m))
    own = int(np.random.SeedSequence([seed, m]).generate_state(1)[0])  # other numbers than those of the images
    picks = np.random.default_rng(own).integers(m, size=(resamples, m - 1)) + m * np.arange(resamples)[:, None]
    found: Array = np.bincount(picks.ravel(), minlength=resamples * m).reshape(resamples, m).astype(np.float64)
    return found


def weighted(values: Array, weights: Array) -> Array:
    """Means (r,) of values (r, p) under weights (r, p), over those that have a value; NaN where none has."""
    there = ~np.isnan(values)
    w = np.where(there, weights, 0.0)
    return divide((w * np.where(there, values, 0.0)).sum(1), w.sum(1))


def interval(found: Array, level: float, *, least: int = 20) -> tuple[float | None, float | None]:
    """Percentile interval of resamples (r,); none where fewer than `least` of them have a value."""
    if (~np.isnan(found)).sum() < min(least, len(found)):
        return None, None
    low, high = ends(found[:, None], level)
    return float(low[0]), float(high[0])


def differs(a: Mapping[str, str], b: Mapping[str, str]) -> str:
    """Names of the factors in which two models differ, joined by ", "; `NOTHING` where there are none."""
    return ", ".join(f for f in dict.fromkeys([*a, *b]) if a.get(f) != b.get(f)) or NOTHING


def pairs_by_difference(
    names: tuple[str, ...], factors: Mapping[str, Mapping[str, str]], factor: str | None
) -> dict[str, NDArray[Any]]:
    """Group -> ordered pairs (p, 2) of different models; groups by what differs, or by one factor: same | different.

    Raises:
        InputError: No model has the factor.
    """
    if factor is not None and not any(factor in factors[name] for name in names):
        known = dict.fromkeys(f for name in names for f in factors[name])
        raise InputError(f"no model has the factor {factor!r}; factors are {', '.join(known) or 'none'}")
    found: dict[str, list[tuple[int, int]]] = {}
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if i == j:
                continue
            if factor is None:
                group = differs(factors[a], factors[b])
            else:
                group = "same" if factors[a].get(factor) == factors[b].get(factor) else "different"
            found.setdefault(group, []).append((i, j))
    order = sorted(found, key=lambda g: (g not in (NOTHING, "same"), g.count(","), g))
    return {group: np.array(found[group], dtype=int) for group in order}


def few(models: int) -> str:
    """What to say of an interval over so many models."""
    if models <= 2:
        return "two models: the interval is over images only"
    return f"{models} models: the interval over models is rough" if models < FEW else ""
