"""Arrays in, tables out: how well the relevance of one model serves another, how sure that is, and what it hangs on.

Nothing here knows a run, a classifier or a file. All begins with `Curves`.
"""

from sightline.studies.generalising.statistics.areas import Curves, areas
from sightline.studies.generalising.statistics.groups import groups
from sightline.studies.generalising.statistics.index import index, matrix

__all__ = ["Curves", "areas", "groups", "index", "matrix"]
