"""The engine: it asks the classifier about masked images, chunk by chunk, and nothing it learns is lost."""

import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sightline import target as targets
from sightline.classifier import BlackBox
from sightline.errors import MethodError, SightlineWarning
from sightline.explainers.masking import _anytime
from sightline.explainers.masking._checkpoint import Checkpoint
from sightline.explainers.masking._forward import Forward, forward_for
from sightline.explainers.masking._masker import Masker
from sightline.explainers.masking._memory import chunk_for, halved, release
from sightline.explainers.masking._options import Options
from sightline.explainers.masking._plan import Job, Plan
from sightline.explainers.masking._progress import shown
from sightline.explainers.masking._queue import Part, Queue, by_image
from sightline.explainers.question import Estimate, Probed, Question, generator_for

Reading = Literal["score", "probability", "probabilities"]
_FIRST_CHECK, _NEXT_CHECK = 48, 1.4  # passes an image before the first estimate of the error, and its growth
_AHEAD = 4  # chunks whose masks are made at once where the forward pass masks by itself


class Engine:
    """One call's way to ask about masked images.

    Attributes:
        question: What is asked.
        options: How.
        stopped: What ended the asking early (Ctrl-C, an error of the model); raised by the caller with the partial map.
        record: What goes into the provenance.
    """

    def __init__(self, question: Question, name: str, options: Options, settings: dict[str, Any]) -> None:
        self.question, self.name, self.options, self.settings = question, name, options, settings
        self.stopped: BaseException | None = None
        self.record: dict[str, Any] = {}
        self._warned = False
        if isinstance(question.classifier, BlackBox):
            _check_black_box(options)

    def generator(self, image: int) -> torch.Generator:
        """A source of random numbers that depends on the seed and the image's content alone."""
        return generator_for(self.question.pixels[image], self.question.seed)

    def job(
        self, image: int, rows: Sequence[int], plan: Plan, *, shuffle: bool = True, first: int | None = None
    ) -> Job:
        """A plan for an image, read off for some rows; masks that are not random already are asked in random order.

        `first` is a mask that all others are compared with: it is asked before them.
        """
        count = plan.count
        order = torch.randperm(count, generator=self.generator(image)) if shuffle else torch.arange(count)
        if first is not None:
            order = torch.cat([torch.tensor([first]), order[order != first]])
        return Job(image, tuple(rows), plan, order, known=torch.zeros(count, dtype=torch.bool))

    def run(self, jobs: Sequence[Job], reading: Reading = "score") -> None:
        """Ask until all masks are known, the budget is spent or the error is small enough.

        An interruption or a failure leaves what is known in the jobs and is kept in `stopped`.
        """
        self.question.ask()
        checkpoint = self._resume(jobs, reading)
        queue = Queue(jobs, self.options.passes, self.options.seconds)
        forward = self._forward(queue.total)
        size = self.options.chunk or chunk_for(self.question.classifier, self.question.size)
        if self.question.probe:
            raise Probed(self._estimate(queue, forward, size))
        try:
            with shown(
                self.name, queue.total, f"{forward.name}, {forward.precision}", self.options.progress
            ) as advance:
                size = self._ask(queue, forward, size, reading, checkpoint, advance)
        except BaseException as reason:
            if not all(bool(job.known.any()) for job in jobs):
                raise
            self.stopped = reason
        finally:
            if checkpoint is not None:
                checkpoint.close()
        self._note(jobs, queue, forward, size)

    def _forward(self, passes: int) -> Forward:
        forward = forward_for(self.question.classifier, self.question.size, self.options, passes, masks=True)
        self._masker = Masker(
            self.question, self.options, [self.generator(b) for b in range(len(self.question.pixels))]
        )
        return forward

    def _ask(
        self, queue: Queue, forward: Forward, size: int, reading: Reading, checkpoint: Checkpoint | None, advance: Any
    ) -> int:
        check: dict[int, float] = {}
        while chunks := _chunks(queue, forward, size):
            try:
                for parts, outputs in self._outputs(queue.jobs, chunks, forward, size):
                    self._read(queue.jobs, parts, outputs, reading, checkpoint)
                    queue.answered(parts)
                    chunks = chunks[1:]
                    self._warn(forward)
                    if self.options.tolerance is not None:
                        self._settle(queue, parts, check, self.options.tolerance)
                    advance(sum(len(m) for _, m in parts))
                continue
            except (RuntimeError, MemoryError) as reason:
                size = halved(reason, size, self.name)
            queue.give_back([part for parts in chunks for part in parts])
            release()  # out here: the exception holds what was in memory
        return size

    def _warn(self, forward: Forward) -> None:
        """Say once that the backend that was asked for by name is not the one that answers; `auto` only records it."""
        wanted = self.options.backend
        if forward.note and wanted not in ("auto", forward.name) and not self._warned:
            self._warned = True
            text = f"{self.name}: {forward.name} answers in place of backend={wanted!r}: {forward.note}"
            warnings.warn(text, SightlineWarning, stacklevel=2)

    def _estimate(self, queue: Queue, forward: Forward, size: int) -> Estimate:
        total, seconds = queue.total, 0.0
        for _ in range(3):  # the first one converts, checks and warms up
            if not (chunks := _chunks(queue, forward, size)):
                break
            start = time.perf_counter()
            count = sum(len(outputs) for _, outputs in self._outputs(queue.jobs, chunks, forward, size))
            seconds = (time.perf_counter() - start) / count
        limit = self.options.seconds
        whole = total * seconds
        return Estimate(total, whole if limit is None else min(whole, limit), f"{forward.name}, {forward.precision}")

    def _outputs(
        self, jobs: Sequence[Job], chunks: Sequence[list[Part]], forward: Forward, size: int
    ) -> Iterator[tuple[list[Part], Tensor]]:
        """Each chunk and what the classifier says of it; masks of all chunks are made before the first pass."""
        held = [[(jobs[n], m) for n, m in parts] for parts in chunks]
        made = [self._masker.masked(parts) for parts in held] if forward.masks else []
        for number, parts in enumerate(chunks):
            with torch.no_grad():  # not across a yield: it would be the caller's as well
                if forward.masks:
                    outputs = forward(*made[number])
                else:
                    outputs = forward(self._masker(held[number], forward.channels_last, size * forward.constant))
            yield parts, outputs[: sum(len(m) for _, m in parts)]

    def _read(
        self,
        jobs: Sequence[Job],
        parts: Sequence[Part],
        outputs: Tensor,
        reading: Reading,
        checkpoint: Checkpoint | None,
    ) -> None:
        start = 0
        for number, masks in parts:
            job, part = jobs[number], outputs[start : start + len(masks)]
            values = self._values(job, part, reading)
            job.learn(masks, values)
            if checkpoint is not None:
                checkpoint.add(number, masks, values)
            start += len(masks)

    def _values(self, job: Job, outputs: Tensor, reading: Reading) -> Tensor:
        if reading == "probabilities":
            several = self.question.classifier.decision in ("categorical", "segmentation")
            p = outputs.softmax(1) if several else outputs.sigmoid()
            return p.flatten(2).mean(2).T if p.ndim == 4 else p.T  # (C, m)
        read = targets.scores if reading == "score" else targets.probabilities
        return torch.stack([read([self.question.targets[r]] * len(outputs), outputs) for r in job.rows])

    def _settle(self, queue: Queue, parts: Sequence[Part], check: dict[int, float], tolerance: float) -> None:
        for image in {queue.jobs[n].image for n, _ in parts}:
            asked = queue.passes[image]
            if asked < check.setdefault(image, _FIRST_CHECK):
                continue
            check[image] = asked * _NEXT_CHECK
            mine = [job for job in queue.jobs if job.image == image]
            if all(float(_anytime.error(job).max()) <= tolerance for job in mine):
                queue.finish(image)

    def _resume(self, jobs: Sequence[Job], reading: Reading) -> Checkpoint | None:
        path = self.options.checkpoint
        if path is None:
            return None
        q, o = self.question, self.options
        fill = o.fill if isinstance(o.fill, str) else zlib.crc32(o.fill.detach().cpu().contiguous().numpy().tobytes())
        content = [zlib.crc32(x.cpu().contiguous().numpy().tobytes()) for x in q.pixels]
        asked = (self.name, sorted(self.settings.items()), fill, o.space, o.precision, reading, q.seed, q.named)
        counts = [(job.image, job.rows, job.plan.count) for job in jobs]
        return Checkpoint(path, (*asked, content, q.targets, q.classifier.describe(), counts), jobs)

    def _note(self, jobs: Sequence[Job], queue: Queue, forward: Forward, size: int) -> None:
        worst = torch.zeros(len(self.question.targets))
        for job in jobs:
            job.error = _anytime.error(job)
            for row, value in zip(
                job.rows, job.error.expand(len(job.rows)) if len(job.error) == 1 else job.error, strict=True
            ):
                worst[row] = torch.maximum(worst[row], value)
        o = self.options
        self.record = {
            "fill": o.fill if isinstance(o.fill, str) else "given image",
            "space": o.space,
            "backend": forward.name,
            "precision": forward.precision,
            "chunk": size,
            "masks": [sum(j.plan.count for j in jobs if j.image == b) for b in queue.passes],
            "passes": list(queue.passes.values()),
            "complete": all(job.complete for job in jobs),
            "error": [round(float(e), 6) if e.isfinite() else None for e in worst],
            **({"note": forward.note} if forward.note else {}),
        }


def _chunks(queue: Queue, forward: Forward, size: int) -> list[list[Part]]:
    """What is asked next, by forward passes."""
    if forward.masks:
        return list(by_image(queue.jobs, queue.take(size * _AHEAD), size))
    parts = queue.take(size)
    return [parts] if parts else []


def _check_black_box(options: Options) -> None:
    """Refuse what a black box would ignore.

    Raises:
        MethodError: A space, a precision or a backend that needs a model.
    """
    if options.space == "normalised":
        raise MethodError("a BlackBox has no normalised space; leave space= at 'pixels'")
    if options.precision is not None or options.backend not in ("auto", "eager"):
        raise MethodError("a BlackBox is called as it is; leave precision= and backend= away")
