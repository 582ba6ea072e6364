"""Score-CAM."""

from typing import Literal

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import channelwise
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._plan import ChannelMasks, min_max, upsample
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper

Variant = Literal["paper", "repository", "l-cam"]


class _Plan(ChannelMasks):
    def __init__(self, A: Tensor, size: tuple[int, int], variant: Variant) -> None:
        super().__init__(A, size)
        self.A, self.variant, self.exponential = A, variant, variant == "paper"

    def maps(self, values: Tensor) -> Tensor:
        """S (n, h, w) from scores (n, different masks)."""
        w = values[:, self.which]  # (n, K): merged channels share a score
        if self.variant == "paper":
            w = w.softmax(1)
        if self.variant != "l-cam":
            return torch.einsum("nk,khw->nhw", w, self.A)
        return torch.stack([self._full(row) for row in w])

    def _full(self, w: Tensor) -> Tensor:
        S = torch.zeros(self.size, device=w.device)
        for k in range(0, len(w), 64):
            S += torch.einsum("k,khw->hw", w[k : k + 64], min_max(upsample(self.A[k : k + 64], self.size)))
        return S


@masked(
    "score-cam",
    paper=Paper(
        title="Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        authors="Wang et al.",
        year=2020,
        arxiv="1910.01279",
        venue="CVPRW 2020",
    ),
    summary="Weighs each channel by the score of the image masked with it: no gradients, many passes.",
    cost="1 forward + 1 masked forward for each different channel (512 for VGG-16, up to 2048 for ResNet-50)",
    forwards=2049,
    needs={"features"},
    signed=True,
)
def score_cam(question: Question, engine: Engine, *, variant: Variant = "paper") -> Maps:
    """S = sum_k w_k A_k with w = softmax over channels of f_c(x * mm(up(A_k))).

    Any baseline f_c(x_b) cancels in the softmax, so there is none. A dead or constant channel gets the score of the
    empty mask; equal masks are asked once.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        variant: `paper` as above, of the raw score. `repository` (haofanwang/Score-CAM): w_k is the probability of the
            masked image, without a softmax over channels. `l-cam` (the baseline of bmezaris/L-CAM): the probability
            weighs mm(up(A_k)) in place of A_k; maps are then (N, H, W).

    Returns:
        (N, h, w), signed where activations are.

    Raises:
        MethodError: An unknown variant.
    """
    if variant not in ("paper", "repository", "l-cam"):
        raise MethodError(f"variant must be 'paper', 'repository' or 'l-cam', not {variant!r}")
    reading: Literal["score", "probability"] = "score" if variant == "paper" else "probability"
    return channelwise(question, engine, lambda A, _: _Plan(A, question.size, variant), reading)
