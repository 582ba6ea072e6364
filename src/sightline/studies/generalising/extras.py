"""The phases that look at the maps alone: how alike they are, where they lie, and whether that is the models' doing."""

from typing import TYPE_CHECKING

import polars as pl

from sightline.studies.generalising import similarity
from sightline.studies.generalising.job import COMPARE, Job, finish, left

if TYPE_CHECKING:
    from sightline.studies.generalising.masked import Survey
    from sightline.target import Target


def compare(job: Job, survey: "Survey") -> None:
    """How alike the maps of each pair of members are, on a grid."""
    plan, kept = job.plan, job.kept
    units = left(plan, job.run, COMPARE, survey.indices)
    if not units:
        return
    means: dict[str, dict[str, similarity.Array]] = {}
    for method in plan.labels:
        sums = similarity.MeanMaps()
        for name in plan.family.names:
            for maps in kept.chunks(name, method, survey.indices):
                sums.add(name, similarity.pooled(maps, plan.grid))
        means[method] = {name: sums.mean(name) for name in plan.family.names}
    for unit in units:
        others = [survey.donors[i] for i in unit.indices]
        rows = []
        for method in plan.labels:
            here, there = (
                {m: similarity.pooled(kept.rows(m, method, "own", some), plan.grid) for m in plan.family.names}
                for some in (unit.indices, others)
            )
            rows += similarity.rows(here, there, means[method], unit.indices, method)
        finish(job, COMPARE, unit, {"similarity": pl.DataFrame(rows, infer_schema_length=None)})


def parts(job: Job, survey: "Survey") -> None:
    """How much relevance lies in each region."""


def validate(job: Job, survey: "Survey", rows: "dict[str, dict[int, Target]]") -> None:
    """What changing the question, or the weights, does to the maps."""
