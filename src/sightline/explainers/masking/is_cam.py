"""IS-CAM."""

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import channelwise
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._plan import ChannelMasks
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


class _Plan(ChannelMasks):
    """Mask number m is (i / N) * mm(up(A_k)) with k = m // N and i = m % N + 1."""

    def __init__(self, A: Tensor, size: tuple[int, int], steps: int) -> None:
        super().__init__(A, size)
        self.A, self.steps, self.count = A, steps, self.count * steps

    def _share(self, index: Tensor) -> Tensor:
        return (index % self.steps + 1) / self.steps

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) in [0, 1]."""
        return self._share(index)[:, None, None] * super().masks(index // self.steps)

    def traits(self, index: Tensor) -> Tensor:
        """(m, d)."""
        return self._share(index)[:, None] * super().traits(index // self.steps)

    def maps(self, values: Tensor) -> Tensor:
        """(n, h, w)."""
        w = values.reshape(len(values), -1, self.steps).mean(2)[:, self.which].softmax(1)
        return torch.einsum("nk,khw->nhw", w, self.A)


@masked(
    "is-cam",
    paper=Paper(
        title="IS-CAM: Integrated Score-CAM for axiomatic-based explanations",
        authors="Naidu, Ghosh, Maurya, K and Kundu",
        year=2020,
        arxiv="2010.03023",
    ),
    summary="Score-CAM with each channel's score averaged over masks that brighten step by step.",
    cost="1 forward + 10 masked forwards for each different channel",
    forwards=20481,
    needs={"features"},
    signed=True,
)
def is_cam(question: Question, engine: Engine, *, steps: int = 10) -> Maps:
    """S = sum_k w_k A_k with w = softmax over channels of 1/N sum_i f_c(x * (i / N) mm(up(A_k))), i = 1 .. N.

    The last factor is 1: the steps integrate from almost black to Score-CAM's own mask.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        steps: N, at least 1 (1 is Score-CAM).

    Returns:
        (N, h, w), signed where activations are.

    Raises:
        MethodError: `steps` is below 1.
    """
    if steps < 1:
        raise MethodError(f"steps must be at least 1, not {steps}")
    return channelwise(question, engine, lambda A, _: _Plan(A, question.size, steps))
