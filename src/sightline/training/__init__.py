"""Training: of attention that explains a frozen classifier, and of attribute classifiers."""

from typing import TYPE_CHECKING, Any

__all__ = ["fit_attention"]

if TYPE_CHECKING:
    from sightline.training.attention import fit_attention


def __getattr__(name: str) -> Any:
    if name != "fit_attention":
        raise AttributeError(f"module 'sightline.training' has no attribute {name!r}")
    from sightline.training.attention import fit_attention

    return fit_attention
