"""Soft masking x' = x * S: average drop, increase and gain share one forward pass a row and share kept."""

import math
from typing import Literal

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.trial import Trial


def masked(trial: Trial, keep: float, space: Space, part: Literal["kept", "removed"] = "kept") -> Tensor:
    """Log-odds (N,) on x * S, or on x * (1 - S); of S only the share `keep` of hottest pixels stays, soft.

    Exactly ceil(keep * H * W) pixels are kept: of equally hot ones those that come first in the image's permutation.
    """
    if not 0 < keep <= 1:
        raise MetricError(f"keep is the share of pixels that stay, above 0 and at most 1, not {keep!r}")
    if space not in ("pixels", "normalised"):
        raise MetricError(f"space must be 'pixels' or 'normalised', not {space!r}")

    def ask() -> Tensor:
        S, x = trial.heat(), trial.session.inputs(space)
        if keep < 1:
            S = S * trial.hottest(math.ceil(keep * S[0].numel()))
        M = (S if part == "kept" else 1 - S).to(x)
        images = trial.image

        def make(rows: Tensor, _: Tensor) -> Tensor:
            rows = rows.to(x.device)
            return x[images[rows]] * M[rows][:, None]

        return trial.margins(1, make, space=space)[:, 0]

    return trial.once(("soft", keep, space, part), ask)


def odds_ratio(down: Tensor, up: Tensor) -> Tensor:
    """max(0, 1 - p(down) / p(up)) for log-odds, without rounding where both are nearly 1: (N,) float64."""
    # log p = -softplus(-m)
    log = torch.nn.functional.logsigmoid
    return -torch.expm1((log(down) - log(up)).clamp(max=0))
