"""Training of attribute classifiers; `python -m sightline.training.attributes` makes the ones that are shipped."""

from sightline.training.attributes.fit import Fitted, fit_attributes
from sightline.training.attributes.losses import Loss, Objective, objective_of
from sightline.training.attributes.recipe import Recipe

__all__ = ["Fitted", "Loss", "Objective", "Recipe", "fit_attributes", "objective_of"]
