"""Weights of learned methods in a plan: one file, or for each model its own; compared by what the files hold."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sightline.errors import MethodError


def of_model(weights: Any, model: str, label: str) -> Any:
    """The weights for one model.

    Raises:
        MethodError: A mapping that has none for it.
    """
    if not isinstance(weights, Mapping):
        return weights
    if model not in weights:
        there = ", ".join(weights) or "no model"
        raise MethodError(f"{label} has weights for {there} and none for {model!r}; add weights.{model} = FILE")
    return weights[model]


def check_models(weights: Any, models: Iterable[str], label: str) -> None:
    """Refuse weights for a model that is not asked.

    Raises:
        MethodError: There is such a model; the text names it.
    """
    unknown = sorted(set(weights) - set(models)) if isinstance(weights, Mapping) else []
    if unknown:
        raise MethodError(f"{label} has weights for {unknown[0]!r}; the models are {', '.join(models)}")


def files(weights: Mapping[str, Any]) -> dict[str, Any]:
    """`{"files": {label: digest}}` for labels whose weights are files; a path may be written to again."""
    found = {label: _digest(value) for label, value in weights.items()}
    known = {label: digest for label, digest in found.items() if digest}
    return {"files": known} if known else {}


def _digest(weights: Any) -> Any:
    """The first 16 digits of SHA-256 of a file, or of each model's; None for what is no file."""
    if isinstance(weights, Mapping):
        return {model: _digest(file) for model, file in weights.items()}
    if not isinstance(weights, str | os.PathLike) or not Path(weights).is_file():
        return None
    with Path(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
