"""What a study of confusions will cost, from a few images that are tried."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.data.annotations.record import Sample
from sightline.errors import SightlineError
from sightline.metrics.session import Session
from sightline.progress import duration
from sightline.studies.confusions.plan import MASKED, Plan
from sightline.target import Category, each

_TRIED = 16


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        images: To be classified, one forward pass each.
        errors: How many of them are expected to be misclassified, from those that were tried.
        explaining: Forward passes of their explanations.
        masked: Forward passes of masked images, at most.
        seconds: Roughly how long all of it takes.
    """

    images: int
    errors: int
    explaining: int
    masked: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.images:,} images to classify, about {self.errors:,} errors to explain: {self.explaining:,} forward "
            f"passes for the maps and at most {self.masked:,} of masked images, about {duration(self.seconds)}"
        )


def estimate(plan: Plan, left: Sequence[int]) -> Cost:
    """Cost of what is left, from up to 16 images spread over it; they are read, classified, and one is explained."""
    step = max(1, len(left) // _TRIED)
    tried = [s for s in (_load(plan, place) for place in left[::step][:_TRIED]) if s is not None]
    if not tried:
        return Cost(len(left), 0, 0, 0, 0.0)
    classifier = plan.classifier
    pixels = torch.stack([s.pixels for s in tried]).to(classifier.device)
    classifier(pixels[:1])  # the first pass makes the replica
    start = time.perf_counter()
    outputs = classifier(pixels)
    if pixels.is_cuda:
        torch.cuda.synchronize()
    each_pass = (time.perf_counter() - start) / len(pixels)
    wrong = sum(int(o.argmax()) != s.record.label for o, s in zip(outputs.cpu(), tried, strict=True))
    errors = round(len(left) * (wrong + 0.5) / (len(tried) + 1))
    passes, seconds = _explained(plan, pixels[:1], outputs[0])
    masked = _speed(plan, pixels[:1])
    total = len(left) * each_pass + errors * (seconds + MASKED * masked)
    return Cost(len(left), errors, errors * passes, errors * MASKED, total)


def _load(plan: Plan, place: int) -> Sample | None:
    try:
        sample = plan.records[place].load(plan.classifier.size, how=plan.fit)
    except SightlineError:  # the run itself will say what is wrong
        return None
    return None if sample.record.label is None else sample


def _explained(plan: Plan, pixels: Tensor, outputs: Tensor) -> tuple[int, float]:
    """Forward passes and seconds of the maps of one image."""
    classes = outputs.argsort(descending=True)[:3].tolist()
    try:
        explainer = plan.explainer()
        target = each(Category(c) for c in classes)
        explainer.estimate(pixels, target)  # once to warm up
        found = explainer.estimate(pixels, target)
    except SightlineError:
        return 0, 0.0
    return found.passes, found.seconds


def _speed(plan: Plan, pixels: Tensor) -> float:
    """Seconds of a masked pass."""
    session = Session(plan.classifier, pixels, options=plan.options, expected=plan.expected)
    count, taken = min(session.asking.chunk, max(1, plan.expected)), []
    for _ in range(2):
        start = time.perf_counter()
        session.asking.margins([Category(0)] * count, count, lambda index: pixels.expand(len(index), -1, -1, -1))
        taken.append((time.perf_counter() - start) / count)
    return min(taken)
