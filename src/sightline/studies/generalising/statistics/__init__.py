"""Arrays in, tables out: how well the relevance of one model serves another, how sure that is, and what it hangs on.

Nothing here knows a run, a classifier or a file. All begins with `Curves`, or with the rows of `similarity.rows`.
"""

from sightline.studies.generalising.statistics.agreement import agreement
from sightline.studies.generalising.statistics.alike import similarity_groups, similarity_pairs
from sightline.studies.generalising.statistics.areas import Curves, areas
from sightline.studies.generalising.statistics.asymmetry import asymmetry
from sightline.studies.generalising.statistics.controls import control_table
from sightline.studies.generalising.statistics.curve_table import curve_table
from sightline.studies.generalising.statistics.factors import factor_effects
from sightline.studies.generalising.statistics.groups import groups
from sightline.studies.generalising.statistics.index import index, matrix

__all__ = [
    "Curves",
    "agreement",
    "areas",
    "asymmetry",
    "control_table",
    "curve_table",
    "factor_effects",
    "groups",
    "index",
    "matrix",
    "similarity_groups",
    "similarity_pairs",
]
