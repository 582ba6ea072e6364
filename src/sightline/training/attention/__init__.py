"""Training of attention that explains a frozen classifier: L-CAM, TAME, T-TAME, P-TAME, and the learned constant."""

from sightline.training.attention.fit import Fitted, fit_attention
from sightline.training.attention.losses import Lambdas
from sightline.training.attention.recipe import PRESETS, Recipe

__all__ = ["PRESETS", "Fitted", "Lambdas", "Recipe", "fit_attention"]
