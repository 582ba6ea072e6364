"""The work: decisions and maps of all members, then images under all masks, then what maps say of each other.

A phase goes through its images block by block. A block's finished members are pieces beside it, and a line in the
journal makes a block finished; its composition never depends on when an earlier process was killed.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import polars as pl
import torch

from sightline.errors import InputError, SightlineError
from sightline.store import PENDING, Run
from sightline.studies.benchmarking import pictures
from sightline.studies.blocks import Unit
from sightline.studies.generalising import extras, tables, targets
from sightline.studies.generalising.explaining import Explained, Explaining
from sightline.studies.generalising.family import Member
from sightline.studies.generalising.job import EXPLAIN, MASK, Job, blocks, explained_passes, finish, piece, readable
from sightline.studies.generalising.maps import Kept
from sightline.studies.generalising.masked import Masked, Survey
from sightline.studies.generalising.plan import Plan
from sightline.studies.generalising.source import Image
from sightline.target import Target

_PICTURES = 24
_LEAST = 2  # complete images: below, there is no other image, and no interval


def work(plan: Plan, run: Run, advance: Callable[[int], object]) -> None:
    """Do what is left.

    Raises:
        InputError: Fewer than two images could be read and answered by every member.
        StorageError: The disk is full; what was finished stays, and the same run goes on.
    """
    kept = Kept(run.path, len(plan.source.keys))
    if not run.parts and not any((run.path / PENDING).glob("*.parquet")):
        kept.clear()
    kept.sweep()
    job = Job(plan, run, kept, advance)
    _explain(job)
    survey, rows = surveyed(plan, run, kept)
    colours = {"x".join(map(str, size)): value.tolist() for size, value in survey.colours.items()}
    run.manifest["protocol"]["fill colours"] = colours
    run.write_manifest()
    extras.compare(job, survey)
    extras.parts(job, survey)
    _mask(job, survey, rows)
    extras.validate(job, survey, rows)
    run.tidy()


def _explain(job: Job) -> None:
    explaining = Explaining(job.plan)
    for unit, images in blocks(job, EXPLAIN):
        frames = []
        for member in job.plan.family:
            make = partial(_decided, job, explaining, member, unit, images)
            frames.append(piece(job, unit, make, member.name))
            job.advance(len(unit.indices) * explained_passes(job.plan))
        for index, one in zip(unit.indices, images, strict=True):
            if index < _PICTURES and isinstance(one, Image):
                pictures.photograph(job.run.path, index, one.views[job.plan.sizes[0]].pixels)
        finish(job, EXPLAIN, unit, {"decisions": pl.concat(frames), "images": _images(job.plan, unit, images)})


def _decided(
    job: Job, explaining: Explaining, member: Member, unit: Unit, images: Sequence[Image | Exception]
) -> pl.DataFrame:
    """The decisions of a member on a block; its maps are on the disk when they are."""
    size, known = member.classifier.size, job.plan.source.known
    good = {i: one for i, one in enumerate(images) if isinstance(one, Image)}
    found = explaining.block(member, [one.views[size].pixels for one in good.values()]) if good else []
    failed = [one for one in found if isinstance(one, SightlineError)]
    if len(failed) == len(found) >= _LEAST and unit.indices[0] == 0:
        raise failed[0]  # it fails everywhere
    answers: dict[int, Any] = dict(enumerate(images)) | dict(zip(good, found, strict=True))
    _keep(job, member, {unit.indices[i]: a for i, a in answers.items() if isinstance(a, Explained)})
    rows = []
    for i, answer in answers.items():
        row: dict[str, Any] = {"model": member.name, "image_index": unit.indices[i], "image": unit.keys[i]}
        if isinstance(answer, Explained):
            image = good[i]
            row |= {
                "target": str(answer.targets[0]),
                "p": float(answer.p[0]),
                "margin": float(answer.margin[0]),
                "decision": int(answer.decision[0]),
                "truth": targets.truth_of(member, known, image.truth, image.label),
                "status": "ok",
            }
        else:
            row |= {"status": "error", "error": " ".join(str(answer).split())[:500]}
        rows.append(row)
    return pl.DataFrame(rows, schema=tables.DECISIONS, orient="row")


def _keep(job: Job, member: Member, answers: dict[int, Explained]) -> None:
    """Put the maps of a block where they stay."""
    for method, variant in next(iter(answers.values())).maps if answers else ():
        maps = torch.cat([answer.maps[method, variant] for answer in answers.values()])
        job.kept.write(member.name, method, variant, list(answers), maps.float().numpy())


def _images(plan: Plan, unit: Unit, images: Sequence[Image | Exception]) -> pl.DataFrame:
    """A row an image, with its mean colour at every size."""
    rows = []
    for key, index, one in zip(unit.keys, unit.indices, images, strict=True):
        row: dict[str, Any] = {"image": key, "image_index": index, "status": "ok"}
        if isinstance(one, Image):
            row["colours"] = [v for s in plan.sizes for v in one.views[s].pixels.double().mean((1, 2)).tolist()]
        else:
            row |= {"status": "error", "error": " ".join(str(one).split())[:500]}
        rows.append(row)
    return pl.DataFrame(rows, schema=tables.IMAGES, orient="row")


def surveyed(plan: Plan, run: Run, kept: Kept) -> tuple[Survey, dict[str, dict[int, Target]]]:
    """What is known of all images, and for each member the decision explained on each of them.

    Raises:
        InputError: Fewer than two images are complete.
    """
    from sightline import store

    decided = store.read_table(run.path, "decisions")
    bad = decided.filter(pl.col("status") != "ok")
    wrong = set(bad["image_index"])
    good = [i for i in range(len(plan.source.keys)) if i not in wrong]
    if len(good) < _LEAST:
        first = f": {bad['error'][0]}" if len(bad) else ""
        raise InputError(
            f"{len(good)} of {len(plan.source.keys)} images could be read and answered by every model, and the study "
            f"takes two or more{first}"
        )
    rows: dict[str, dict[int, Target]] = {member.name: {} for member in plan.family}
    made: dict[tuple[str, int], Target] = {}
    members = {member.name: member for member in plan.family}
    for model, index, decision in decided.filter(status="ok").select("model", "image_index", "decision").iter_rows():
        if (model, decision) not in made:
            made[model, decision] = targets.again(members[model], decision)
        rows[model][index] = made[model, decision]
    colours = store.read_table(run.path, "images").filter(pl.col("image_index").is_in(good))["colours"].to_list()
    means = torch.tensor([math.fsum(column) / len(good) for column in zip(*colours, strict=True)])  # in any order
    by_size = dict(zip(plan.sizes, means.reshape(len(plan.sizes), -1), strict=True))
    return Survey(plan, kept, good, by_size), rows


def _mask(job: Job, survey: Survey, rows: dict[str, dict[int, Target]]) -> None:
    plan = job.plan
    for unit, images in blocks(job, MASK, survey.indices):
        there = [readable(one) for one in images]
        masked, frames = Masked(survey, unit.indices, there), []
        for member in plan.family:
            asked = [rows[member.name][i] for i in unit.indices]
            for method in plan.labels:
                make = partial(masked.rows, member, asked, method)
                frames.append(piece(job, unit, make, member.name, method))
                job.advance(len(unit.indices) * plan.passes)
        finish(job, MASK, unit, {"masked": pl.concat(frames)})
