"""Extremal perturbation."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._optimised import Steps, in_chunks, under_masks
from sightline.explainers.masking._options import ASKED
from sightline.explainers.masking._plan import upsample
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper

_TEMPERATURE = 1 / 20  # of the smooth maximum
_PENALTY, _GROWTH = 300.0, 1.0035  # of the area constraint, and its factor at each step


class SmoothMask:
    """A mask without small holes: m(u) = smax over grid points v of k(u - v) p(v).

    k is a Gaussian of `sigma` cells, cut at two sigma and 1 in the middle; smax(f) = sum f exp(f / T) / sum exp(f / T).
    """

    def __init__(self, sigma: float) -> None:
        self.radius = max(1, round(2 * sigma))
        at = torch.arange(-self.radius, self.radius + 1).float()
        self.kernel = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * sigma**2)).flatten()

    def __call__(self, p: Tensor) -> Tensor:
        """(n, h, w) -> (n, h, w)."""
        side = 2 * self.radius + 1
        padded = F.pad(p[:, None], (self.radius,) * 4, mode="replicate")
        f = F.unfold(padded, side) * self.kernel.to(p)[:, None]  # (n, side * side, h * w)
        weight = torch.softmax(f / _TEMPERATURE, 1)
        return (f * weight).sum(1).reshape(p.shape)


@masked(
    "extremal-perturbation",
    paper=Paper(
        title="Understanding Deep Networks via Extremal Perturbations and Smooth Masks",
        authors="Fong, Patrick and Vedaldi",
        year=2019,
        arxiv="1910.08485",
        venue="ICCV 2019",
    ),
    summary="The smooth mask of a given area that keeps the score highest, over a blurred image.",
    cost="800 forwards and backwards of the whole model for each area",
    forwards=800,
    needs={"gradients"},
    signed=False,
    options={"fill": "blur"},
    without=ASKED,
)
def extremal_perturbation(
    question: Question,
    engine: Engine,
    *,
    areas: float | Sequence[float] = 0.1,
    iterations: int = 800,
    rate: float = 0.01,
    step: int = 7,
    sigma: float = 21.0,
) -> Maps:
    """S = mean over areas a of the mask m_a that maximises f_c(m x + (1 - m) fill) - L norm(sort(m) - r_a)^2.

    r_a is the sorted mask of exactly that area, zeros then ones; L starts at 300 and grows by 1.0035 a step, and the
    gradient is followed with a momentum of 0.9. The mask lives on a grid and is made smooth there by a smooth maximum
    (see `SmoothMask`), then upsampled; the fill is one blurred image where the authors take a pyramid of blurs.
    `chunk` is 4 rows at once by default.

    Args:
        question: What is asked.
        engine: How masked images are made.
        areas: The share of the image to keep, between 0 and 1; several are averaged.
        iterations: Steps for each area.
        rate: Learning rate.
        step: Pixels between grid points, for an image of 224 px; other sizes scale it.
        sigma: Width of the smoothing in such pixels.

    Returns:
        (N, h, w) on the grid, in [0, 1].

    Raises:
        MethodError: An area, a rate or a number of steps out of range.
    """
    shares = [areas] if isinstance(areas, int | float) else list(areas)
    if not shares or not all(0 < a < 1 for a in shares) or iterations < 1 or not rate > 0 or step < 1 or not sigma > 0:
        raise MethodError("extremal-perturbation needs areas in (0, 1), iterations >= 1, rate, step and sigma above 0")
    question.ask()
    scale = min(question.size) / 224
    grid = [max(2, round(side / (step * scale))) for side in question.size]
    smooth, score = SmoothMask(sigma / step), under_masks(engine)

    def work(rows: Tensor, steps: Steps) -> Tensor:
        masks = [_mask(engine, smooth, score, rows, grid, a, iterations, rate, steps) for a in shares]
        return torch.stack(masks).mean(0)

    return Maps(in_chunks(engine, len(shares) * iterations, work))


def _mask(
    engine: Engine,
    smooth: SmoothMask,
    score: Callable[[Tensor, Tensor], Tensor],
    rows: Tensor,
    grid: list[int],
    area: float,
    iterations: int,
    rate: float,
    steps: Steps,
) -> Tensor:
    """(n, h, w) the mask of one area for some rows."""
    question, penalty = engine.question, _PENALTY
    p = torch.full((len(rows), *grid), 0.5, device=question.pixels.device, requires_grad=True)
    wanted = torch.zeros(p[0].numel(), device=p.device)
    wanted[round((1 - area) * len(wanted)) :] = 1
    sgd = torch.optim.SGD([p], lr=rate, momentum=0.9)
    with question.model.differentiable():
        for turn in range(iterations):
            if engine.stopped is not None:
                break
            m = smooth(p)
            f = score(rows, upsample(m, question.size))
            constraint = (m.flatten(1).sort(1).values - wanted).square().mean(1)
            held = penalty if turn else 0.0  # all is equal at first, and a sort of equals would choose for the score
            (p.grad,) = torch.autograd.grad((held * constraint - f).sum(), p)
            sgd.step()
            with torch.no_grad():
                p.clamp_(0, 1)
            penalty *= _GROWTH
            steps(len(rows))
        return smooth(p).detach()
