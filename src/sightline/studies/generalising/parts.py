"""Which parts of the image hold the relevance: its share per region, and its density, by model and by factor.

Half of the relevance on the eyes is much if they are a tenth of the image, and little if they are half of it:

    share = sum over the region of R+ / sum of R+        density = share / area

with R+ the positive relevance and the area as a share of the pixels. Density 1 is what a map without information has.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import InputError
from sightline.studies.auditing.energy import lowered
from sightline.studies.generalising.similarity import _cells
from sightline.studies.generalising.statistics._drawn import LEVEL, RESAMPLES, drawn_models, few, interval
from sightline.studies.statistics.intervals import divide, draws

if TYPE_CHECKING:
    from sightline.studies.generalising.reading import Generalisation

Array = NDArray[np.float64]

ELSEWHERE = "elsewhere"
"""What no region covers."""
ALL = "all models"

_VALUES = ("share", "share_low", "share_high", "area", "density", "low", "high")
_TABLE = {
    **dict.fromkeys(("method", "region", "factor", "group"), pl.String),
    **dict.fromkeys(_VALUES, pl.Float64),
    **dict.fromkeys(("images", "models"), pl.Int64),
    "note": pl.String,
}
_DIFFERENCES = {
    **dict.fromkeys(("method", "region", "factor", "a", "b"), pl.String),
    **dict.fromkeys(("density_a", "density_b", "difference", "low", "high"), pl.Float64),
    **dict.fromkeys(("images", "models"), pl.Int64),
    "note": pl.String,
}


def rows(
    maps: "Tensor | NDArray[Any]", masks: Mapping[str, Tensor], *, model: str, method: str, images: Sequence[int]
) -> list[dict[str, Any]]:
    """Rows of `parts/`: the share of a member's positive relevance in each region, and `elsewhere`.

    Args:
        maps: (b, h, w) raw maps.
        masks: Region -> (b, H, W) bool. A smaller map is upsampled bilinearly (as in `proportional energy`); of a
            larger one each pixel counts by the part of it that the region covers.
        model: Name of the member.
        method: Label of the method.
        images: (b,) their numbers.

    Returns:
        model, method, image_index, region, share (None where a map is missing or has no positive relevance), area
        (share of the pixels; 0 where the image has no such region).

    Raises:
        InputError: Maps, masks and images of different numbers, or masks of different shapes.
    """
    R = torch.as_tensor(np.asarray(maps)).float()
    shapes = {tuple(mask.shape) for mask in masks.values()}
    if len(shapes) != 1 or any(shape[0] != len(R) or len(shape) != 3 for shape in shapes) or len(images) != len(R):
        raise InputError(f"{len(R)} maps and {len(images)} images need masks ({len(R)}, H, W), not {sorted(shapes)}")
    regions = dict(masks)
    if ELSEWHERE not in regions:
        regions[ELSEWHERE] = ~torch.stack([mask.bool() for mask in masks.values()]).any(0)
    positive = R.double().nan_to_num(0.0).relu()
    bad = ~R.isfinite().all((1, 2)) if R.ndim == 3 else None
    if bad is None:
        raise InputError(f"maps are (b, h, w), not {tuple(R.shape)}")
    found = []
    for region, mask in regions.items():
        inside, whole, area = _weights(mask, (R.shape[1], R.shape[2]))
        total = (positive * whole).sum((1, 2))
        share = (positive * inside).sum((1, 2)) / total
        share[bad | (total <= 0)] = torch.nan
        for n, image in enumerate(images):
            held = None if bool(share[n].isnan()) else float(share[n])
            head = {"model": model, "method": method, "image_index": int(image), "region": region}
            found.append({**head, "share": held, "area": float(area[n])})
    return found


def _weights(mask: Tensor, cells: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """By how much each cell of a map adds to the sum over a region (b, h, w), and over all (h, w); the area (b,)."""
    if mask.shape[1] >= cells[0] and mask.shape[2] >= cells[1]:
        found = lowered(mask.bool(), cells)
        return found.inside.double(), found.whole.double(), found.area.double()
    down, across = (torch.from_numpy(_cells(side, cell)) for side, cell in zip(mask.shape[1:], cells, strict=True))
    return down @ mask.double() @ across.T, torch.ones(cells, dtype=torch.float64), mask.double().mean((1, 2))


def table(run: "Generalisation", *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0) -> pl.DataFrame:
    """Share and density by region, over all models and over those with each value of each factor.

    Both are ratios of sums over images and models, so that images without the region do not count; intervals are from
    a bootstrap over images and models.

    Returns:
        method, region, factor ("" for all models), group (value of the factor), share, share_low, share_high, area,
        density, low, high (of the density; null where the region is nowhere), images, models, note.
    """
    lines: list[tuple[Any, ...]] = []
    for method, region, held in _regions(run):
        drawn = held.drawn(resamples, seed)
        for factor, group, chosen in _groups(held.members, run.factors):
            share, area, density = held.values(chosen)
            ends = [interval(held.ratios(*drawn, chosen, kind), level) for kind in ("share", "density")]
            n, m = held.count(chosen)
            found = [share, *ends[0], area, density, *ends[1]]
            lines.append((method, region, factor, group, *map(_null, found), n, m, _note(n, m)))
    return pl.DataFrame(lines, schema=_TABLE, orient="row")


def differences(
    run: "Generalisation", *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> pl.DataFrame:
    """How much more densely models with one value of a factor look at a region than those with another.

    Returns:
        method, region, factor, a, b, density_a, density_b, difference (a - b), low, high, images, models, note.
    """
    lines: list[tuple[Any, ...]] = []
    for method, region, held in _regions(run):
        drawn = held.drawn(resamples, seed)
        by_factor: dict[str, list[tuple[str, NDArray[Any]]]] = {}
        for factor, group, chosen in _groups(held.members, run.factors):
            if factor:
                by_factor.setdefault(factor, []).append((group, chosen))
        for factor, groups in by_factor.items():
            for (a, first), (b, second) in itertools.combinations(groups, 2):
                x, y = (held.values(chosen)[2] for chosen in (first, second))
                one, two = (held.ratios(*drawn, chosen, "density") for chosen in (first, second))
                low, high = interval(one - two, level)
                n, m = held.count(np.concatenate([first, second]))
                least = min(len(first), len(second))
                note = few(least) if least > 1 else "one model on a side: the interval hardly knows of models"
                values = map(_null, (x, y, x - y, low, high))
                lines.append((method, region, factor, a, b, *values, n, m, note))
    return pl.DataFrame(lines, schema=_DIFFERENCES, orient="row")


class _Held:
    """Shares and areas (M, n) of one region."""

    def __init__(self, members: tuple[str, ...], share: Array, area: Array) -> None:
        self.members = members
        self.there = ~np.isnan(share) & (area > 0)
        self.share, self.area = (np.where(self.there, v, 0.0) for v in (share, area))

    def drawn(self, resamples: int, seed: int) -> tuple[Array, Array]:
        """How often models (r, M) and images (r, n) were drawn."""
        images = np.concatenate(list(draws(self.share.shape[1], resamples, seed)))
        return drawn_models(len(self.members), resamples, seed), images

    def values(self, chosen: NDArray[Any]) -> tuple[float, float, float]:
        """Mean share, mean area, and their ratio, of some models."""
        share, area, n = (float(v[chosen].sum()) for v in (self.share, self.area, self.there))
        return (share / n, area / n, share / area) if n else (np.nan, np.nan, np.nan)

    def ratios(self, models: Array, images: Array, chosen: NDArray[Any], kind: str) -> Array:
        """The mean share, or the density, of each resample: (r,)."""
        u = np.ones_like(models[:, chosen]) if len(chosen) < 3 else models[:, chosen]
        below = self.area if kind == "density" else self.there.astype(np.float64)
        top, bottom = ((u * (images @ v[chosen].T)).sum(1) for v in (self.share, below))
        return divide(top, bottom)

    def count(self, chosen: NDArray[Any]) -> tuple[int, int]:
        """Images and models that have a part in it."""
        there = self.there[chosen]
        return int(there.any(axis=0).sum()), int(there.any(axis=1).sum())


def _regions(run: "Generalisation") -> Iterator[tuple[str, str, _Held]]:
    found = run.parts_rows()
    if not len(found):
        return
    members, images = tuple(sorted(run.members)), sorted(set(found["image_index"]))
    place, at = {m: i for i, m in enumerate(members)}, {image: n for n, image in enumerate(images)}
    order = list(dict.fromkeys(found["region"]))
    for method in run.methods:
        for region in order:
            share, area = (np.full((len(members), len(images)), np.nan) for _ in range(2))
            for row in found.filter(method=method, region=region).iter_rows(named=True):
                cell = place[row["model"]], at[row["image_index"]]
                share[cell], area[cell] = (np.nan if row[k] is None else row[k] for k in ("share", "area"))
            yield method, region, _Held(members, share, np.nan_to_num(area))


def _groups(
    members: tuple[str, ...], factors: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str, NDArray[Any]]]:
    yield "", ALL, np.arange(len(members))
    for factor in dict.fromkeys(f for m in members for f in factors[m]):
        values = [factors[m].get(factor, "-") for m in members]
        for value in sorted(set(values)):
            yield factor, value, np.array([i for i, v in enumerate(values) if v == value])


def _note(images: int, models: int) -> str:
    if not images:
        return "no image has this region and positive relevance"
    return few(models) if models > 1 else "one model: the interval is over images only"


def _null(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
