"""Curves of a measure over the share of pixels kept or removed, and the areas under them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError

Array = NDArray[np.float64]

MODES = ("keep", "remove")


@dataclass(frozen=True, eq=False)
class Curves:
    """What every target model answers on images that were masked by the relevance of every source.

    Attributes:
        values: (N, S, T, Q) float64 in [0, 1], the measure on image n, masked by source s at level q, asked of target
            t; NaN where it is missing. The entry of a control that is made from a model belongs to the target.
        sources: (S,) names: the members, in the order of `targets`, then the controls.
        targets: (T,) names of the members.
        levels: (Q,) percent of the pixels that are kept (or removed), rising.
        images: (N,) numbers of the images.
        factors: Member -> factor -> value.
        mode: "keep" the top q %, or "remove" them.
        measure: What `values` are, such as "accuracy".
        unaltered: (N, T) the measure on the unaltered images.

    Raises:
        InputError: Shapes or names that do not belong together; levels that do not rise; an infinite value.
    """

    values: Array
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    levels: tuple[float, ...]
    images: tuple[int, ...]
    factors: Mapping[str, Mapping[str, str]]
    mode: str
    measure: str
    unaltered: Array

    def __post_init__(self) -> None:
        shape = (len(self.images), len(self.sources), len(self.targets), len(self.levels))
        if self.values.shape != shape:
            raise InputError(f"values of curves are (images, sources, targets, levels) = {shape}: {self.values.shape}")
        if self.unaltered.shape != (shape[0], shape[2]):
            raise InputError(f"unaltered is (images, targets) = {(shape[0], shape[2])}, not {self.unaltered.shape}")
        if self.sources[: len(self.targets)] != self.targets:
            raise InputError("sources begin with the targets, in their order; then come the controls")
        if len(set(self.sources)) < len(self.sources) or len(set(self.images)) < len(self.images):
            raise InputError("sources and images have names of their own; one of them is there twice")
        if not self.levels or any(b <= a for a, b in zip(self.levels, self.levels[1:], strict=False)):
            raise InputError(f"levels rise, from at least one: {self.levels}")
        if self.mode not in MODES:
            raise InputError(f"mode is {' or '.join(map(repr, MODES))}, not {self.mode!r}")
        if missing := [name for name in self.targets if name not in self.factors]:
            raise InputError(f"no factors are given for {missing[0]!r}; an empty mapping will do")
        if np.isinf(self.values).any() or np.isinf(self.unaltered).any():
            raise InputError("a value of a curve is infinite; a missing one is NaN")

    @property
    def controls(self) -> tuple[str, ...]:
        """Sources that are no members."""
        return self.sources[len(self.targets) :]

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors, in the order of the members' own mappings."""
        found: dict[str, None] = {}
        for name in sorted(self.targets):  # whatever the order of the family
            found.update(dict.fromkeys(self.factors[name]))
        return tuple(found)

    def canonical(self) -> "Curves":
        """The same with images, members and controls in the order of their names.

        Resamples are drawn in this order, so that no statistic hangs on the order in which a family was written.
        """
        n, t = np.argsort(self.images), _order(self.targets)
        s = np.concatenate([t, len(t) + _order(self.controls)]).astype(int)
        return replace(
            self,
            values=self.values[n][:, s][:, :, t],
            unaltered=self.unaltered[n][:, t],
            images=tuple(self.images[i] for i in n),
            targets=tuple(self.targets[i] for i in t),
            sources=tuple(self.sources[i] for i in s),
        )

    def source(self, name: str) -> int:
        """The place of a source.

        Raises:
            InputError: There is none of this name.
        """
        if name not in self.sources:
            raise InputError(f"no source is called {name!r}; sources are {', '.join(self.sources)}")
        return self.sources.index(name)


def _order(names: Sequence[str]) -> NDArray[Any]:
    return np.array(sorted(range(len(names)), key=lambda i: names[i]), dtype=int)


def areas(curves: Curves) -> Array:
    """A = sum_q (y_q + y_{q+1}) / 2 (l_{q+1} - l_q) / (l_Q - l_1): (N, S, T) in [0, 1], one an image, source, target.

    More is always better for the map: y is the measure where the top pixels are kept and 1 - measure where they are
    removed. One level alone is its own area. An area is linear in the images, so the area under a mean curve is the
    mean of these, and a resample of images is a weighting of them. NaN where a level is missing.
    """
    y = 1 - curves.values if curves.mode == "remove" else curves.values
    levels = np.asarray(curves.levels, dtype=np.float64)
    if len(levels) == 1:
        return np.array(y[..., 0])
    step = np.diff(levels) / (levels[-1] - levels[0])  # (Q - 1,)
    weight = np.concatenate([step, [0.0]]) + np.concatenate([[0.0], step])
    found: Array = y @ (weight / 2)
    return found
