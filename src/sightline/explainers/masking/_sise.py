"""What SISE and Ada-SISE share: masks from channels whose gradient speaks for the target, fused over layers."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sightline.explainers.masking import _anytime
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._features import blocks, rows_of, with_gradients
from sightline.explainers.masking._otsu import otsu
from sightline.explainers.masking._plan import ChannelMasks, Job, min_max
from sightline.explainers.method import Maps
from sightline.explainers.question import Question


class _Plan(ChannelMasks):
    """Masks of the channels (K, h, w) that any row keeps; `keep` (n, K) says which rows."""

    def __init__(self, A: Tensor, size: tuple[int, int], keep: Tensor) -> None:
        used = keep.any(0)
        used[0] |= not bool(used.any())  # a layer that no row keeps anything of still has a (zero) map
        super().__init__(A[used], size)
        self.times = torch.zeros(len(keep), self.count, device=A.device)  # channels of each row that share a mask
        self.times.index_add_(1, self.which, keep[:, used].float())

    def maps(self, values: Tensor) -> Tensor:
        """V = sum_k f_c(x * M_k) M_k: (n, H, W)."""
        return self.weighted(values * self.times)


def sise_maps(question: Question, engine: Engine, keep: Callable[[Tensor], Tensor]) -> Maps:
    """Maps of the rows, from a choice of channels: mean gradients (n, K) -> which to keep (n, K)."""
    question.ask()
    names = blocks(question)
    found = with_gradients(question)
    jobs: dict[str, list[Job]] = {name: [] for name in names}
    for name in names:
        A, G = found[name]
        for b in range(len(question.pixels)):
            rows = rows_of(question, b)
            jobs[name].append(engine.job(b, rows, _Plan(A[b], question.size, keep(G[rows].mean((2, 3))))))
    engine.run([job for part in jobs.values() for job in part], "probability")
    parts = {name: torch.cat([j.plan.maps(_anytime.completed(j)) for j in jobs[name]]) for name in names}
    record = {"layers": list(names), "kept": {n: [int(k) for j in jobs[n] for k in j.plan.times.sum(1)] for n in names}}  # type: ignore[attr-defined]
    return replace(Maps(_cascade(list(parts.values())), parts=parts if len(parts) > 1 else {}), record=record)


def _cascade(maps: list[Tensor]) -> Tensor:
    """Shallow to deep: R <- (R + V) * Otsu(V), each V brought to [0, 1] first."""
    R = torch.zeros_like(maps[0])
    for position, V in enumerate(maps):
        V = min_max(V)
        R = V if position == 0 else (R + V) * (otsu(V.flatten(1))[:, None, None] < V)
    return R
