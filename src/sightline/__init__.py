"""Sightline: where an image classifier looks, whether that picture can be trusted, what its decisions rest on.

Everything public is here; torch is imported when the first of it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Attribute": "sightline.target",
    "BlackBox": "sightline.classifier",
    "Category": "sightline.target",
    "Classifier": "sightline.classifier",
    "Contrast": "sightline.target",
    "Explainer": "sightline.explainers",
    "Explanation": "sightline.explanation",
    "Maps": "sightline.explainers",
    "Paper": "sightline.registry",
    "Question": "sightline.explainers",
    "Region": "sightline.target",
    "SightlineError": "sightline.errors",
    "Similarity": "sightline.target",
    "cam_method": "sightline.explainers",
    "each": "sightline.target",
    "evaluate": "sightline.metrics",
    "explain": "sightline.explainers",
    "explainer": "sightline.explainers",
    "explains": "sightline.explainers",
    "load": "sightline.loading",
    "methods": "sightline.explainers",
    "metrics": "sightline.metrics",
    "partial": "sightline.explainers",
    "read_image": "sightline.data.images",
    "read_labels": "sightline.data.images",
    "studies": "sightline.studies",
    "training": "sightline.training",
    "trust": "sightline.metrics.trust",
}

__all__ = [
    "Attribute",
    "BlackBox",
    "Category",
    "Classifier",
    "Contrast",
    "Explainer",
    "Explanation",
    "Maps",
    "Paper",
    "Question",
    "Region",
    "SightlineError",
    "Similarity",
    "__version__",
    "cam_method",
    "each",
    "evaluate",
    "explain",
    "explainer",
    "explains",
    "load",
    "methods",
    "metrics",
    "partial",
    "read_image",
    "read_labels",
    "studies",
    "training",
    "trust",
]

if TYPE_CHECKING:
    from sightline import studies, training
    from sightline.classifier import BlackBox, Classifier
    from sightline.data.images import read_image, read_labels
    from sightline.errors import SightlineError
    from sightline.explainers import Explainer, Maps, Question, cam_method, explain, explainer, explains, methods
    from sightline.explanation import Explanation
    from sightline.loading import load
    from sightline.metrics import evaluate, metrics
    from sightline.metrics.trust import trust
    from sightline.registry import Paper
    from sightline.target import Attribute, Category, Contrast, Region, Similarity, each


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sightline' has no attribute {name!r}")
    home = importlib.import_module(_HOME[name])
    value = home if _HOME[name] == f"{__name__}.{name}" else getattr(home, name)  # the room of metrics can be called
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
