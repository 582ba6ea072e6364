"""Poly-CAM."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking import _anytime
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import activations, blocks, rows_of
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._plan import ChannelMasks, Job
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper

Variant = Literal["+", "-", "+-"]


class _Plan(ChannelMasks):
    """Mask 0 hides nothing; then come the masks M_k that keep a channel's region, and those 1 - M_k that remove it."""

    def __init__(self, A: Tensor, size: tuple[int, int], variant: Variant) -> None:
        super().__init__(A, size)
        self.A, self.variant, self.kinds = A, variant, {"+": (1,), "-": (-1,), "+-": (1, -1)}[variant]
        self.masks_a_kind = self.count
        self.count = 1 + self.count * len(self.kinds)

    def _parts(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Channel masks (m,) and whether each is removed (m,)."""
        at = (index - 1).clamp(min=0)
        return at % self.masks_a_kind, torch.tensor(self.kinds, device=index.device)[at // self.masks_a_kind] < 0

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) in [0, 1]."""
        channel, removed = self._parts(index)
        M = super().masks(channel)
        M = torch.where(removed[:, None, None], 1 - M, M)
        return torch.where(index[:, None, None] > 0, M, 1.0)

    def traits(self, index: Tensor) -> Tensor:
        """(m, d)."""
        channel, removed = self._parts(index)
        t = super().traits(channel)
        t = torch.where(removed[:, None], 1 - t, t)
        return torch.where(index[:, None] > 0, t, 1.0)

    def maps(self, values: Tensor) -> Tensor:
        """Q = ReLU(sum_k w_k A_k): (n, h, w)."""
        s0, s = values[:, :1], values[:, 1:].reshape(len(values), len(self.kinds), -1)[:, :, self.which]
        kept, removed = s[:, 0], s[:, -1]
        w = {"+": kept, "-": (s0 - removed).relu(), "+-": (kept + s0 - removed).relu()}[self.variant]
        return torch.einsum("nk,khw->nhw", w, self.A).relu()


@masked(
    "poly-cam",
    paper=Paper(
        title="Poly-CAM: High resolution class activation map for convolutional neural networks",
        authors="Englebert, Cornu and De Vleeschouwer",
        year=2022,
        arxiv="2204.13359",
        venue="ICPR 2022",
    ),
    summary="Score-weighted maps of several layers multiplied from deep to shallow: high resolution, no gradients.",
    cost="1 forward + 2 masked forwards for each different channel, in the last layer of each resolution",
    forwards=3000,
    needs={"features"},
    signed=False,
)
def poly_cam(question: Question, engine: Engine, *, variant: Variant = "+-", clip: float = 0.1) -> Maps:
    """P_l = up(P_(l+1)) * Q_l / up(mean of Q_l in each cell of P_(l+1)), with Q_l = ReLU(sum_k w_k A_k) of layer l.

    With s0, s, s' the probabilities of the image, of x * M_k and of x * (1 - M_k), M_k = mm(up(A_k)): w = s for the
    variant `+`, ReLU(s0 - s') for `-`, ReLU(s + s0 - s') for `+-`. The finer map only redistributes what the coarser
    one says of a cell. Layers: those named (shallow first), else the last one of each resolution. Where one is twice as
    fine as the next, the mean of a cell is what andralex8/polycam divides by; elsewhere that interpolates points.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        variant: `+`, `-` or `+-`.
        clip: Percent of the largest values that are clipped, in [0, 100).

    Returns:
        (N, h, w) at the shallowest layer's resolution, never negative; each layer's Q in `parts`.

    Raises:
        MethodError: An unknown variant, or `clip` out of range.
    """
    if variant not in ("+", "-", "+-"):
        raise MethodError(f"variant must be '+', '-' or '+-', not {variant!r}")
    if not 0 <= clip < 100:
        raise MethodError(f"clip is a percentage in [0, 100), not {clip}")
    names = blocks(question)
    A = activations(question)
    jobs: dict[str, list[Job]] = {
        name: [
            engine.job(b, rows_of(question, b), _Plan(A[name][b], question.size, variant), first=0)
            for b in range(len(question.pixels))
        ]
        for name in names
    }
    engine.run([job for part in jobs.values() for job in part], "probability")
    parts = {n: torch.cat([j.plan.maps(_anytime.completed(j)) for j in jobs[n]]) for n in names}
    S = _multiplied([parts[name] for name in reversed(names)])
    top = torch.quantile(S.flatten(1), 1 - clip / 100, dim=1)[:, None, None]
    return Maps(torch.minimum(S, top), parts=parts if len(parts) > 1 else {}, record={"layers": list(names)})


def _multiplied(maps: list[Tensor]) -> Tensor:
    """From deep to shallow (n, h, w)."""
    P = maps[0]
    for Q in maps[1:]:
        size = (Q.shape[1], Q.shape[2])
        around = _up(F.adaptive_avg_pool2d(Q, (P.shape[1], P.shape[2])), size)
        P = torch.where(around > 0, _up(P, size) * Q / torch.where(around > 0, around, 1.0), 0.0)
    return P


def _up(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
