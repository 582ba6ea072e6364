"""How alike a member's maps stay when the decision is swapped, or when its weights are random from the output down."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.classifier import Classifier
from sightline.errors import InputError, ModelError, OutOfMemoryError, TargetError
from sightline.explainers import Explainer
from sightline.metrics._similarity import pearson, ranks
from sightline.studies.generalising.similarity import GRID, SHARE, pooled
from sightline.studies.generalising.validity.altered import other_targets, randomiser, turned, upper
from sightline.target import Target

Array = NDArray[np.float64]

SWAP, CASCADE = "class-swap", "cascade"
STAGES = ("head", "upper quarter", "upper half", "upper three quarters", "all")
UPPER = STAGES[:3]
"""Stages that leave the lower features as they were learned."""
MEASURES = ("spearman", "pearson", "spearman_raw", "pearson_raw", "spearman_abs", "iou")
_FLAT = 1e-6  # of the length of a map: less is the rounding of float32, and has no shape


def rows(
    classifier: Classifier,
    explain: Callable[[Classifier], Explainer],
    pixels: Tensor,
    targets: Sequence[Target],
    maps: NDArray[Any],
    *,
    model: str,
    method: str,
    images: Sequence[int],
    seed: int = 0,
    grid: int = GRID,
    batch: int = 16,
) -> list[dict[str, Any]]:
    """Rows of `validity/` for some images of a member: class swap, and the stages of the cascade.

    Modules with parameters are made random from the output down, in the order in which they run: the one next to the
    output (`head`), the upper quarter, half and three quarters of them, and all. The target stays the one that was
    resolved on the learned weights, and maps of random networks are `turned`.

    Args:
        classifier: The member's.
        explain: Binds the method, with the member's settings, to a classifier.
        pixels: (n, C, H, W) at the member's size.
        targets: n resolved targets.
        maps: (n, h, w) the member's own maps of them.
        model: Name of the member.
        method: Label of the method.
        images: (n,) numbers of the images.
        seed: Of the random weights; see `randomised`.
        grid: Cells along each side at which maps are compared; see `similarity.pooled`.
        batch: Images explained at a time.

    Returns:
        model, method, image_index, check, stage, share (of the parameters that are random), and the measures of
        `likeness`; these are None where a map is missing or flat, or the random network has no finite output.
    """
    if len({len(pixels), len(targets), len(maps), len(images)}) > 1:
        raise InputError("pixels, targets, maps and images are of the same images, so of one number")
    own = pooled(maps, grid)
    altered: list[tuple[str, str, float, Array]] = []
    outputs = torch.cat([classifier(pixels[i : i + batch]) for i in range(0, len(pixels), batch)])
    rivals = _rivals(classifier, outputs, targets)
    if rivals is not None:
        altered.append((SWAP, "", 0.0, _pooled(explain(classifier), pixels, rivals, batch, grid)))
    learned = torch.as_tensor(np.asarray(maps))
    random = randomiser(classifier, seed, pixels)
    for stage, names in stages(random.order).items():
        found = _pooled(explain(random.classifier_with(names)), pixels, targets, batch, grid, learned)
        altered.append((CASCADE, stage, random.share(names), found))
    lines = []
    for check, stage, share, stack in altered:
        measured = likeness(own, stack)
        for n, image in enumerate(images):
            values = {k: None if np.isnan(v[n]) else float(v[n]) for k, v in measured.items()}
            head = {"model": model, "method": method, "image_index": int(image), "check": check, "stage": stage}
            lines.append({**head, "share": share, **values})
    return lines


def stages(order: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Stage -> modules that are random in it; a network of few modules has fewer stages, the last of them `all`."""
    n = len(order)
    counts = {"all": n, "head": 1, "upper half": len(upper(order)), "upper quarter": max(1, n // 4)}
    counts["upper three quarters"] = max(1, 3 * n // 4)
    found: dict[str, int] = {}
    for stage, count in counts.items():
        if count not in found.values():
            found[stage] = count
    return {stage: tuple(order[: found[stage]]) for stage in STAGES if stage in found}


def likeness(a: Array, b: Array, share: float = SHARE) -> dict[str, Array]:
    """How alike two stacks of `pooled` maps are, image by image.

    d = m - mean over these images of m, for either stack, as in `similarity`: what a map says of its image alone.

    Args:
        a: (n, g, g), NaN where a map is missing.
        b: The same of the other stack.
        share: Percent of the cells that `iou` takes.

    Returns:
        (n,) each: Spearman's and Pearson's correlation of d (`spearman`, `pearson`) and of m (`_raw`), Spearman's of
        |m| (`spearman_abs`: alike but for the sign), and the intersection over union of the top cells of d (`iou`).
        NaN where a map is missing or flat; a single image is nothing but its own mean, so its d is flat.
    """
    m, other = a.reshape(len(a), -1), b.reshape(len(b), -1)
    d, beside = (v - _centre(v) for v in (m, other))
    found = {
        "spearman": _correlated(d, beside, ranked=True),
        "pearson": _correlated(d, beside),
        "spearman_raw": _correlated(m, other, ranked=True),
        "pearson_raw": _correlated(m, other),
        "spearman_abs": _correlated(np.abs(m), np.abs(other), ranked=True),
    }
    found["iou"] = np.where(np.isnan(found["pearson"]), np.nan, _overlap(d, beside, share))
    return found


def unit_ranks(stack: Array) -> Array:
    """(n, P) ranks of maps (n, g, g) without their mean map, centred, at unit length: products of them correlate."""
    flat = stack.reshape(len(stack), -1)
    d = flat - _centre(flat)
    bad = _shapeless(d)
    found = ranks(torch.from_numpy(np.where(bad[:, None], 0.0, d))).numpy()
    found = found - found.mean(1, keepdims=True)
    length = np.sqrt((found**2).sum(1, keepdims=True))
    out: Array = np.full(found.shape, np.nan)
    np.divide(found, length, out=out, where=~bad[:, None] & (length > 0))
    return out


def _centre(flat: Array) -> Array:
    """The mean (P,) of flat maps (n, P) over those that are there; 0 where none is."""
    there = ~np.isnan(flat).any(1)
    return flat[there].mean(0) if there.any() else np.zeros(flat.shape[1])


def _correlated(a: Array, b: Array, *, ranked: bool = False) -> Array:
    bad = _shapeless(a) | _shapeless(b)
    first, second = (torch.from_numpy(np.where(bad[:, None], 0.0, v)) for v in (a, b))
    found = (pearson(ranks(first), ranks(second)) if ranked else pearson(first, second)).numpy()
    return np.where(bad, np.nan, found)


def _shapeless(flat: Array) -> NDArray[np.bool_]:
    shapeless: NDArray[np.bool_] = ~(np.sqrt(((flat - flat.mean(1, keepdims=True)) ** 2).sum(1)) > _FLAT)
    return shapeless


def _overlap(a: Array, b: Array, share: float) -> Array:
    k = int(np.ceil(share / 100 * a.shape[1] - 1e-9))
    first, second = (v >= np.partition(v, -k, axis=1)[:, -k, None] for v in (a, b))
    found: Array = (first & second).sum(1) / np.maximum(1, (first | second).sum(1))
    return found


def _rivals(classifier: Classifier, outputs: Tensor, targets: Sequence[Target]) -> list[Target] | None:
    try:
        return other_targets(classifier, outputs, targets)
    except TargetError:  # the table says that there is no swap
        return None


def _pooled(
    explainer: Explainer,
    pixels: Tensor,
    targets: Sequence[Target],
    batch: int,
    grid: int,
    own: Tensor | None = None,
) -> Array:
    """Pooled maps (n, grid, grid), `turned` where the own maps are given.

    NaN for a batch on which a random network has no finite output.
    """
    found = []
    for start in range(0, len(pixels), batch):
        some = slice(start, start + batch)
        try:
            made = explainer(pixels[some], list(targets[some])).maps.cpu()
        except OutOfMemoryError:
            raise
        except ModelError:
            found.append(np.full((len(pixels[some]), grid, grid), np.nan))
        else:
            maps = made if own is None else turned(made, own[some])
            found.append(pooled(maps.numpy(), grid))
    return np.concatenate(found)
