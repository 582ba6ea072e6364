"""Grid pointing game."""

import torch
from torch import Tensor

from sightline.metrics.localisation._region import area, region, share
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "grid-pointing-game",
    family="localisation",
    paper=Paper(
        title="Convolutional Dynamic Alignment Networks for Interpretable Classifications",
        authors="Böhle et al.",
        year=2021,
        arxiv="2104.00032",
    ),
    summary="How much of the positive relevance lies in the cell of a mosaic that shows the class.",
    direction="up",
    range=(0, 1),
    needs={"regions"},
)
def grid_pointing_game(trial: Trial) -> Values:
    """sum over the target's cell of max(S, 0) / sum over the mosaic of max(S, 0); S is the raw signed map, upsampled.

    It needs no annotation: `sightline.metrics.localisation.mosaics` builds mosaics of n x n images of different
    classes that the classifier is sure of, and the regions, one cell for each target.

    Returns:
        (N,) in [0, 1], higher is better; chance is 1 / n^2, and a map that ignores the class gets it on average. A map
        without positive relevance scores 0. Refused where the region is not one cell of an n x n grid, n > 1.
    """
    M = region(trial)
    cells = torch.tensor([_is_cell(m) for m in M.reshape(-1, *trial.session.size)], dtype=torch.bool, device=M.device)
    return trial.values(share(trial.raw().relu(), M), refused=~cells, chance=area(M))


def _is_cell(m: Tensor) -> bool:
    """Whether a mask (H, W) is one cell of an n x n grid."""
    rows, columns = m.any(1).nonzero().flatten(), m.any(0).nonzero().flatten()
    if not len(rows):
        return False
    (H, W), h, w = m.shape, len(rows), len(columns)
    n = H // h
    solid = int(m.sum()) == h * w and int(rows[-1] - rows[0]) == h - 1 and int(columns[-1] - columns[0]) == w - 1
    return solid and n > 1 and (n * h, n * w) == (H, W) and int(rows[0]) % h == 0 and int(columns[0]) % w == 0
