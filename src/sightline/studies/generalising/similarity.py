"""How alike the maps of two models are, image by image, after what all images have in common is taken out.

On aligned images, such as faces, every map shows the layout of the face, and maps of any two models correlate. So each
map is pooled to a coarse grid and brought to unit length, and a model's mean map over images is taken off:

    m_in = pool(R_in) / ||pool(R_in)||_2        d_in = m_in - mean over n of m_in

for model i and image n. What is left, d, is what the model says of this image in particular. The measures of d stand
beside those of m (`_raw`), and beside the same between different images (`_other`): what chance gives.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.metrics._similarity import ranks, ssim

Array = NDArray[np.float64]

MEASURES = ("spearman", "pearson", "iou", "ssim")
GRID, SHARE = 48, 10.0
_FLAT = 1e-6  # of the length of a map: less is the rounding of float32, and has no shape


def pooled(maps: NDArray[Any], grid: int = GRID) -> Array:
    """m = pool(R) / ||pool(R)||_2: mean relevance in each cell of a grid, at unit length.

    A pixel that lies in two cells counts in each by its part, so that all sizes of maps are pooled alike; a map smaller
    than the grid is spread over it.

    Args:
        maps: (b, h, w) raw maps, signed where the method is.
        grid: Cells along each side.

    Returns:
        (b, grid, grid) float64 of unit length; NaN where a map is not finite or holds nothing.

    Raises:
        InputError: Not a stack of maps, or no grid.
    """
    if maps.ndim != 3 or min(maps.shape[1:]) < 1 or grid < 1:
        raise InputError(f"maps (b, h, w) and a grid of 1 or more are needed, not {maps.shape} and {grid}")
    down, across = (_cells(size, grid) for size in maps.shape[1:])
    bad = ~np.isfinite(maps).all((1, 2))
    found = down @ np.where(bad[:, None, None], 0.0, maps.astype(np.float64)) @ across.T
    found /= np.maximum(np.abs(found).max((1, 2), keepdims=True), np.finfo(np.float64).tiny)  # squares may vanish
    length = np.sqrt((found**2).sum((1, 2), keepdims=True))
    out: Array = np.full(found.shape, np.nan)
    np.divide(found, length, out=out, where=(length > 0) & ~bad[:, None, None])
    return out


def _cells(size: int, grid: int) -> Array:
    """(grid, size): which part of a cell each pixel fills; lines add up to 1."""
    low = np.arange(grid)[:, None] * size / grid
    high = (np.arange(grid)[:, None] + 1) * size / grid
    pixel = np.arange(size)[None]
    overlap: Array = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    part: Array = overlap / overlap.sum(1, keepdims=True)
    return part


class MeanMaps:
    """Mean pooled maps of models, from blocks of images as they come; maps that are NaN do not count."""

    def __init__(self) -> None:
        self._sums: dict[str, Array] = {}
        self._counts: dict[str, int] = {}

    def add(self, model: str, stack: Array) -> None:
        """Take in `pooled` maps (b, g, g) of a model."""
        there = stack[~np.isnan(stack).any((1, 2))]
        self._sums[model] = self._sums.get(model, np.zeros(stack.shape[1:])) + there.sum(0)
        self._counts[model] = self._counts.get(model, 0) + len(there)

    def mean(self, model: str) -> Array:
        """(g, g) the mean over images; NaN where no image has a map.

        Raises:
            InputError: Nothing of this model was taken in.
        """
        if model not in self._sums:
            raise InputError(f"no map of {model!r} was taken in; models are {', '.join(self._sums)}")
        count = self._counts[model]
        return self._sums[model] / count if count else np.full(self._sums[model].shape, np.nan)


def rows(
    stacks: Mapping[str, Array],
    others: Mapping[str, Array],
    means: Mapping[str, Array],
    images: Sequence[int],
    method: str,
    share: float = SHARE,
) -> list[dict[str, Any]]:
    """One row a pair of models and image: the columns of `similarity/`.

    Of d: Spearman's and Pearson's correlation; the intersection over union of the cells that are at least as high as
    the top `share` % of them (cells that tie are all in); SSIM (Wang et al., 2004; windows of 7 x 7) of
    (d / max |d| + 1) / 2, so that no relevance is 0.5. The same of m is `_raw`. `_other`: the mean correlation of one
    model's d of this image with the other's d of another image, both ways round.

    Args:
        stacks: Model -> `pooled` maps (b, g, g) of a block of images, in the order of the family.
        others: Model -> those of other images, one for each of the block.
        means: Model -> its mean map (g, g) over all images; see `MeanMaps`.
        images: (b,) numbers of the images.
        method: Label of the explainer.
        share: Percent of the cells.

    Returns:
        Rows by image, then pair; a value is None where a map is missing or flat.

    Raises:
        InputError: Models or shapes that do not belong together, or a share out of (0, 100].
    """
    names = list(stacks)
    _check(names, stacks, others, means, images, share)
    raw, far = (np.stack([kept[m] for m in names]) for kept in (stacks, others))  # (M, b, g, g)
    mean = np.stack([means[m] for m in names])[:, None]
    pairs = list(itertools.combinations(range(len(names)), 2))
    own, beside = raw - mean, _standardised(far - mean)
    found = {**_measures(own, pairs, share), **{f"{k}_raw": v for k, v in _measures(raw, pairs, share).items()}}
    for name, here in _standardised(own).items():
        both = _gram(here, beside[name])
        found[f"{name}_other"] = np.stack([(both[:, i, j] + both[:, j, i]) / 2 for i, j in pairs], 1)
    return [
        {"model_a": names[i], "model_b": names[j], "method": method, "image_index": int(image)}
        | {name: None if np.isnan(v[n, p]) else float(v[n, p]) for name, v in found.items()}
        for n, image in enumerate(images)
        for p, (i, j) in enumerate(pairs)
    ]


def _check(
    names: list[str],
    stacks: Mapping[str, Array],
    others: Mapping[str, Array],
    means: Mapping[str, Array],
    images: Sequence[int],
    share: float,
) -> None:
    if len(names) < 2:
        raise InputError("similarity is between models: at least two are needed")
    if not 0 < share <= 100:
        raise InputError(f"share is in percent, above 0 and up to 100, not {share}")
    shape = stacks[names[0]].shape
    for name in names:
        if name not in others or name not in means:
            raise InputError(f"{name!r} has maps, but no maps of other images or no mean map")
        if stacks[name].shape != shape or others[name].shape != shape or means[name].shape != shape[1:]:
            raise InputError(f"all maps have one shape, {shape} as those of {names[0]!r}; those of {name!r} do not")
    if len(images) != shape[0]:
        raise InputError(f"{shape[0]} maps of each model, but {len(images)} images")


def _measures(maps: Array, pairs: list[tuple[int, int]], share: float) -> dict[str, Array]:
    """Measure -> (b, pairs) of maps (M, b, g, g); NaN where a map is missing or flat."""
    i, j = (np.array(side, dtype=int) for side in zip(*pairs, strict=True))
    found = {name: _gram(v, v)[:, i, j] for name, v in _standardised(maps).items()}
    flat = np.isnan(found["pearson"])
    found["iou"] = np.where(flat, np.nan, _overlaps(maps, share)[:, i, j])
    found["ssim"] = np.where(flat, np.nan, _structural(maps, pairs))
    return found


def _standardised(maps: Array) -> dict[str, Array]:
    """Values and ranks of maps (M, b, g, g), centred and at unit length, (b, M, P): products of them correlate."""
    flat = maps.transpose(1, 0, 2, 3).reshape(maps.shape[1], maps.shape[0], -1)
    ranked = ranks(torch.from_numpy(flat.reshape(-1, flat.shape[-1]))).numpy().reshape(flat.shape)
    shapeless = ~(np.sqrt(((flat - flat.mean(-1, keepdims=True)) ** 2).sum(-1)) > _FLAT)
    found = {}
    for name, values in (("spearman", ranked), ("pearson", flat)):
        centred = values - values.mean(-1, keepdims=True)
        length = np.sqrt((centred**2).sum(-1))
        out = np.full(flat.shape, np.nan)
        np.divide(centred, length[..., None], out=out, where=~shapeless[..., None])
        found[name] = out
    return found


def _gram(a: Array, b: Array) -> Array:
    """Products (b, M, M) of every model's line with every model's, in [-1, 1]."""
    return np.clip(a @ b.transpose(0, 2, 1), -1, 1)


def _overlaps(maps: Array, share: float) -> Array:
    """|A and B| / |A or B| (b, M, M) of the cells at least as high as the k-th, k = ceil(share % of the cells)."""
    flat = maps.transpose(1, 0, 2, 3).reshape(maps.shape[1], maps.shape[0], -1)
    k = int(np.ceil(share / 100 * flat.shape[-1] - 1e-9))
    least = np.partition(flat, -k, axis=-1)[..., -k]
    top = (flat >= least[..., None]).astype(np.float64)
    both, size = top @ top.transpose(0, 2, 1), top.sum(-1)
    either = size[:, :, None] + size[:, None] - both
    out: Array = np.full(both.shape, np.nan)
    np.divide(both, either, out=out, where=either > 0)
    return out


def _structural(maps: Array, pairs: list[tuple[int, int]]) -> Array:
    """SSIM (b, pairs) of maps (M, b, g, g), each between 0 and 1 with nothing at a half."""
    if min(maps.shape[2:]) < 7:
        return np.full((maps.shape[1], len(pairs)), np.nan)
    highest = np.maximum(np.abs(maps).max((2, 3), keepdims=True), np.finfo(np.float64).tiny)
    heat = torch.from_numpy((maps / highest + 1) / 2)
    return np.stack([ssim(heat[i], heat[j]).numpy() for i, j in pairs], axis=1)
