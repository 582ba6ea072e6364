"""The phases that look at the maps alone: how alike they are, where they lie, and whether that is the models' doing."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import polars as pl
import torch

from sightline.studies.generalising import similarity
from sightline.studies.generalising.family import Member
from sightline.studies.generalising.job import (
    COMPARE,
    PART,
    VALIDATE,
    Job,
    blocks,
    checked_passes,
    finish,
    left,
    piece,
    readable,
)
from sightline.studies.generalising.maps import OWN
from sightline.studies.generalising.source import Image

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
    """How much of the positive relevance lies in each region of the images."""
    from sightline.studies.generalising.parts import rows as shares

    plan = job.plan
    if not plan.parts or not plan.source.regions:
        return
    for unit, images in blocks(job, PART, survey.indices):
        there, found = [readable(one) for one in images], []
        masks = {size: plan.source.masks(there, size) for size in plan.sizes}
        for member in plan.family:
            for method in plan.labels:
                maps = job.kept.rows(member.name, method, OWN, unit.indices)
                regions = masks[member.classifier.size]
                found += shares(maps, regions, model=member.name, method=method, images=unit.indices)
        finish(job, PART, unit, {"parts": pl.DataFrame(found, infer_schema_length=None)})


def validate(job: Job, survey: "Survey", rows: "dict[str, dict[int, Target]]") -> None:
    """What changing the question, or the weights, does to the maps: some of the images, all of them in one block."""
    plan = job.plan
    some = spread(survey.indices, plan.validity)
    if not some:
        return
    for unit, images in blocks(job, VALIDATE, some, batch=len(some)):
        there, frames = [readable(one) for one in images], []
        for member in plan.family:
            asked = [rows[member.name][i] for i in unit.indices]
            make = partial(_checked, job, member, there, asked, unit.indices)
            frames.append(piece(job, unit, make, member.name))
            job.advance(len(unit.indices) * checked_passes(plan))
        finish(job, VALIDATE, unit, {"validity": pl.concat(frames, how="diagonal_relaxed")})


def spread(indices: Sequence[int], count: int) -> list[int]:
    """So many of them, evenly apart: images are in the order of their paths, and the first ones may be of one class."""
    n = len(indices)
    k = min(count, n)
    return [indices[i * n // k] for i in range(k)]


def _checked(
    job: Job, member: Member, images: Sequence[Image], asked: "Sequence[Target]", indices: Sequence[int]
) -> pl.DataFrame:
    """The rows of one member."""
    from sightline.studies.generalising import validity

    plan = job.plan
    pixels = torch.stack([one.views[member.classifier.size].pixels for one in images])
    found = []
    for method in plan.methods:
        found += validity.rows(
            member.classifier,
            partial(plan.explainer, member, method),
            pixels,
            asked,
            job.kept.rows(member.name, method.label, OWN, indices),
            model=member.name,
            method=method.label,
            images=indices,
            seed=plan.seed,
            grid=plan.grid,
            batch=plan.batch,
        )
    return pl.DataFrame(found, infer_schema_length=None)
