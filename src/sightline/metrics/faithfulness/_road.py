"""Remove and debias: pixels are removed and filled by noisy linear imputation (Rong et al. 2022, arXiv 2202.00449)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._imputation import fill
from sightline.metrics.session import Session
from sightline.metrics.trial import Trial

Order = Literal["morf", "lerf"]

PERCENTAGES = (20, 40, 60, 80)
NOISE = 0.01


def road_margins(trial: Trial, order: Order, percentages: Sequence[float], noise: float, space: Space) -> Tensor:
    """Log-odds (N, P) float64 without the hottest (`morf`) or coldest (`lerf`) percentages of the pixels.

    Raises:
        MetricError: An order that is not known, or a percentage that leaves no pixel.
    """
    counts = _counts(trial, order, percentages)

    def ask() -> Tensor:
        x, ranks, images = trial.session.inputs(space), trial.ranks().to(torch.int32), trial.image
        removed = torch.tensor([count for count in counts if count], dtype=torch.int32, device=x.device)
        shares = [share for share, count in zip(percentages, counts, strict=True) if count]

        def make(rows: Tensor, points: Tensor) -> Tensor:
            mine = images[rows.to(images.device)]
            place = ranks[rows.to(x.device)] if order == "morf" else ranks[0].numel() - 1 - ranks[rows.to(x.device)]
            holes = place < removed[points.to(x.device)][:, None, None]
            filled = fill(x[mine.to(x.device)], holes)
            if noise:
                asked = zip(mine.tolist(), points.tolist(), strict=True)
                drawn = torch.stack([_noise(trial.session, image, shares[point]) for image, point in asked])
                filled = filled + noise * drawn.to(x) * holes[:, None]
            return filled

        found = trial.margin()[:, None].repeat(1, len(counts))
        if shares:
            found[:, torch.tensor(counts) > 0] = trial.margins(len(shares), make, space=space).to(found.device)
        return found

    return trial.once(("road", order, tuple(percentages), noise, space), ask)


def road_forwards(percentages: Sequence[float]) -> int:
    """Forward passes of one order."""
    return sum(share > 0 for share in percentages)


def both_orders(settings: Mapping[str, Any], _: tuple[int, int]) -> int:
    """Forward passes a row of a metric that asks both orders."""
    return 2 * road_forwards(settings["percentages"])


def _noise(session: Session, image: int, share: float) -> Tensor:
    """Standard normal (C, H, W) of an image and a percentage: all methods and both orders meet the same."""
    return torch.randn(session.pixels.shape[1:], generator=session.generator(image, 100_000 + round(1000 * share)))


def _counts(trial: Trial, order: str, percentages: Sequence[float]) -> list[int]:
    """How many pixels go at each percentage."""
    if order not in get_args(Order):
        raise MetricError(f"order must be 'morf' (most relevant first) or 'lerf' (least relevant first), not {order!r}")
    H, W = trial.session.size
    counts = []
    for share in percentages:
        if not 0 <= share < 100 or (count := round(H * W * share / 100)) == H * W:
            raise MetricError(f"percentages are numbers from 0 to below 100, for a pixel must stay, not {share!r}")
        counts.append(count)
    if not counts:
        raise MetricError("percentages is empty; give the shares of pixels to remove, (20, 40, 60, 80) say")
    return counts
