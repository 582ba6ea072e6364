"""From tidy rows to statements: means with intervals (`means`), paired tests and rankings (`comparison`)."""

from sightline.studies.statistics.comparison import (
    against_controls,
    agreement,
    compare,
    holm,
    mcnemar,
    ranking,
    wins,
)
from sightline.studies.statistics.means import (
    FLAT_BY_DESIGN,
    LEVEL,
    RESAMPLES,
    STATUSES,
    counts,
    directions,
    per_class,
    table,
    wilson,
)

__all__ = [
    "FLAT_BY_DESIGN",
    "LEVEL",
    "RESAMPLES",
    "STATUSES",
    "against_controls",
    "agreement",
    "compare",
    "counts",
    "directions",
    "holm",
    "mcnemar",
    "per_class",
    "ranking",
    "table",
    "wilson",
    "wins",
]
