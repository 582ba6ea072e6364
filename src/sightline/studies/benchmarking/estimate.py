"""What a benchmark will cost, before it starts: forward passes, and time from a few that are measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline import target as targets
from sightline.classifier import BlackBox, Classifier
from sightline.errors import SightlineError
from sightline.metrics.session import Session
from sightline.studies.benchmarking.plan import OTHER_IMAGE, Plan
from sightline.studies.benchmarking.work import Unit
from sightline.target import Target


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
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        time = (
            f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        )
        passes = f"{self.explaining:,} forward passes to explain and at most {self.judging:,} to judge"
        return f"{self.images:,} images x methods: {passes}, about {time}"


def estimate(plan: Plan, left: Sequence[Unit]) -> Cost:
    """Cost of what is left. A few masked passes and one explanation of each method are made to measure their time.

    A metric that explains again, imputes or randomises costs more than its forward passes, which this does not see.
    """
    images = explaining = judging = 0
    seconds = 0.0
    for model, classifier in plan.models.items():
        mine = [unit for unit in left if unit.model == model]
        pixels = _first(plan, mine, classifier)
        if pixels is None:
            continue
        counts = {m.label: sum(len(u.places) for u in mine if m in u.methods) for m in plan.methods}
        each = sum(j.record.forwards(j.settings, classifier.size) for j in plan.judges)
        rows, passes_a_second = _measured(plan, model, pixels)
        each *= rows
        for method in plan.methods:
            count = counts[method.label]
            images += count
            judging += count * each
            if method.name == OTHER_IMAGE or not count:
                continue
            try:
                found = method.explainer(model, classifier, plan.seeds[0]).estimate(pixels, plan.target)
            except SightlineError:  # the run itself will say what is wrong
                continue
            explaining += count * found.passes
            seconds += count * found.seconds
        seconds += sum(counts.values()) * each / passes_a_second
    return Cost(images, explaining, judging, seconds)


def _first(plan: Plan, left: Sequence[Unit], classifier: Classifier | BlackBox) -> Tensor | None:
    """(1, C, H, W) the first image that can be read, on the classifier's device."""
    for place in (place for unit in left for place in unit.places):
        try:
            return plan.records[place].load(classifier.size, how=plan.fit).pixels[None].to(classifier.device)
        except SightlineError:
            continue
    return None


def _measured(plan: Plan, model: str, pixels: Tensor) -> tuple[int, float]:
    """Rows an image, and altered images a second."""
    classifier = plan.models[model]
    session = Session(classifier, pixels, options=plan.options, expected=plan.expected(model))
    try:
        rows: tuple[Target, ...] = targets.resolve(plan.target, session.outputs(), classifier.head())[1]
    except SightlineError:
        return 1, 1e9
    count = session.asking.chunk
    return len(rows), max(_speed(session, rows[0], pixels, count) for _ in range(2))  # the first one warms up


def _speed(session: Session, row: Target, pixels: Tensor, count: int) -> float:
    start = time.perf_counter()
    session.asking.margins([row] * count, count, lambda index: pixels.expand(len(index), -1, -1, -1))
    if pixels.is_cuda:
        torch.cuda.synchronize()
    return count / (time.perf_counter() - start)
