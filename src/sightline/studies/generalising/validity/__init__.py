"""Is "stable over seeds" a property of the models, or of the rule that draws the maps? See `rule` for the answer."""

from sightline.studies.generalising.validity.altered import other_targets, randomised, turned
from sightline.studies.generalising.validity.chance import Skill, skill
from sightline.studies.generalising.validity.rows import likeness, rows, stages
from sightline.studies.generalising.validity.rule import Ruling, ruled
from sightline.studies.generalising.validity.sentences import sentences
from sightline.studies.generalising.validity.table import Finding, differences, findings, left_out, skills, table
from sightline.studies.generalising.validity.verdicts import said
from sightline.studies.generalising.validity.wording import Sentence

__all__ = [
    "Finding",
    "Ruling",
    "Sentence",
    "Skill",
    "differences",
    "findings",
    "left_out",
    "likeness",
    "other_targets",
    "randomised",
    "rows",
    "ruled",
    "said",
    "sentences",
    "skill",
    "skills",
    "stages",
    "table",
    "turned",
]
