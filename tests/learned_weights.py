"""Attention with random weights for whatever is explained, for tests that run every method."""

from pathlib import Path
from typing import Any

import torch

import sightline as sl
from nets import ConvNet, seeded
from sightline.explainers.learned import Learned, Retrained, about_of, attention_for, default_layers

LEARNED = [m.name for m in sl.methods() if m.family == "learned"]


def helper(size: int = 16) -> sl.Classifier:
    """The auxiliary network of P-TAME."""
    return sl.Classifier(seeded(ConvNet, 3, seed=9), mean=[0.5], std=[0.25], size=size)


def drawn(
    method: str,
    classifier: Any,
    *,
    layers: tuple[str, ...] | None = None,
    directions: Any = None,
    auxiliary: sl.Classifier | None = None,
    seed: int = 0,
    **variant: Any,
) -> Learned:
    """An untrained attention that fits a classifier; batch norms with statistics, a constant that is not flat."""
    kind: Any = "constant" if method == "learned-constant" else method
    found = default_layers(kind, classifier, auxiliary=auxiliary) if layers is None else layers
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = attention_for(kind, classifier, found, directions, auxiliary=auxiliary, **variant)
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.running_mean, 0, 0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 2)
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.2)
        if kind == "constant":
            torch.nn.init.normal_(made.c)
    return Learned(made.eval(), about_of(made, classifier, auxiliary=auxiliary, mask_space="pixels"))


def settings_of(method: str) -> dict[str, Any]:
    """Settings with which a learned method explains any classifier."""
    auxiliary = helper() if method == "p-tame" else None
    fit = Retrained(lambda classifier: drawn(method, classifier, auxiliary=auxiliary))
    return {"weights": fit} | ({} if auxiliary is None else {"auxiliary": auxiliary})


SETTINGS = {name: settings_of(name) for name in LEARNED}


def saved(folder: Path, learned: Learned, name: str = "attention.safetensors") -> Path:
    """Its file."""
    from sightline.explainers.learned import save

    save(folder / name, learned.attention, learned.about)
    return folder / name
