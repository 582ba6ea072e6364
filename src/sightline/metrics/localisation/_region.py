"""The pixels that a good map should mark, and what of a map lies in them."""

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.trial import Trial


def region(trial: Trial) -> Tensor:
    """M (N, H * W) bool, beside the maps.

    Raises:
        MetricError: Neither regions nor boxes were given.
    """
    if trial.regions is None:
        raise MetricError("localisation needs regions= (a mask a row) or boxes=")
    return trial.regions.to(trial.explanation.maps.device).flatten(1).bool()


def area(M: Tensor) -> Tensor:
    """(N,) float64 share of the image that M covers."""
    return M.double().mean(1)


def senseless(M: Tensor) -> Tensor:
    """(N,) bool: M is empty, or the whole image, which every map hits."""
    return ~M.any(1) | M.all(1)


def share(S: Tensor, M: Tensor) -> Tensor:
    """sum_M S / sum S for maps (N, H, W) without negative values: (N,) float64; 0 where S is 0 everywhere."""
    S = S.flatten(1).double()
    total = S.sum(1)
    return (S * M).sum(1) / torch.where(total > 0, total, 1.0)


def falling(trial: Trial) -> tuple[Tensor, Tensor]:
    """Values (N, H * W) of the prepared maps from the hottest on, and where they lie."""

    def make() -> tuple[Tensor, Tensor]:
        values, order = trial.heat().flatten(1).sort(1, descending=True)
        return values, order

    return trial.once("falling", make)


def hottest(trial: Trial, M: Tensor, k: Tensor) -> Tensor:
    """How many of the k (N,) hottest pixels lie in M: (N,) float64.

    Of equally hot pixels of which only some are among the k, each counts with the chance to be drawn: the result is
    what a random order of equals gives on average, and needs no seed.
    """
    S, k = trial.heat().flatten(1), k.to(M.device)
    last = falling(trial)[0].gather(1, (k.long()[:, None] - 1).clamp(min=0))
    above, tied = last < S, last == S
    left = k - above.sum(1)
    return (above & M).sum(1).double() + left * (tied & M).sum(1).double() / tied.sum(1)
