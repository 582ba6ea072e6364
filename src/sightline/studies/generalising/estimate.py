"""What the study will cost, before it starts: forward passes, time from a rehearsal on a few images, and disk."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sightline.errors import SightlineError
from sightline.metrics._asking import AHEAD
from sightline.progress import duration
from sightline.store import Run
from sightline.studies.generalising import masks, similarity, targets
from sightline.studies.generalising.explaining import Explained, Explaining
from sightline.studies.generalising.family import Member
from sightline.studies.generalising.job import CHECKS, EXPLAIN, MASK, VALIDATE, left
from sightline.studies.generalising.maps import Kept
from sightline.studies.generalising.masked import Masked, Survey
from sightline.studies.generalising.plan import Plan
from sightline.studies.generalising.source import Image

_TRIED = 2  # images that are read and explained
_CHUNKS = 1  # of masked images, asked twice: the first time converts and warms up


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        images: To be asked under masks.
        maps: To be made.
        passes: Masked forward passes, all targets together.
        explaining, masking, checking: Roughly how many seconds either takes; checking is what is asked of maps alone.
        disk: Bytes of all kept maps.
    """

    images: int
    maps: int
    passes: int
    explaining: float
    masking: float
    checking: float
    disk: int

    @property
    def seconds(self) -> float:
        """Roughly how long all of it takes."""
        return self.explaining + self.masking + self.checking

    def __str__(self) -> str:
        maps = f"{self.maps:,} maps ({duration(self.explaining)}; {self.disk / 1e6:,.0f} MB are kept)"
        passes = f"{self.passes:,} masked forward passes ({duration(self.masking)})"
        checks = f"checks of maps ({duration(self.checking)})"
        return f"{self.images:,} images to do: {maps}, {passes}, {checks}, about {duration(self.seconds)} in all"


def estimate(plan: Plan, run: Run | None = None) -> Cost:
    """Cost of what is left, from a rehearsal of every member: two images are explained, and a chunk is asked.

    Args:
        plan: What is asked.
        run: A run that is begun; without one all of it is left.
    """
    everything = list(range(len(plan.source.keys)))
    explain = everything if run is None else [i for unit in left(plan, run, EXPLAIN) for i in unit.indices]
    mask = everything if run is None else [i for unit in left(plan, run, MASK) for i in unit.indices]
    images, reading = _read(plan, mask or explain)
    kinds = len(plan.methods) * len(plan.variants) * len(plan.family)
    passes = plan.passes * len(plan.methods)
    fresh = run is None or not any(part["name"].startswith(VALIDATE) for part in run.parts)
    checked = min(plan.validity, len(everything)) if fresh else 0
    explaining, masking = reading * len(explain), reading * len(mask)
    checking = _comparing(plan) * (len(everything) if fresh else 0)
    disk = 0
    for member in plan.family if images else ():
        each, some = _explained(plan, member, images)
        if some is None:
            continue
        explaining += len(explain) * each
        checking += checked * each * CHECKS / len(plan.variants)
        disk += len(everything) * sum(4 * maps[0].numel() for maps in some.maps.values())
        masking += len(mask) * passes * _pass(plan, member, images) if mask else 0.0
    maps, asked = kinds * len(explain), passes * len(plan.family) * len(mask)
    return Cost(len(mask), maps, asked, explaining, masking, checking, disk)


def _comparing(plan: Plan) -> float:
    """Seconds an image that all pairs of members take to be compared, by maps that are drawn."""
    draw = np.random.default_rng(plan.seed)
    maps = {name: draw.standard_normal((_TRIED, plan.grid, plan.grid)) for name in plan.family.names}
    start = time.perf_counter()
    similarity.rows(maps, maps, {name: value[0] for name, value in maps.items()}, range(_TRIED), plan.labels[0])
    return (time.perf_counter() - start) / _TRIED * len(plan.methods)


def _read(plan: Plan, places: Sequence[int]) -> tuple[list[Image], float]:
    """The first images that can be read, and seconds an image."""
    found: list[Image] = []
    start = time.perf_counter()
    for place in places:
        try:
            found.append(plan.source.load(place))
        except SightlineError:  # the run itself will say what is wrong
            continue
        if len(found) == _TRIED:
            break
    return found, (time.perf_counter() - start) / max(1, len(found)) / 2  # threads read ahead


def _explained(plan: Plan, member: Member, images: Sequence[Image]) -> tuple[float, Explained | None]:
    """Seconds that all maps of an image take, after a first time, which surveys the model; and what was found."""
    explaining = Explaining(plan)
    pixels = torch.stack([one.views[member.classifier.size].pixels for one in images])
    try:
        found = explaining.images(member, pixels)
        start = time.perf_counter()
        explaining.images(member, pixels)
    except SightlineError:  # as above
        return 0.0, None
    return (time.perf_counter() - start) / len(pixels), found


def _pass(plan: Plan, member: Member, images: Sequence[Image]) -> float:
    """Seconds of a masked forward pass of a member, masks and all, by rankings that are drawn."""
    size, n = member.classifier.size, len(images)
    survey = Survey(plan, Kept(Path(), 0), range(n), {size: images[0].views[size].pixels.mean((1, 2))})
    masked, asking = Masked(survey, range(n), images), survey.asking(member)
    rows = [targets.again(member, 0)] * n
    points = len(plan.modes) * len(plan.levels) * n
    sources = max(1, -(-_CHUNKS * asking.chunk * AHEAD // points))
    ties = masks.shuffled(range(n), size[0] * size[1], plan.seed)
    start = time.perf_counter()
    step = masks.steps(masks.order(torch.rand(n, *size), ties), plan.levels)
    ranking = (time.perf_counter() - start) / n
    for _ in range(2):  # the first time converts, checks and warms up
        start = time.perf_counter()
        masked.answers(member, rows, plan.fills[0], step.expand(sources, n, -1))
    asked = (time.perf_counter() - start) / (sources * points)
    own = sum(control in masks.OWN for control in plan.controls)
    alike = sum(other.classifier.size == size for other in plan.family)
    return asked + ranking * (own + (len(plan.sources) - own) / alike) / plan.passes
