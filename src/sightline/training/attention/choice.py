"""Which epoch's attention is kept."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.training.attention.recipe import Recipe


def measure_of(recipe: Recipe) -> str | None:
    """The column of the history that chooses the epoch; less is better. None takes the last one."""
    return {"loss": "valid_loss", "average-drop": "valid_drop", "last": None}[recipe.select]


def best_of(rows: Sequence[Mapping[str, Any]], recipe: Recipe) -> int | None:
    """The number of the epoch whose attention is kept, from 1."""
    measure = measure_of(recipe)
    if not rows:
        return None
    if measure is None:
        return int(rows[-1]["epoch"])
    finite = [row for row in rows if not math.isnan(row[measure])]
    return int(min(finite or rows, key=lambda row: row[measure])["epoch"])
