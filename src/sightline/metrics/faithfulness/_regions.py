"""Curves along the order of regions: squares of pixels are replaced, those with the hottest mean first."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MetricError
from sightline.explainers.masking._options import Space
from sightline.metrics.faithfulness._curves import Fill, substrate
from sightline.metrics.trial import Trial


def region_count(region: int, size: tuple[int, int]) -> int:
    """How many squares of `region` pixels cover an image; those at the right and at the bottom may be smaller."""
    if not isinstance(region, int) or not 1 <= region <= max(size):
        raise MetricError(f"region is the side of a square in pixels, from 1 to {max(size)}, not {region!r}")
    return -(-size[0] // region) * -(-size[1] // region)


def region_ranks(trial: Trial, region: int) -> Tensor:
    """(N, H, W) the place of each pixel's region, 0 for the hottest; ties by the image's own random permutation."""

    def make() -> Tensor:
        heat, (H, W) = trial.heat(), trial.session.size
        means = F.avg_pool2d(heat[:, None].double(), region, ceil_mode=True)[:, 0]  # the part inside the image counts
        flat, found = means.flatten(1), []
        for row, image in enumerate(trial.image.tolist()):
            ties = trial.session.once(
                ("region ties", image, region),
                lambda image=image: torch.randperm(  # type: ignore[misc]
                    flat.shape[1], generator=trial.session.generator(image, 52)
                ).to(flat.device),
            )
            order = ties[flat[row][ties].argsort(descending=True, stable=True)]
            found.append(torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device)))
        ranks = torch.stack(found).reshape(-1, 1, *means.shape[1:])
        return ranks.repeat_interleave(region, 2).repeat_interleave(region, 3)[:, 0, :H, :W]

    return trial.once(("region ranks", region), make)


def region_margins(trial: Trial, region: int, counts: Sequence[int], fill: Fill, space: Space) -> Tensor:
    """Log-odds (N, 1 + P): of the unaltered image, and after the hottest `counts` regions were replaced."""

    def ask() -> Tensor:
        x, other, images = trial.session.inputs(space), substrate(trial.session, fill, space), trial.image
        ranks, many = region_ranks(trial, region), torch.tensor(counts, device=x.device)

        def make(rows: Tensor, points: Tensor) -> Tensor:
            rows = rows.to(x.device)
            where = ranks[rows] < many[points.to(x.device)][:, None, None]
            return torch.where(where[:, None], other[images[rows]], x[images[rows]])

        return torch.cat([trial.margin()[:, None], trial.margins(len(counts), make, space=space)], 1)

    return trial.once(("regions", region, tuple(counts), fill, space), ask)
