"""Occlusion."""

from typing import Literal

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import maps_of, rows_of
from sightline.explainers.masking._method import masked
from sightline.explainers.method import Maps
from sightline.explainers.question import Question
from sightline.registry import Paper


def _starts(side: int, window: int, stride: int) -> Tensor:
    """Where windows begin: every stride, and one that ends at the border."""
    return torch.tensor(sorted({*range(0, side - window + 1, stride), side - window}))


class _Plan:
    """Mask 0 hides nothing; the others hide one window each."""

    exponential = False

    def __init__(self, size: tuple[int, int], window: tuple[int, int], stride: int) -> None:
        top, left = (_starts(side, w, stride) for side, w in zip(size, window, strict=True))
        at = [torch.arange(side) for side in size]
        rows = ((at[0] >= top[:, None]) & (at[0] < top[:, None] + window[0])).float()  # (windows down, H)
        columns = ((at[1] >= left[:, None]) & (at[1] < left[:, None] + window[1])).float()
        self.rows = rows.repeat_interleave(len(columns), 0)  # (windows, H)
        self.columns = columns.repeat(len(rows), 1)  # (windows, W)
        self.count = 1 + len(self.rows)

    def masks(self, index: Tensor) -> Tensor:
        """(m, H, W), 0 in the window."""
        window = (index - 1).clamp(min=0).cpu()
        hidden = (self.rows[window, :, None] * self.columns[window, None, :]).to(index.device)
        return torch.where(index[:, None, None] > 0, 1 - hidden, 1.0)

    def traits(self, index: Tensor) -> Tensor:
        """The window's centre, in windows' counts; the unhidden image stands apart."""
        window = (index - 1).clamp(min=0).cpu()
        at = torch.stack([self._centre(self.rows[window]), self._centre(self.columns[window])], 1).to(index.device)
        return torch.where(index[:, None] > 0, at, -10.0)

    @staticmethod
    def _centre(inside: Tensor) -> Tensor:
        return (inside @ torch.arange(inside.shape[1]).float()) / inside.sum(1).square()

    def maps(self, values: Tensor) -> Tensor:
        """Mean drop over the windows that cover a pixel: (n, H, W)."""
        rows, columns = self.rows.to(values), self.columns.to(values)
        drop = values[:, :1] - values[:, 1:]
        return torch.einsum("nm,mh,mw->nhw", drop, rows, columns) / torch.einsum("mh,mw->hw", rows, columns)


@masked(
    "occlusion",
    paper=Paper(
        title="Visualizing and Understanding Convolutional Networks",
        authors="Zeiler and Fergus",
        year=2014,
        arxiv="1311.2901",
        venue="ECCV 2014",
    ),
    summary="How much the score falls when a window of the image is hidden; works for any black box.",
    cost="a masked forward for each window (169 with the default window and stride)",
    forwards=170,
    signed=True,
    options={"fill": "mean"},
)
def occlusion(
    question: Question,
    engine: Engine,
    *,
    window: int | None = None,
    stride: int | None = None,
    reading: Literal["score", "probability"] = "score",
) -> Maps:
    """S_ij = mean over the windows that cover (i, j) of score(x) - score(x with the window filled).

    The fill is itself evidence to the classifier: it is recorded. By default it is the image's mean colour, the grey
    of the paper.

    Args:
        question: What is asked.
        engine: How masked images are asked.
        window: Side of the square in pixels; a seventh of the shorter side by default.
        stride: Pixels between windows, half the window by default; the last ones end at the border.
        reading: The `score` of the target, or its `probability`.

    Returns:
        (N, H, W), signed: positive where hiding lowers the score.

    Raises:
        MethodError: A window that does not fit the image, a stride below 1 or that leaves gaps, an unknown reading.
    """
    shorter = min(question.size)
    window = max(1, shorter // 7) if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= window <= shorter or not 1 <= stride <= window:
        raise MethodError(f"occlusion needs 1 <= stride <= window <= {shorter}; not stride {stride}, window {window}")
    if reading not in ("score", "probability"):
        raise MethodError(f"reading must be 'score' or 'probability', not {reading!r}")
    question.ask()
    plan = _Plan(question.size, (window, window), stride)
    jobs = [engine.job(b, rows_of(question, b), plan, first=0) for b in range(len(question.pixels))]
    engine.run(jobs, reading)
    return Maps(maps_of(question, jobs), record={"window": window, "stride": stride})
