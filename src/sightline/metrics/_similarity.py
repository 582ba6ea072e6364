"""How alike two maps are: Pearson, Spearman and SSIM, for many pairs at once, in float64."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MetricError
from sightline.explanation import Explanation

Similarity = Literal["spearman", "pearson", "ssim"]
Reading = Literal["raw", "energy"]

_WINDOW = 7


def check(similarity: str, reading: str) -> None:
    """Refuse settings that no comparison has.

    Raises:
        MetricError: The text names what there is.
    """
    for name, given, known in (("similarity", similarity, Similarity), ("reading", reading, Reading)):
        if given not in get_args(known):
            raise MetricError(f"{name} must be {' or '.join(map(repr, get_args(known)))}, not {given!r}")
    if similarity == "ssim" and reading == "raw":
        raise MetricError("SSIM is for heat maps in [0, 1]; give reading='energy' with it")


def compare(a: Explanation, b: Explanation, similarity: Similarity, reading: Reading) -> Tensor:
    """Similarity (N,) float64 of two explanations of the same rows; NaN where it is 0/0.

    Correlations compare the maps at the method's own resolution, raw or as energy (positive part or absolute value,
    as the method's heat maps read them). SSIM compares the heat maps at the size of the images.
    """
    check(similarity, reading)
    if similarity == "ssim":
        return ssim(a.heatmaps(), b.heatmaps())
    first, second = (e.maps if reading == "raw" else e.energy() for e in (a, b))
    return correlation(first, second, similarity)


def correlation(a: Tensor, b: Tensor, similarity: Similarity) -> Tensor:
    """Pearson's or Spearman's correlation of maps (N, h, w): (N,) float64, NaN where a map is constant."""
    a, b = a.flatten(1).double(), b.flatten(1).double()
    return pearson(a, b) if similarity == "pearson" else pearson(ranks(a), ranks(b))


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """r = sum a' b' / sqrt(sum a'^2 sum b'^2) with a' = a - mean a, for rows (N, P); NaN where a row is constant."""
    constant = (a.amax(1) == a.amin(1)) | (b.amax(1) == b.amin(1))
    # The scale goes first: squares of tiny maps would vanish.
    a, b = (v / v.abs().amax(1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny) for v in (a, b))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    r = (a * b).sum(1) / ((a * a).sum(1).sqrt() * (b * b).sum(1).sqrt())
    return r.clamp(-1, 1).masked_fill(constant, torch.nan)


def ranks(values: Tensor) -> Tensor:
    """Ranks from 1 of rows (N, P); equal values share the mean of their ranks."""
    ordered, order = values.sort(1)
    place = torch.arange(values.shape[1], device=values.device).expand_as(order)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]  # where a run of equal values begins
    first = torch.where(new, place, 0).cummax(1).values
    ends = torch.ones_like(new)
    ends[:, :-1] = new[:, 1:]
    last = torch.where(ends, place, values.shape[1]).flip(1).cummin(1).values.flip(1)
    return torch.empty_like(ordered).scatter_(1, order, (first + last).to(ordered) / 2 + 1)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of maps (N, H, W) in [0, 1] (Wang et al., 2004): (N,) float64.

    Windows of 7 x 7 pixels that lie within the maps, all weights equal, unbiased variances,
    C1 = 0.01^2, C2 = 0.03^2.

    Raises:
        MetricError: Maps smaller than a window.
    """
    if min(a.shape[1:]) < _WINDOW:
        raise MetricError(f"SSIM needs images of at least {_WINDOW} x {_WINDOW} pixels, not {tuple(a.shape[1:])}")
    a, b = a.double()[:, None], b.double()[:, None]

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, _WINDOW, stride=1)

    n = _WINDOW**2 / (_WINDOW**2 - 1)
    ma, mb = mean(a), mean(b)
    va, vb, vab = n * (mean(a * a) - ma * ma), n * (mean(b * b) - mb * mb), n * (mean(a * b) - ma * mb)
    c1, c2 = 0.01**2, 0.03**2
    s = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return s.mean((1, 2, 3))
