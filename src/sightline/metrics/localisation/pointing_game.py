"""Pointing game."""

from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.localisation._region import area, region, senseless
from sightline.metrics.metric import Values, metric
from sightline.metrics.trial import Trial
from sightline.registry import Paper


@metric(
    "pointing-game",
    family="localisation",
    paper=Paper(
        title="Top-down Neural Attention by Excitation Backprop", authors="Zhang et al.", year=2016, arxiv="1608.00507"
    ),
    summary="Whether the hottest pixel lies on the object.",
    direction="up",
    range=(0, 1),
    needs={"regions"},
)
def pointing_game(trial: Trial, *, tolerance: float = 15) -> Values:
    """Hit = [argmax S lies in M, or less than `tolerance` from it].

    Of several hottest pixels each counts alike: the value is the share of them that are hits, which is what a random
    choice gives on average, so a flat map scores chance. Quantus counts a hit when any of them is in M, by which a
    flat map always hits; it has no tolerance.

    Args:
        trial: Rows.
        tolerance: Pixels of the image as it was given to the network (Euclidean). The paper has 15; 0 asks for a
            pixel in M itself.

    Returns:
        (N,) in [0, 1], higher is better; an empty map scores 0. Refused where M is empty or all of the image. Chance
        is the share of the image that counts as a hit.
    """
    if not tolerance >= 0:
        raise MetricError(f"tolerance is a distance in pixels, 0 or more, not {tolerance!r}")
    S, M = trial.heat().flatten(1), region(trial)
    hit = M if tolerance == 0 else _widened(trial, M.reshape(-1, *trial.session.size), tolerance).flatten(1)
    top = S.amax(1, keepdim=True) <= S
    value = (top & hit).sum(1).double() / top.sum(1)
    value[S.amax(1) <= 0] = 0
    return trial.values(value, refused=senseless(M), chance=area(hit))


def _widened(trial: Trial, M: Tensor, tolerance: float) -> Tensor:
    """M (N, H, W) and all pixels nearer to it than `tolerance`; methods of one session share it."""

    def near(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Tensor:
        if not mask.any():
            return torch.zeros(mask.shape, dtype=torch.bool)
        distance = np.asarray(distance_transform_edt(~mask))
        return torch.from_numpy((distance == 0) | (distance < tolerance))

    masks = M.cpu().numpy()
    found = [trial.session.once(("near", tolerance, np.packbits(m).tobytes()), partial(near, m)) for m in masks]
    return torch.stack(found).to(M.device) if found else M
