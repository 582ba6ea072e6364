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
from sightline.studies.statistics.means import LEVEL, RESAMPLES, STATUSES, directions, per_class, table, wilson

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "STATUSES",
    "against_controls",
    "agreement",
    "compare",
    "directions",
    "holm",
    "mcnemar",
    "per_class",
    "ranking",
    "table",
    "wilson",
    "wins",
]
