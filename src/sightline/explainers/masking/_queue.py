"""Which masks are asked next: images take turns, and the plans of one image advance together."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sightline.explainers.masking._plan import Job

Part = tuple[int, Tensor]
"""(number of a job, the masks of it to ask (m,))."""


@dataclass
class _Line:
    """What is left to ask of one image: job numbers and mask numbers, in order."""

    job: Tensor
    mask: Tensor
    at: int = 0
    limit: int = 0


@dataclass
class Queue:
    """All masks of all jobs in a balanced order.

    Attributes:
        jobs: What to ask.
        budget: Masked passes an image at most, or None.
        seconds: Stop after so long, once every image had a turn.
    """

    jobs: Sequence[Job]
    budget: int | None = None
    seconds: float | None = None
    passes: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lines = {image: self._line(image) for image in sorted({job.image for job in self.jobs})}
        self._turn = list(self._lines)
        self._rest: list[Part] = []
        self._start = time.monotonic()
        self.total = self.left
        self.passes = {image: sum(int(j.known.sum()) for j in self.jobs if j.image == image) for image in self._lines}

    def _line(self, image: int) -> _Line:
        numbers, masks, keys = [], [], []
        for number, job in enumerate(self.jobs):
            if job.image != image:
                continue
            place = (torch.arange(len(job.order)) + 0.5) / len(job.order)  # plans of an image advance at one pace
            open_ = ~job.known[job.order]
            masks.append(job.order[open_])
            keys.append(place[open_])
            numbers.append(torch.full((int(open_.sum()),), number))
        order = torch.cat(keys).argsort(stable=True)
        line = _Line(torch.cat(numbers)[order], torch.cat(masks)[order])
        done = sum(int(j.known.sum()) for j in self.jobs if j.image == image)
        line.limit = len(order) if self.budget is None else max(0, min(len(order), self.budget - done))
        return line

    @property
    def left(self) -> int:
        """Masks still to ask."""
        return sum(line.limit - line.at for line in self._lines.values()) + sum(len(m) for _, m in self._rest)

    def take(self, room: int) -> list[Part]:
        """The next masks to ask, at most `room`; none when all is done or time is up."""
        if self.seconds is not None and time.monotonic() - self._start > self.seconds and self._all_begun():
            return []
        parts: list[Part] = []
        while room > 0 and (self._rest or self._turn):
            found = self._again(room) if self._rest else self._next(room)
            parts.extend(found)
            room -= sum(len(m) for _, m in found)
        return parts

    def _all_begun(self) -> bool:
        return not self._rest and all(bool(job.known.any()) for job in self.jobs)

    def _again(self, room: int) -> list[Part]:
        number, masks = self._rest.pop(0)
        if len(masks) > room:
            self._rest.insert(0, (number, masks[room:]))
        return [(number, masks[:room])]

    def _next(self, room: int) -> list[Part]:
        image = self._turn.pop(0)
        line = self._lines[image]
        part = slice(line.at, min(line.at + room, line.limit))
        line.at = part.stop
        if line.at < line.limit:
            self._turn.append(image)
        return list(_by_job(line.job[part], line.mask[part]))

    def give_back(self, parts: Sequence[Part]) -> None:
        """Ask these again: they did not fit into memory."""
        self._rest = [*parts, *self._rest]

    def answered(self, parts: Sequence[Part]) -> None:
        """Count what was asked."""
        for number, masks in parts:
            self.passes[self.jobs[number].image] += len(masks)

    def finish(self, image: int) -> None:
        """Ask no more of an image."""
        self._lines[image].limit = self._lines[image].at
        self._turn = [i for i in self._turn if i != image]


def _by_job(jobs: Tensor, masks: Tensor) -> Iterator[Part]:
    for number in sorted(set(jobs.tolist())):
        yield number, masks[jobs == number]


def by_image(jobs: Sequence[Job], parts: Sequence[Part], size: int) -> Iterator[list[Part]]:
    """Parts in chunks of at most `size` masks of one image each."""
    chunk: list[Part] = []
    room = size
    for number, masks in parts:
        rest = masks
        while len(rest) > 0:
            if room == 0 or (chunk and jobs[chunk[0][0]].image != jobs[number].image):
                yield chunk
                chunk, room = [], size
            chunk.append((number, rest[:room]))
            rest, room = rest[room:], max(0, room - len(rest))
    if chunk:
        yield chunk
