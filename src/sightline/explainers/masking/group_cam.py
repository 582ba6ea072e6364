"""Group-CAM."""

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import maps_of, with_gradients
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._options import ANYTIME
from sightline.explainers.masking._plan import ChannelMasks, Job, min_max, upsample
from sightline.explainers.method import Maps, fused
from sightline.explainers.question import Question
from sightline.registry import Paper


class _Plan(ChannelMasks):
    """Mask 0 is empty (the fill alone); the others are the different groups' masks."""

    def __init__(self, groups: Tensor, size: tuple[int, int]) -> None:
        super().__init__(groups, size)
        self.groups = groups
        self.count += 1

    def _low(self, index: Tensor) -> Tensor:
        return torch.where(index[:, None, None] > 0, self.different[(index - 1).clamp(min=0)], 0.0)

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) in [0, 1]."""
        return min_max(upsample(self._low(index), self.size))

    def traits(self, index: Tensor) -> Tensor:
        """(m, h * w): groups are few, so the masks themselves."""
        return self._low(index).flatten(1)

    def maps(self, values: Tensor) -> Tensor:
        """(n, h, w)."""
        s = (values[:, 1:] - values[:, :1]).relu()[:, self.which]
        return torch.einsum("ng,ghw->nhw", s, self.groups)


def _groups(weighted: Tensor, count: int, denoise: float) -> Tensor:
    """The groups' maps (groups, h, w) of weighted channels (K, h, w)."""
    H = torch.stack([part.sum(0) for part in torch.tensor_split(weighted, min(count, len(weighted)))]).relu()
    low = torch.quantile(H.flatten(1), denoise / 100, dim=1)[:, None, None]
    return torch.where(low < H, H, 0.0) if denoise else H


@masked(
    "group-cam",
    paper=Paper(
        title="Group-CAM: Group Score-Weighted Visual Explanations for Deep Convolutional Networks",
        authors="Zhang, Rao and Yang",
        year=2021,
        arxiv="2103.13859",
    ),
    summary="Score-CAM on groups of gradient-weighted channels over a blurred image: 32 masks do.",
    cost="1 forward + 1 backward + 33 masked forwards",
    forwards=34,
    needs={"features", "gradients"},
    signed=False,
    options={"fill": "blur"},
    without=ANYTIME,  # few masks: there is nothing to save
)
def group_cam(question: Question, engine: Engine, *, groups: int = 32, denoise: float = 0.0) -> Maps:
    """S = sum_g s_g H_g with H_g = ReLU(sum of w_k A_k in group g) and s_g = ReLU(p_c(x_g) - p_c(fill)).

    w_k is Grad-CAM's weight, groups are contiguous channels, x_g = x * M_g + fill * (1 - M_g) with M_g = mm(up(H_g)).
    Channels' order matters: a layer with permuted channels has other groups.

    Args:
        question: What is asked.
        engine: How masked images are asked; the fill is the blurred image as in the paper.
        groups: Number of groups, at least 1; at most one a channel.
        denoise: Percentile of H_g up to which it is set to 0, in [0, 100): 70 in wofmanaf/Group-CAM, which also adds up
            mm(up(H_g)) in place of H_g.

    Returns:
        (N, h, w), never negative.

    Raises:
        MethodError: `groups` is below 1, or `denoise` out of range.
    """
    if groups < 1:
        raise MethodError(f"groups must be at least 1, not {groups}")
    if not 0 <= denoise < 100:
        raise MethodError(f"denoise is a percentile in [0, 100), not {denoise}")
    jobs: dict[str, list[Job]] = {}
    for name, (A, G) in with_gradients(question).items():
        jobs[name] = []
        for row, b in enumerate(question.image.tolist()):
            H = _groups(G[row].mean((1, 2), keepdim=True) * A[b], groups, denoise)
            jobs[name].append(engine.job(b, [row], _Plan(H, question.size), first=0))
    engine.run([job for part in jobs.values() for job in part], "probability")
    return fused({name: maps_of(question, part) for name, part in jobs.items()}, question.fuse)
