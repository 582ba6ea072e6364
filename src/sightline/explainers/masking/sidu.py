"""SIDU."""

from dataclasses import replace

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import channelwise, rows_of
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._plan import coarse, upsample
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


class _Plan:
    """Mask 0 hides nothing; the others are the different binary feature maps."""

    exponential = False

    def __init__(self, A: Tensor, size: tuple[int, int], threshold: float, width: float, rows: int) -> None:
        self.size, self.width, self.rows = size, width, rows
        binary = (threshold < A).float()
        self.different, self.which = torch.unique(binary.flatten(1), dim=0, return_inverse=True)
        self.different = self.different.reshape(-1, *A.shape[1:])
        self.times = torch.bincount(self.which, minlength=len(self.different)).float()  # channels that share a mask
        self.count = 1 + len(self.different)

    def _low(self, index: Tensor) -> Tensor:
        return torch.where(index[:, None, None] > 0, self.different[(index - 1).clamp(min=0)], 1.0)

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) in [0, 1]."""
        return upsample(self._low(index), self.size)

    def traits(self, index: Tensor) -> Tensor:
        """(m, d)."""
        return coarse(self._low(index))

    def maps(self, values: Tensor) -> Tensor:
        """(n, h, w), the same for all rows, from prediction vectors (C, count)."""
        P, Pi = values[:, 0].double(), values[:, 1:].T.double()  # (C,), (m, C): distances of near vectors cancel
        similarity = torch.exp(-(Pi - P).square().sum(1) / (2 * self.width**2))
        times = self.times.double()
        uniqueness = torch.cat([torch.cdist(part, Pi) @ times for part in Pi.split(256)])  # type: ignore[no-untyped-call]
        w = (similarity * uniqueness * times / times.sum()).float()
        S = torch.einsum("m,mhw->hw", w, self.different)
        return S.expand(self.rows, *S.shape)


@masked(
    "sidu",
    paper=Paper(
        title="SIDU: Similarity Difference and Uniqueness Method for Explainable AI",
        authors="Muddamsetty, Jahromi and Moeslund",
        year=2020,
        arxiv="2006.03122",
        venue="ICIP 2020",
    ),
    summary="Weighs binary feature masks by how little they change all predictions and how unlike others they are.",
    cost="1 forward + 1 masked forward for each different channel",
    forwards=2050,
    needs={"features"},
    signed=False,
)
def sidu(question: Question, engine: Engine, *, threshold: float = 0.15, width: float = 0.25) -> Maps:
    """S = mean_i SD_i U_i M_i with M_i = up(1[A_i > t]).

    SD_i = exp(-norm(P - P_i)^2 / (2 s^2)), U_i = sum_j norm(P_i - P_j), and P, P_i the whole vectors of probabilities
    of the image and of its masked versions. The target takes no part: all targets of an image get the same map.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        threshold: t, in the layer's own units.
        width: s, above 0 (some ports use 0.1).

    Returns:
        (N, h, w), never negative.

    Raises:
        MethodError: `width` is not positive.
    """
    if not width > 0:
        raise MethodError(f"width must be above 0, not {width}")

    def plan(A: Tensor, image: int) -> _Plan:
        return _Plan(A, question.size, threshold, width, len(rows_of(question, image)))

    found = channelwise(question, engine, plan, "probabilities", first=0)
    return replace(found, record={**found.record, "class_agnostic": True})
