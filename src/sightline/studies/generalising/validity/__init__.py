"""Is "stable over seeds" a property of the models, or of the rule that draws the maps?"""

from sightline.studies.generalising.validity.altered import other_targets, randomised

__all__ = ["other_targets", "randomised"]
