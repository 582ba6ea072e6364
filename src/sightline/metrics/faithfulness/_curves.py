"""Curves along the order of the map: pixels go from one image to another, hottest first."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial

Fill = Literal["black", "blur", "mean", "noise"]
Score = Literal["probability", "log-odds"]


def substrate(session: Session, fill: Fill, space: Space) -> Tensor:
    """(B, C, H, W) what removed pixels become: 0, the image under a blur, its mean colour, or uniform noise."""
    x = session.inputs(space)
    if fill == "black":
        return torch.zeros_like(x)
    if fill == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x)
    if fill == "blur":
        return session.blurred(space)
    if fill == "noise":
        return session.noise(space)
    raise MetricError(f"fill must be 'black', 'blur', 'mean' or 'noise', not {fill!r}")


def curve(trial: Trial, mode: Literal["insertion", "deletion"], fill: Fill, steps: int, space: Space) -> Tensor:
    """Log-odds (N, steps + 1) while pixels change hands in the order of the map, in steps of equal size.

    The first and the last point are the unaltered image and the substrate, which are asked once an image.
    """
    H, W = trial.session.size
    if not isinstance(steps, int) or not 1 <= steps <= H * W:
        raise MetricError(f"steps is a number from 1 to the number of pixels, {H * W}, not {steps!r}")

    def ask() -> Tensor:
        session = trial.session
        x, other = session.inputs(session.inside), session.inner(substrate(session, fill, space), space)
        source, end = (other, x) if mode == "insertion" else (x, other)
        ranks, images = trial.ranks().to(torch.int32), trial.image

        def make(rows: Tensor, points: Tensor) -> Tensor:
            rows = rows.to(x.device)
            changed = torch.tensor([math.ceil(H * W * (t + 1) / steps) for t in points.tolist()], device=x.device)
            where = ranks[rows] < changed[:, None, None].to(torch.int32)
            return torch.where(where[:, None], end[images[rows]], source[images[rows]])

        between = trial.margins(steps - 1, make, space=session.inside)
        whole, empty = trial.margin()[:, None], ends(trial, fill, space)[:, None]
        return torch.cat([empty, between, whole] if mode == "insertion" else [whole, between, empty], 1)

    return trial.once(("curve", mode, fill, steps, space), ask)


def ends(trial: Trial, fill: Fill, space: Space) -> Tensor:
    """Log-odds (N,) of the substrate alone."""

    def ask() -> Tensor:
        other, images = substrate(trial.session, fill, space), trial.image
        return trial.margins(1, lambda rows, _: other[images[rows.to(other.device)]], space=space)[:, 0]

    return trial.once(("ends", fill, space), ask)


def read(odds: Tensor, score: Score) -> Tensor:
    """Log-odds as the score that is asked."""
    if score not in get_args(Score):
        raise MetricError(f"score must be 'probability' or 'log-odds', not {score!r}")
    return odds.sigmoid() if score == "probability" else odds


def area(h: Tensor) -> Tensor:
    """Trapezoid rule over curves (N, L + 1) on [0, 1]: (sum h - (h_0 + h_L) / 2) / L."""
    return (h.sum(1) - (h[:, 0] + h[:, -1]) / 2) / (h.shape[1] - 1)
