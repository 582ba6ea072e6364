"""Tiny families for tests of the generalisation study: nets that take one size each, images of noise, short runs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sightline as sl
from nets import images, seeded
from sightline.explainers.masking._options import Options
from sightline.studies.generalising import Generalisation, Member, generalise

SIDES = (12, 12, 8)
FACTORS = ({"task": "a", "seed": "0"}, {"task": "a", "seed": "1"}, {"task": "b"})
EAGER = Options(backend="eager", progress=False)
SETTINGS: dict[str, Any] = {
    "methods": [("lrp", {"composite": "epsilon"})],
    "levels": (5, 30, 60),
    "batch": 2,
    "validity": 2,
    "grid": 8,
    "options": EAGER,
    "progress": False,
}


class Net(nn.Module):
    """Two convolutions and a linear head on the mean of their features."""

    def __init__(self, outputs: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 6, 3, padding=1, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(6, outputs)
        with torch.no_grad():
            self.head.weight *= 20  # decisions that masks can change

    def forward(self, values: Tensor) -> Tensor:
        return self.head(self.features(values).mean((2, 3)))


def classifier(seed: int = 0, side: int = 12, **given: Any) -> sl.Classifier:
    """A classifier of four categories with a normalisation."""
    settings = {"labels": list("abcd"), "decision": "categorical", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    return sl.Classifier(seeded(Net, seed=seed), size=side, **{**settings, **given})


def family() -> list[Member]:
    """Three members of two sizes."""
    return [
        Member(name=f"m{i}", classifier=classifier(i, side), factors=factors)
        for i, (side, factors) in enumerate(zip(SIDES, FACTORS, strict=True))
    ]


def data(count: int = 5) -> tuple[Tensor, Tensor]:
    """Images of noise at 12 px with labels."""
    return images(count, 12), torch.arange(count) % 4


def run(out: Path, members: list[Member] | None = None, given: Any = None, **changed: Any) -> Generalisation:
    """A short study."""
    return generalise(members or family(), given or data(), out=out, **{**SETTINGS, **changed})
