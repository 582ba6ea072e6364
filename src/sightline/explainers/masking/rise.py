"""RISE."""

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import maps_of, rows_of
from sightline.explainers.masking._method import masked
from sightline.explainers.masking._plan import interpolation
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


class _Plan:
    """M = R[dy : dy + H] g C[dx : dx + W]': a grid g of cells + 1 a side, upsampled and cut at a random offset.

    R and C interpolate to (cells + 1) * cell pixels. Sums over masks never need the masks: they are taken over grids.
    """

    exponential = False

    def __init__(self, size: tuple[int, int], count: int, cells: int, keep: float, draw: torch.Generator) -> None:
        self.size, self.count, self.keep = size, count, keep
        cell = [-(-side // cells) for side in size]
        self.grids = (torch.rand(count, cells + 1, cells + 1, generator=draw) < keep).float()
        self.offset = torch.stack([torch.randint(0, c, (count,), generator=draw) for c in cell], 1)
        self.up = [interpolation(cells + 1, (cells + 1) * c) for c in cell]

    def _cut(self, axis: int, index: Tensor) -> Tensor:
        """(m, side, cells + 1): the rows (or columns) of the interpolation that each mask uses."""
        windows = (
            self.up[axis].to(index.device).unfold(0, self.size[axis], 1).transpose(1, 2)
        )  # (offsets, side, cells + 1)
        return windows[self.offset.to(index.device)[index, axis]]

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W) in [0, 1]."""
        return self._cut(0, index) @ (self.grids.to(index.device)[index] @ self._cut(1, index).transpose(1, 2))

    def traits(self, index: Tensor) -> Tensor:
        """The masks averaged over 7 x 7 cells: (m, 49)."""
        rows, columns = (
            torch.nn.functional.adaptive_avg_pool1d(self._cut(a, index).transpose(1, 2), 7).transpose(1, 2)
            for a in (0, 1)
        )
        return (rows @ (self.grids.to(index.device)[index] @ columns.transpose(1, 2))).flatten(1)

    def maps(self, values: Tensor) -> Tensor:
        """1 / (N p) sum_i values_i M_i, one offset of rows at a time: (n, H, W)."""
        S = values.new_zeros(len(values), *self.size)
        for dy in range(len(self.up[0]) - self.size[0] + 1):
            index = (self.offset[:, 0] == dy).nonzero().flatten().to(values.device)
            if len(index) == 0:
                continue
            right = self.grids.to(values.device)[index] @ self._cut(1, index).transpose(1, 2)  # (m, cells + 1, W)
            S += self.up[0].to(values)[dy : dy + self.size[0]] @ torch.einsum("nm,mcw->ncw", values[:, index], right)
        return S / (self.count * self.keep)


@masked(
    "rise",
    paper=Paper(
        title="RISE: Randomized Input Sampling for Explanation of Black-box Models",
        authors="Petsiuk, Das and Saenko",
        year=2018,
        arxiv="1806.07421",
        venue="BMVC 2018",
    ),
    summary="The mean probability of randomly masked images in which a pixel is seen; works for any black box.",
    cost="4000 masked forwards",
    forwards=4000,
    signed=False,
)
def rise(question: Question, engine: Engine, *, masks: int = 4000, cells: int = 7, keep: float = 0.5) -> Maps:
    """S = 1 / (N p) sum_i p_c(x * M_i) M_i.

    M_i: Bernoulli(p) on a grid of (cells + 1) x (cells + 1), bilinearly upsampled, cut at a random offset of less than
    one cell. The map has a large constant offset, the mean probability; ratios of raw maps (such as proportional
    energy) see it. Masks depend on the seed and on the image's content.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        masks: N, 4000 for VGG-16 and 8000 for ResNet-50 in the paper.
        cells: Cells a side, s in the paper.
        keep: The share p of the image that stays, between 0 and 1.

    Returns:
        (N, H, W), never negative.

    Raises:
        MethodError: `masks`, `cells` or `keep` out of range.
    """
    if masks < 1 or not 1 <= cells <= min(question.size) or not 0 < keep < 1:
        raise MethodError(
            f"rise needs masks >= 1, 1 <= cells <= the image's side, 0 < keep < 1; not {masks}, {cells}, {keep}"
        )
    question.ask()
    jobs = []
    for b in range(len(question.pixels)):
        plan = _Plan(question.size, masks, cells, keep, engine.generator(b))
        jobs.append(engine.job(b, rows_of(question, b), plan, shuffle=False))
    engine.run(jobs, "probability")
    return Maps(maps_of(question, jobs))
