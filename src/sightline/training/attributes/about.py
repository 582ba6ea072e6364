"""What a trained classifier's file says of itself."""

import dataclasses
import json
from typing import Any

from sightline.data.alignment import Preparation
from sightline.loading.source import Source
from sightline.training.attributes.material import Material
from sightline.training.attributes.recipe import Recipe


def about_of(
    backbone: Any,
    options: Any,
    source: Source,
    images: Material,
    size: tuple[int, int],
    preparation: Preparation,
    recipe: Recipe,
    mean: Any,
    std: Any,
) -> dict[str, Any]:
    """What stands in the classifier's file, beside the training."""
    answers = images.counts()["answers"]
    rates = {n: a["yes"] / (a["yes"] + a["no"]) if a["yes"] + a["no"] else None for n, a in answers.items()}
    centre, spread = mean if mean is not None else source.mean, std if std is not None else source.std
    said: dict[str, Any] = {
        "backbone": backbone if isinstance(backbone, str) else "module",
        "options": dict(options or {}),
        "labels": list(images.names),
        "mean": [float(v) for v in (centre if centre is not None else (0.0, 0.0, 0.0))],
        "std": [float(v) for v in (spread if spread is not None else (1.0, 1.0, 1.0))],
        "size": list(size),
        "decision": "multilabel",
        "preparation": {**dataclasses.asdict(preparation), "described": preparation.described()},
        "recipe": recipe.described(),
        "training_rates": rates,
    }
    return json.loads(json.dumps(said))  # type: ignore[no-any-return]
