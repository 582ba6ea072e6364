"""Mosaics for the grid pointing game: n x n images of different classes that a classifier is sure of."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.classifier import BlackBox, Classifier
from sightline.errors import MetricError
from sightline.target import Category, Each, each


@dataclass(frozen=True, kw_only=True)
class Mosaics:
    """M mosaics of n x n cells, and what to ask about them: n * n rows for each.

    >>> grid = mosaics(classifier, pixels)
    >>> out = sl.explain(classifier, grid.pixels, method="grad-cam", target=grid.targets)
    >>> sl.evaluate(classifier, grid.pixels, out, ["grid-pointing-game"], regions=grid.regions)

    Attributes:
        pixels: (M, C, n * h, n * w) in [0, 1].
        targets: For each mosaic the categories of its cells, from left to right and from top to bottom.
        regions: (M * n * n, n * h, n * w) bool, the cell of each row.
        sources: (M, n * n) which image each cell shows.
    """

    pixels: Tensor
    targets: list[Each]
    regions: Tensor
    sources: Tensor


def mosaics(
    classifier: Classifier | BlackBox,
    pixels: Tensor,
    *,
    cells: int = 2,
    count: int | None = None,
    confidence: float = 0.9,
    truth: Tensor | Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    batch_size: int = 32,
) -> Mosaics:
    """Put images of different predicted classes, each with a high probability, side by side.

    Args:
        classifier: A categorical one; it must take images of the mosaics' size.
        pixels: (B, C, H, W) in [0, 1].
        cells: n: a mosaic has n x n cells.
        count: How many mosaics. By default as many as can be made with each image in one at most; for more than that
            images are used again, but never twice in one mosaic.
        confidence: Least probability of the predicted class.
        truth: (B,) true classes: images that are classified wrongly are left out.
        size: (height, width) of a mosaic, both multiples of n; by default images keep their size, as in the paper, and
            a mosaic is n times as high and wide.
        seed: Of what meets what.
        batch_size: Images a forward pass.

    Raises:
        MetricError: Another kind of decision, a setting out of range, or fewer than n * n classes to choose from.
    """
    if (decision := classifier.decision_on(pixels[:1])) != "categorical":
        raise MetricError(f"mosaics need a classifier that chooses one category, not a {decision} one")
    if not isinstance(cells, int) or cells < 2 or (count is not None and count < 1) or not 0 <= confidence <= 1:
        raise MetricError(
            f"cells is 2 or more, count 1 or more, confidence in [0, 1]; got {cells}, {count}, {confidence}"
        )
    H, W = (cells * pixels.shape[-2], cells * pixels.shape[-1]) if size is None else size
    if H % cells or W % cells or min(H, W) < cells:
        raise MetricError(f"size must be multiples of {cells}, not {(H, W)}")
    parts = [classifier(part).softmax(1).max(1) for part in torch.split(pixels, batch_size)]
    sure, category = torch.cat([p.values for p in parts]).cpu(), torch.cat([p.indices for p in parts]).cpu()
    fit = sure >= confidence
    if truth is not None:
        fit &= category == torch.as_tensor(truth).cpu()
    chosen = _draw(category, fit.nonzero().flatten().tolist(), cells * cells, count, seed)
    if not chosen:
        classes = len(set(category[fit].tolist()))
        raise MetricError(
            f"a mosaic of {cells} x {cells} needs {cells * cells} classes, but of {len(pixels)} images "
            f"{int(fit.sum())} of {classes} classes reach {confidence}; give more images, or a lower confidence"
        )
    tiles = pixels.cpu() if size is None else _resized(pixels.cpu(), (H // cells, W // cells))
    sources = torch.tensor(chosen)
    joined = [torch.cat([torch.cat(list(row), 2) for row in torch.split(tiles[s], cells)], 1) for s in sources]
    asked = [each([Category(int(category[i])) for i in images]) for images in chosen]
    return Mosaics(
        pixels=torch.stack(joined).to(pixels.device),
        targets=asked,
        regions=_grid(cells, H, W).repeat(len(chosen), 1, 1),
        sources=sources,
    )


def _draw(category: Tensor, images: list[int], places: int, count: int | None, seed: int) -> list[list[int]]:
    """Lists of images of different classes; classes with most images left go first, so that few are left over."""
    generator = torch.Generator().manual_seed(seed)
    found: list[list[int]] = []
    while count is None or len(found) < count:
        left: dict[int, list[int]] = {}
        for i in torch.randperm(len(images), generator=generator).tolist():
            left.setdefault(int(category[images[i]]), []).append(images[i])
        if len(left) < places:
            return []
        while len(left) >= places and (count is None or len(found) < count):
            fullest = sorted(left, key=lambda c: -len(left[c]))[:places]
            order = torch.randperm(places, generator=generator).tolist()
            found.append([left[fullest[o]].pop() for o in order])
            left = {c: rest for c, rest in left.items() if rest}
        if count is None:
            break
    return found


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def _grid(cells: int, H: int, W: int) -> Tensor:
    """(cells * cells, H, W) bool: each cell, from left to right and from top to bottom."""
    rows, columns = torch.arange(H) // (H // cells), torch.arange(W) // (W // cells)
    return (rows[:, None] * cells + columns)[None] == torch.arange(cells * cells)[:, None, None]
