"""Training: of attention that explains a frozen classifier, and of attribute classifiers."""

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "fit_attention": "sightline.training.attention",
    "fit_attributes": "sightline.training.attributes",
    "logit_adjusted": "sightline.training.adjusted",
}

__all__ = ["fit_attention", "fit_attributes", "logit_adjusted"]

if TYPE_CHECKING:
    from sightline.training.adjusted import logit_adjusted
    from sightline.training.attention import fit_attention
    from sightline.training.attributes import fit_attributes


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sightline.training' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
