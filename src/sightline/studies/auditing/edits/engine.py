"""Edited images asked in batches: one stream for all edits, regions and controls of a block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import torch
from torch import Tensor

from sightline.studies.auditing.edits.base import Block, Case, Edit, Refusal, generator
from sightline.studies.auditing.edits.controls import Place, Places, moved

#: The table `edits`: a row an image, attribute, edit and place.
SCHEMA: dict[str, Any] = {
    "image_index": pl.Int64,
    "attribute": pl.String,
    "edit": pl.String,
    "direction": pl.String,
    "region": pl.String,
    "where": pl.String,
    "control": pl.Int8,
    "area": pl.Float64,
    "z_before": pl.Float64,
    "z_after": pl.Float64,
    "p_before": pl.Float64,
    "p_after": pl.Float64,
    "truth": pl.Int8,
    "status": pl.String,
    "note": pl.String,
}
CONTROLS = 3
Where = Literal["region", "control", "content"]
Row = dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Job:
    """One edited image that is to be asked."""

    edit: str
    case: Case
    where: Where
    control: int | None
    mask: Tensor
    pixels: Tensor
    note: str | None = None


def edited(block: Block, edits: Sequence[Edit], *, controls: int = CONTROLS, batch: int = 64) -> list[Row]:
    """Make every edit of every image of a block, with its controls, and ask the classifier.

    An edited image is asked once, whatever the number of attributes that share its region. An edit without room for a
    control is refused: without one, an effect says nothing about the region.

    Args:
        block: The images.
        edits: What to do, bound to the study.
        controls: Places of the same area elsewhere, for each edit.
        batch: Images a forward pass.

    Returns:
        Rows with the keys of `SCHEMA`. `where` is `region`, `control` (another place, numbered) or `content` (other
        content at the same place); `area` a share of the image; `status` `ok` or `refused`, then `note` says why and
        there are no numbers. An edit that changes no pixel changes the answer by exactly 0.
    """
    rows: list[Row] = []
    waiting: list[_Job] = []
    for found in _jobs(block, edits, Places(controls)):
        if isinstance(found, _Job):
            waiting.append(found)
            if len(waiting) == batch:
                rows += _ask(block, waiting)
                waiting = []
        else:
            rows += found
    return rows + _ask(block, waiting)


def _jobs(block: Block, edits: Sequence[Edit], places: Places) -> Iterator[_Job | list[Row]]:
    for number, edit in enumerate(edits):
        for case in edit.cases(block):
            if isinstance(case, Refusal):
                yield _refused(block, edit, case)
                continue
            found = places.of(case.mask, generator(block, case.image, 20 + number), shaped=case.moved != "place")
            if not found:
                reason = "the region is too large for a control of the same area"
                attributes = tuple(case.directions)
                refusal = Refusal(image=case.image, region=case.region, attributes=attributes, reason=reason)
                yield _refused(block, edit, refusal)
                continue
            yield from _with_controls(block, edit.name, case, found)


def _with_controls(block: Block, name: str, case: Case, places: Sequence[Place]) -> Iterator[_Job]:
    start = block.pixels[case.image] if case.base is None else case.base
    mask = case.mask.to(start.device)
    pixels = torch.where(mask, case.other, start)
    yield _Job(edit=name, case=case, where="region", control=None, mask=mask, pixels=pixels)
    if case.plain is not None:
        pixels = torch.where(mask, case.plain, start)
        yield _Job(edit=name, case=case, where="content", control=None, mask=mask, pixels=pixels)
    for number, place in enumerate(places):
        there = place.mask.to(start.device)
        note = None if place.shift is not None else "of another shape"
        pixels = torch.where(there, _elsewhere(case, start, mask, place), start)
        yield _Job(edit=name, case=case, where="control", control=number, mask=there, pixels=pixels, note=note)


def _elsewhere(case: Case, start: Tensor, mask: Tensor, place: Place) -> Tensor:
    """What a control puts at its place."""
    if case.moved == "place" or place.shift is None:
        return case.other
    if case.moved == "carry":
        return moved(case.other * mask, place.shift)
    return (start + moved((case.other - start) * mask, place.shift)).clamp(0, 1)


def _ask(block: Block, jobs: Sequence[_Job]) -> list[Row]:
    if not jobs:
        return []
    starts = [block.pixels[j.case.image] if j.case.base is None else j.case.base for j in jobs]
    z = torch.stack([block.z[j.case.image] if j.case.z_base is None else j.case.z_base for j in jobs]).double().cpu()
    after = z.clone()
    changed = [n for n, (job, start) in enumerate(zip(jobs, starts, strict=True)) if not torch.equal(job.pixels, start)]
    if changed:
        pixels = torch.stack([jobs[n].pixels for n in changed])
        with torch.inference_mode(False):
            after[changed] = block.plan.readout.z(block.plan.classifier(pixels)).double().cpu()
    p, q = z.sigmoid().tolist(), after.sigmoid().tolist()
    lines, later = z.tolist(), after.tolist()
    rows = []
    for n, job in enumerate(jobs):
        area = float(job.mask.double().mean())
        for a, direction in job.case.directions.items():
            numbers = {"z_before": lines[n][a], "z_after": later[n][a], "p_before": p[n][a], "p_after": q[n][a]}
            about = {"where": job.where, "control": job.control, "area": area, "status": "ok", "note": job.note}
            what = {"edit": job.edit, "direction": direction, "region": job.case.region}
            rows.append({**_of(block, job.case.image, a), **what, **about, **numbers})
    return rows


def _of(block: Block, image: int, attribute: int) -> Row:
    truth = int(block.truth[image, attribute])
    return {
        "image_index": int(block.indices[image]),
        "attribute": block.names[attribute],
        "truth": truth if truth >= 0 else None,
    }


def _refused(block: Block, edit: Edit, refusal: Refusal) -> list[Row]:
    what = {"edit": edit.name, "region": refusal.region, "where": "region", "status": "refused", "note": refusal.reason}
    blank = dict.fromkeys(SCHEMA)
    return [{**blank, **_of(block, refusal.image, a), **what} for a in refusal.attributes]
