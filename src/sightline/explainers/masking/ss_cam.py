"""SS-CAM."""

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
    """Mask number m is mm(up(A_k)) plus noise field j: k = m // N, j = m % N, so all channels share the N fields."""

    def __init__(
        self, A: Tensor, size: tuple[int, int], samples: int, noise: float, clip: bool, draw: torch.Generator
    ) -> None:
        super().__init__(A, size)
        self.A, self.samples, self.clip, self.count = A, samples, clip, self.count * samples
        self.noise = noise * torch.randn(samples, *size, generator=draw)

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W), outside [0, 1] too unless clipped."""
        M = super().masks(index // self.samples) + self.noise.to(index.device)[index % self.samples]
        return M.clamp(0, 1) if self.clip else M

    def traits(self, index: Tensor) -> Tensor:
        """(m, d) of the masks without noise."""
        return super().traits(index // self.samples)

    def maps(self, values: Tensor) -> Tensor:
        """(n, h, w)."""
        w = values.reshape(len(values), -1, self.samples).mean(2)[:, self.which].softmax(1)
        return torch.einsum("nk,khw->nhw", w, self.A)


@masked(
    "ss-cam",
    paper=Paper(
        title="SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization",
        authors="Wang, Naidu, Michael and Kundu",
        year=2020,
        arxiv="2006.14255",
    ),
    summary="Score-CAM with each channel's score averaged over noisy copies of its mask.",
    cost="1 forward + 35 masked forwards for each different channel",
    forwards=71681,
    needs={"features"},
    signed=True,
)
def ss_cam(question: Question, engine: Engine, *, samples: int = 35, noise: float = 2.0, clip: bool = False) -> Maps:
    """S = sum_k w_k A_k with w = softmax over channels of 1/N sum_j f_c(x * (mm(up(A_k)) + d_j)), d_j ~ N(0, s^2).

    With the usual s = 2 most of a mask lies outside [0, 1]: the classifier sees images that no camera makes. All
    channels share the N noise fields, so that channels are compared under the same noise.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        samples: N, at least 1.
        noise: s, at least 0 (0 is Score-CAM).
        clip: Clip noisy masks to [0, 1].

    Returns:
        (N, h, w), signed where activations are.

    Raises:
        MethodError: `samples` below 1 or `noise` below 0.
    """
    if samples < 1 or not noise >= 0:
        raise MethodError(f"ss-cam needs samples >= 1 and noise >= 0, not {samples} and {noise}")
    question.ask()

    def plan(A: Tensor, image: int) -> _Plan:
        return _Plan(A, question.size, samples, noise, clip, engine.generator(image))

    return channelwise(question, engine, plan)
