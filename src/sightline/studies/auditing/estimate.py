"""What an audit will cost, from a few images that are tried."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sightline.classifier import Classifier
from sightline.errors import SightlineError
from sightline.progress import duration
from sightline.studies.auditing import edits
from sightline.studies.auditing.engine import cam_maps, other_maps
from sightline.studies.auditing.layers import layer_biases
from sightline.studies.auditing.plan import Plan
from sightline.studies.auditing.source import Loaded

_TRIED, _OTHERS = 8, 2


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        images: To be audited.
        decisions: Attributes times images.
        maps: In all, of all methods and layers.
        edited: Edited images to be asked, at most.
        seconds: Roughly how long all of it takes.
    """

    images: int
    decisions: int
    maps: int
    edited: int
    seconds: float

    def __str__(self) -> str:
        edited = f", up to {self.edited:,} edited images" if self.edited else ""
        work = f"{self.decisions:,} decisions, {self.maps:,} maps{edited}"
        return f"{self.images:,} images to audit: {work}, about {duration(self.seconds)}"


def estimate(plan: Plan, left: Sequence[int]) -> Cost:
    """Cost of what is left, from up to 8 images spread over it: they are read, asked and explained."""
    A, step = len(plan.readout.names), max(1, len(left) // _TRIED)
    start = time.perf_counter()
    tried = [one for one in (_load(plan, place) for place in left[::step][:_TRIED]) if one is not None]
    maps = A * (len(plan.cams) * len(plan.named_layers) + len(plan.others))
    if not tried:
        return Cost(len(left), A * len(left), 0, 0, 0.0)
    reading = (time.perf_counter() - start) / len(tried) / 2  # threads read ahead
    pixels = plan.classifier.check_pixels(torch.stack([one.pixels for one in tried]))
    with torch.no_grad():
        plan.classifier(pixels[:1])  # the first pass makes the replica
        start = time.perf_counter()
        z = plan.readout.z(plan.classifier(pixels))
    asking = (time.perf_counter() - start) / len(pixels)
    edited = edits.passes(plan) if plan.edits else 0
    seconds = reading + edited * asking
    if isinstance(plan.classifier, Classifier) and plan.cams:
        start = time.perf_counter()
        for _ in cam_maps(plan, pixels, torch.zeros_like(z)):
            pass
        seconds += (time.perf_counter() - start) / len(pixels)
    if plan.others:
        some = min(_OTHERS, len(pixels))
        start = time.perf_counter()
        for _ in other_maps(plan, pixels[:some], z[:some]):
            pass
        seconds += (time.perf_counter() - start) / some
    total = seconds * len(left)
    if plan.biased:
        start = time.perf_counter()
        layer_biases(plan, pixels[:1], z[:1].double().cpu())
        total += (time.perf_counter() - start) * min(plan.biased, len(left))
    return Cost(len(left), A * len(left), maps * len(left), edited * len(left), total)


def _load(plan: Plan, place: int) -> Loaded | None:
    try:
        return plan.source.load(place)
    except SightlineError:  # the run itself will say what is wrong
        return None
