"""Soft masking x' = x * S: average drop, increase and gain share one forward pass a row and share kept."""

import math
from typing import Literal

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.session import Session
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
        S, (black, change) = trial.heat(), parts(trial.session, space)
        if keep < 1:
            S = S * trial.hottest(math.ceil(keep * S[0].numel()))
        M = (S if part == "kept" else 1 - S).to(change)

        def make(rows: Tensor, _: Tensor) -> Tensor:
            rows = rows.to(change.device)
            return torch.addcmul(black, taken(M, rows)[:, None], taken(change, trial.image[rows]))

        odds = trial.margins(1, make, space=trial.session.inside)[:, 0]
        whole = (M.flatten(1).amin(1) == 1).to(odds.device)  # x itself: no rounding may tell it from x
        return torch.where(whole, trial.margin(), odds)

    return trial.once(("soft", keep, space, part), ask)


def parts(session: Session, space: Space) -> tuple[Tensor, Tensor]:
    """b and d with b + M * d = the normalised x * M, whichever space the mask multiplies in: one step, not three.

    b is (1, C, 1, 1), black in that space; d is (B, C, H, W). A black box takes pixels, so there b is 0 and d is x.
    """

    def make() -> tuple[Tensor, Tensor]:
        x = session.inputs(session.inside)
        black = session.inner(torch.zeros_like(session.pixels[:1, :, :1, :1]), space)
        return black.to(x), x - black.to(x)

    return session.once(("black", space), make)


def taken(values: Tensor, rows: Tensor) -> Tensor:
    """values[rows], without a copy where the rows follow one another."""
    if len(rows) and bool((rows.diff() == 1).all()):
        return values[int(rows[0]) : int(rows[-1]) + 1]
    return values[rows]


def odds_ratio(down: Tensor, up: Tensor) -> Tensor:
    """max(0, 1 - p(down) / p(up)) for log-odds, without rounding where both are nearly 1: (N,) float64."""
    # log p = -softplus(-m)
    log = torch.nn.functional.logsigmoid
    return -torch.expm1((log(down) - log(up)).clamp(max=0))
