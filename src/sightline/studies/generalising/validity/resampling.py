"""Means over pairs of models and images, with intervals from a bootstrap over both."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.studies.generalising.statistics._drawn import LEVEL, RESAMPLES, drawn_models, few, interval
from sightline.studies.statistics.intervals import divide, draws

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean over pairs of models and images.

    Attributes:
        value: None where no pair and image has one.
        low, high: Of its interval; None where there is one image only.
        images, pairs, models: That have a part in it.
    """

    value: float | None
    low: float | None
    high: float | None
    images: int
    pairs: int
    models: int

    @property
    def note(self) -> str:
        """What to keep in mind of the interval; empty where there is nothing."""
        if self.value is None:
            return "no value"
        if self.images < 2:
            return "one image: no interval"
        return few(self.models) if self.models != 1 else "one model: the interval is over images only"


@dataclass(frozen=True)
class Bootstrap:
    """How often images and models are resampled, the level of the intervals, and the seed of the draws."""

    resamples: int = RESAMPLES
    level: float = LEVEL
    seed: int = 0


USUAL = Bootstrap()


def means(values: Sequence[Array], pairs: Sequence[tuple[str, str]], how: Bootstrap) -> list[Mean]:
    """Mean of each of K tables (P, n): pairs of models, images; NaN counts for nothing.

    A resample draws images and models with replacement, the same for all K (models as in `statistics.groups`). A pair
    (s, t) weighs u_s u_t, where u_s is how often s was drawn, so that all pairs of a model come and go together; a
    "pair" (t, t) is the model alone. Resamples without any pair are left out. With two models, only images vary.

    Args:
        values: K tables.
        pairs: P names of both models.
        how: Of the bootstrap; draws are made in the order of the names.
    """
    names = sorted({name for pair in pairs for name in pair})
    place = {name: i for i, name in enumerate(names)}
    a, b = (np.array([place[pair[k]] for pair in pairs], dtype=int) for k in (0, 1))
    if not pairs or not values:
        return [Mean(None, None, None, 0, 0, 0) for _ in values]
    n = values[0].shape[1]
    u, V = _drawn(len(names), n, how)
    weight = np.where(a == b, u[:, a], u[:, a] * u[:, b])  # (R, P)
    return [_mean(table, weight, V, list(pairs), how.level) for table in values]


@functools.lru_cache(maxsize=4)
def _drawn(models: int, images: int, how: Bootstrap) -> tuple[Array, Array]:
    """How often each model (R, M) and each image (R, n) was drawn: many tables of a study meet the same."""
    return drawn_models(models, how.resamples, how.seed), np.concatenate(list(draws(images, how.resamples, how.seed)))


def _mean(table: Array, weight: Array, V: Array, pairs: list[tuple[str, str]], level: float) -> Mean:
    there = ~np.isnan(table)
    if not there.any():
        return Mean(None, None, None, 0, 0, 0)
    x, count = np.where(there, table, 0.0), there.astype(np.float64)
    drawn = divide((weight * (V @ x.T)).sum(1), (weight * (V @ count.T)).sum(1))
    low, high = interval(drawn, level)
    images, used = int(there.any(axis=0).sum()), [pairs[i] for i in np.flatnonzero(there.any(axis=1))]
    sizes = images, len(used), len({name for pair in used for name in pair})
    value = float(x.sum() / count.sum())
    return Mean(value, low, high, *sizes) if images > 1 else Mean(value, None, None, *sizes)
