"""The maps whose spread is measured."""

from typing import Literal

from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.trial import Trial

At = Literal["image", "map"]


def energies(trial: Trial, at: At) -> Tensor:
    """a = |S| (N, P) float64: the method's own reading of its raw maps, at the image's or at their own resolution."""
    if at not in ("image", "map"):
        raise MetricError(f"at must be 'image' or 'map', not {at!r}")
    return (trial.energy() if at == "image" else trial.explanation.energy()).flatten(1).double()
