"""Infidelity."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._curves import Fill, Score, read, substrate
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


def _forwards(settings: Mapping[str, Any], _: tuple[int, int]) -> int:
    return int(settings["samples"])


@metric(
    "infidelity",
    family="faithfulness",
    paper=Paper(
        title="On the (In)fidelity and Sensitivity of Explanations",
        authors="Yeh et al.",
        year=2019,
        arxiv="1901.09392",
    ),
    summary="How far the map's sum over random squares is from what their removal costs.",
    direction="down",
    range=(0, float("inf")),
    cost="1 forward pass a sample",
    forwards=_forwards,
)
def infidelity(
    trial: Trial,
    *,
    samples: int = 100,
    side: int | None = None,
    fill: Fill = "black",
    scaled: bool = True,
    score: Score = "log-odds",
    space: Space = "pixels",
) -> Values:
    """Infidelity = E[(beta s - d)^2], s = the raw map's sum over a random square, d = f(x) - f(x without the square).

    In the paper's letters I is x inside the square (less the fill) and 0 outside, and phi the map per unit of x, so
    that I . phi = s for maps that count what a pixel gave (relevance, gradient x input). captum and Quantus multiply
    I by the map itself, which suits plain gradients.

    Args:
        trial: Rows.
        samples: How many squares, drawn by image, the same for all methods.
        side: Of a square in pixels, all of it inside the image; by default an eighth of the image's height.
        fill: What removed pixels become: `black`, `blur`, `mean` or `noise`.
        scaled: beta = E[s d] / E[s^2], which removes the map's scale; otherwise beta = 1.
        score: f; `log-odds` do not saturate and are the logit itself for attributes, or `probability`.
        space: `pixels`, or the `normalised` tensor.

    Returns:
        (N,) from 0, in squared units of f, lower is better. A map of zeros gets E[d^2].
    """
    H, W = trial.session.size
    n = side or max(1, H // 8)
    if not isinstance(n, int) or not 1 <= n <= min(H, W):
        raise MetricError(f"side is a number of pixels from 1 to {min(H, W)}, not {side!r}")
    if not isinstance(samples, int) or samples < 1:
        raise MetricError(f"samples is 1 or more, not {samples!r}")
    x, other, images = trial.session.inputs(space), substrate(trial.session, fill, space), trial.image
    corners = torch.stack([_corners(trial, i, samples, n) for i in range(len(x))]).to(x.device)  # (B, samples, 2)
    rows_, columns = torch.arange(H, device=x.device)[:, None], torch.arange(W, device=x.device)

    def make(rows: Tensor, points: Tensor) -> Tensor:
        mine = images[rows.to(images.device)].to(x.device)
        top, left = corners[mine, points.to(x.device)][:, :, None, None].unbind(1)
        gone = (rows_ >= top) & (rows_ < top + n) & (columns >= left) & (columns < left + n)
        return torch.where(gone[:, None], other[mine], x[mine])

    d = read(trial.margin(), score)[:, None] - read(trial.margins(samples, make, space=space), score)
    s = _sums(trial.raw(), corners[images.to(x.device)], n).to(d)
    beta = torch.ones_like(s[:, :1])
    if scaled:
        power = (s * s).mean(1, keepdim=True)
        beta = torch.where(power > 0, (s * d).mean(1, keepdim=True) / power, 0.0)
    return trial.values((beta * s - d).square().mean(1))


def _corners(trial: Trial, image: int, samples: int, side: int) -> Tensor:
    """(samples, 2) top and left of each square."""
    generator, (H, W) = trial.session.generator(image, 54), trial.session.size
    ends = (H - side + 1, W - side + 1)
    return torch.stack([torch.randint(end, (samples,), generator=generator) for end in ends], 1)


def _sums(maps: Tensor, corners: Tensor, side: int) -> Tensor:
    """Sums (N, samples) float64 of maps (N, H, W) over squares."""
    total = F.pad(maps.double(), (1, 0, 1, 0)).cumsum(1).cumsum(2)
    row = torch.arange(len(maps), device=maps.device)[:, None]
    top, left = corners.to(maps.device).unbind(2)
    down, right = top + side, left + side
    sums = total[row, down, right] - total[row, top, right] - total[row, down, left] + total[row, top, left]
    rounding = 1e-12 * maps.double().abs().sum((1, 2))[:, None]
    return sums.masked_fill(sums.abs() <= rounding, 0.0)
