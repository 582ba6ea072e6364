"""Opti-CAM."""

from typing import Literal

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import activations
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._optimised import Steps, in_chunks, under_masks
from sightline.explainers.masking._options import ASKED
from sightline.explainers.masking._plan import upsample
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


class _Mixture:
    """The mask mm(up(sum_k softmax(u)_k A_k)) of weights u (n, K), for activations A (n, K, h, w)."""

    def __init__(self, A: Tensor, size: tuple[int, int]) -> None:
        self.A, self.size = A, size

    def __call__(self, u: Tensor) -> Tensor:
        """(n, H, W) in [0, 1]."""
        return _scaled(upsample(torch.einsum("nk,nkhw->nhw", u.softmax(1), self.A), self.size))


def _scaled(S: Tensor) -> Tensor:
    """mm with a gradient: (n, H, W) to [0, 1]; a map that is constant up to rounding becomes 0, without a gradient."""
    low, high = S.flatten(1).amin(1)[:, None, None], S.flatten(1).amax(1)[:, None, None]
    span, rounding = high - low, 8 * torch.finfo(S.dtype).eps * torch.maximum(high.abs(), low.abs())
    varies = span > rounding
    return torch.where(varies, (S - low) / torch.where(varies, span, 1.0), 0.0)


@masked(
    "opti-cam",
    paper=Paper(
        title="Opti-CAM: Optimizing saliency maps for interpretability",
        authors="Zhang, Torres, Sicre, Avrithis and Ayache",
        year=2023,
        arxiv="2301.07002",
        venue="CVIU 2024",
    ),
    summary="Finds the mixture of channels that, as a mask, keeps the score highest: the optimum of average drop.",
    cost="2 forwards + 100 forwards and backwards of the whole model",
    forwards=102,
    needs={"features", "gradients"},
    signed=False,
    options={"space": "normalised"},
    without=ASKED,
)
def opti_cam(
    question: Question,
    engine: Engine,
    *,
    iterations: int = 100,
    rate: float = 0.1,
    keep: Literal["best", "last"] = "best",
) -> Maps:
    """S = mm(up(sum_k softmax(u)_k A_k)), with u the maximum of f_c(x * S), found by Adam from u = 0.

    It optimises what average drop and increase in confidence measure, so these do not rank it fairly. Each row has its
    own u: a batch gives what a loop gives. `chunk` is 4 rows at once by default.

    The paper defines u as the maximum, and Adam does not climb steadily: by default the best of u_0 .. u_iterations is
    taken, each at its own S. The authors' code takes the last one, and stops before when a tenth of the steps brought
    nothing; here all steps are made.

    Args:
        question: What is asked.
        engine: How masked images are made; the normalised tensor is masked as in the paper's main tables.
        iterations: Steps of Adam; 100 in the paper.
        rate: Its learning rate, 0.1 in the paper.
        keep: The u with the highest score that was seen (`best`), or that after the last step (`last`).

    Returns:
        (N, H, W) in [0, 1]: the mask itself, for the sum before mm has a scale that nothing determines.

    Raises:
        MethodError: More than one layer, `iterations` below 1, `rate` not positive, or an unknown `keep`.
    """
    if iterations < 1 or not rate > 0 or keep not in ("best", "last"):
        raise MethodError(
            f"opti-cam needs iterations >= 1, rate > 0 and keep 'best' or 'last', not {iterations}, {rate}, {keep!r}"
        )
    if len(question.layers) != 1:
        raise MethodError("opti-cam mixes the channels of one layer; name one")
    (A,) = activations(question).values()
    score = under_masks(engine)

    def work(rows: Tensor, steps: Steps) -> Tensor:
        mask = _Mixture(A[question.image[rows]], question.size)
        u = torch.zeros(mask.A.shape[:2], device=A.device, requires_grad=True)
        adam = torch.optim.Adam([u], lr=rate)
        best, top = u.detach().clone(), torch.full((len(u),), -torch.inf, device=A.device)
        with question.model.differentiable():
            for turn in range(iterations + 1):
                last = turn == iterations or engine.stopped is not None
                if last and keep == "last":
                    break
                with torch.set_grad_enabled(not last):
                    f = score(rows, mask(u))
                best = torch.where((f.detach() > top)[:, None], u.detach(), best)
                top = torch.maximum(top, f.detach())
                if last:
                    break
                (u.grad,) = torch.autograd.grad(-f.sum(), u)
                adam.step()
                steps(len(rows))
        return mask(best if keep == "best" else u.detach())

    return Maps(in_chunks(engine, iterations, work))
