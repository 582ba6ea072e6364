"""The harmonic mean, and how an undefined coherency enters it."""

from typing import Literal, get_args

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.trial import Trial

Protocol = Literal["strict", "as-published"]


def harmonic(parts: Tensor) -> Tensor:
    """K / sum_k 1 / part_k of rows (N, K) in [0, 1]; 0, its limit, where a part is 0."""
    nothing = (parts <= 0).any(1)
    return (parts.shape[1] / (1 / parts).sum(1)).masked_fill(nothing, 0.0)


def counted(trial: Trial, coherency: Tensor, protocol: Protocol) -> Tensor:
    """Coherency (N,) as a part: 0 where the map itself is constant; elsewhere NaN stays, or is 0 as published."""
    check(protocol)
    constant = torch.tensor([state != "ok" for state in trial.states()], device=coherency.device)
    none = coherency.isnan() & (constant if protocol == "strict" else True)
    return coherency.masked_fill(none, 0.0)


def check(protocol: str) -> None:
    """Refuse a protocol that there is not.

    Raises:
        MetricError: The text names both.
    """
    if protocol not in get_args(Protocol):
        raise MetricError(f"protocol must be 'strict' or 'as-published', not {protocol!r}")
