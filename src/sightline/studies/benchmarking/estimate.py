"""What a benchmark will cost, before it starts: forward passes, and time from a rehearsal on two images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sightline import target as targets
from sightline.errors import SightlineError
from sightline.explainers.question import Estimate
from sightline.progress import duration
from sightline.studies.benchmarking.block import Block
from sightline.studies.benchmarking.plan import OTHER_IMAGE, Contender, Judge, Plan
from sightline.studies.benchmarking.work import Unit

_IMAGES = 2
_SECONDS = 30.0  # of one model's rehearsal: metrics that it does not reach are told by their forward passes


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        images: Explained images: one counts once for each model, seed and method.
        explaining: Forward passes of the methods.
        judging: Forward passes of the metrics; at most, since metrics and methods share what they can.
        seconds: Roughly how long all of it takes.
    """

    images: int
    explaining: int
    judging: int
    seconds: float

    def __str__(self) -> str:
        passes = f"{self.explaining:,} forward passes to explain and at most {self.judging:,} to judge"
        return f"{self.images:,} images x methods: {passes}, about {duration(self.seconds)}"


def estimate(plan: Plan, left: Sequence[Unit]) -> Cost:
    """Cost of what is left, from a rehearsal of each model.

    Two images are explained by each method (masks: a few are asked), and the maps of one control and of the fastest
    method are judged by each metric. So imputation, upsampling and explaining again are in the time, and what metrics
    share is not there twice. The time of a metric that explains again grows with that of the method, on the line
    through those two.
    """
    images = explaining = judging = 0
    seconds = 0.0
    for model in plan.models:
        mine = [unit for unit in left if unit.model == model]
        block = _block(plan, model, mine)
        counts = {m.label: sum(len(u.places) for u in mine if m in u.methods) for m in plan.methods}
        asked = [m for m in plan.methods if counts[m.label]]
        images += sum(counts.values())
        if block is None or not asked:
            continue
        judging += sum(counts.values()) * round(_rows(block) * _passes(plan.judges, block))
        found = {m.label: _explained(plan, block, m) for m in asked}
        explaining += sum(count * found[label].passes for label, count in counts.items() if count)
        seconds += sum(count * found[label].seconds for label, count in counts.items() if count)
        judged = _Judging(plan, block, found)
        seconds += sum(counts[m.label] * judged.seconds(m) for m in asked)
    return Cost(images, explaining, judging, seconds)


def _block(plan: Plan, model: str, left: Sequence[Unit]) -> Block | None:
    """The first images that can be read and have a target; None where there is none."""
    read = []
    for place in (place for unit in left for place in unit.places):
        try:
            read.append(plan.records[place].load(plan.models[model].size, how=plan.fit))
        except SightlineError:
            continue
        if len(read) == _IMAGES:
            break
    names = [str(i) for i in range(len(read))]
    block = Block(plan, model, plan.seeds[0], names, range(len(read)), read)
    return block if block.places else None


def _rows(block: Block) -> float:
    """Rows an image."""
    return sum(len(rows) for rows in block.targets) / len(block.places)


def _passes(judges: Sequence[Judge], block: Block) -> int:
    return sum(j.record.forwards(j.settings, block.classifier.size) for j in judges)


def _explained(plan: Plan, block: Block, method: Contender) -> Estimate:
    """What one image costs, after a first time where all of it is done: that one loads, converts and warms up."""
    if method.name == OTHER_IMAGE:
        return Estimate(0, 0.0)
    try:
        explainer = method.explainer(block.model, block.classifier, plan.seeds[0])
        asked = [targets.each(rows) for rows in block.targets]
        found = explainer.estimate(block.pixels, asked)
        if not found.how:
            found = explainer.estimate(block.pixels, asked)
    except Exception:  # noqa: BLE001 - the run itself will say what is wrong, in rows of its table
        return Estimate(0, 0.0)
    each = len(block.places)
    return Estimate(found.passes // each, found.seconds / each, found.how)


class _Judging:
    """Seconds an image that all metrics take, for the maps of any method.

    Args:
        plan, block: What is asked, and the images of the rehearsal.
        explained: Cost of an explanation, by method.
    """

    def __init__(self, plan: Plan, block: Block, explained: Mapping[str, Estimate]) -> None:
        self.plan, self.block, self.explained = plan, block, explained
        self.until = time.perf_counter() + _SECONDS
        self.pass_seconds = self._pass()
        makers = [m for m in plan.methods if m.label in explained and m.name != OTHER_IMAGE]
        fast = sorted(makers, key=lambda m: (m.control, explained[m.label].seconds))
        plain = [m for m in makers if m.control]
        self.low = self._rehearsed(plain[0]) if plain else {}  # and warms up
        self.high = self._rehearsed(fast[0]) if fast else {}
        self.ends = [explained[ms[0].label].seconds if ms else 0.0 for ms in (plain, fast)]

    def seconds(self, method: Contender) -> float:
        """Seconds an image."""
        return sum(self._of(judge, self.explained[method.label].seconds) for judge in self.plan.judges)

    def _of(self, judge: Judge, explaining: float) -> float:
        if judge.label not in self.high:
            return (
                judge.record.forwards(judge.settings, self.block.classifier.size)
                * self.pass_seconds
                * _rows(self.block)
            )
        low, high = self.low.get(judge.label, 0.0), self.high[judge.label]
        if "explainer" not in judge.record.needs or judge.label not in self.low or self.ends[1] <= self.ends[0]:
            return high
        low = min(low, high)
        slope = (high - low) / (self.ends[1] - self.ends[0])
        return max(low + slope * (explaining - self.ends[0]), 0.0)

    def _rehearsed(self, method: Contender) -> dict[str, float]:
        """Seconds an image of each metric, in the plan's order, so that shared work is paid by the first one."""
        found = self.block.explained(method)
        if found.explanation is None:
            return {}
        trial, seconds = self.block.trial(method, found.explanation), {}
        for judge in self.plan.judges:
            if time.perf_counter() > self.until:
                break
            rows: list[dict[str, Any]] = self.block.judged(method, judge, trial, 0.0)
            seconds[judge.label] = rows[0]["seconds"] * _rows(self.block)
        return seconds

    def _pass(self) -> float:
        """Seconds an altered image, once the backend is there."""
        session = self.block.session
        assert session is not None  # noqa: S101 - the block has an image
        row, pixels = self.block.targets[0][0], session.pixels[:1]
        count = min(session.asking.chunk, max(1, session.asking.expected))  # not more than make the run take a backend
        for _ in range(2):  # the first one converts, checks and warms up
            start = time.perf_counter()
            session.asking.margins([row] * count, count, lambda index: pixels.expand(len(index), -1, -1, -1))
            if pixels.is_cuda:
                torch.cuda.synchronize()
        return (time.perf_counter() - start) / count
