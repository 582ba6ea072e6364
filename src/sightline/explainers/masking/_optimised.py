"""What methods share that find a mask by gradient steps: rows in chunks, progress, Ctrl-C, memory that is short."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sightline import target as targets
from sightline.explainers.masking._engine import Engine
from sightline.explainers.masking._masker import Masker
from sightline.explainers.masking._memory import halved, release
from sightline.explainers.masking._progress import shown
from sightline.explainers.question import Estimate, Probed
from sightline.progress import deferred_interrupt

_ROWS = 4  # at once, unless the caller says otherwise: each of them keeps the graph of a whole forward pass
_WARM = 3  # steps from which an estimate is made; the first one is left out


def under_masks(engine: Engine) -> Callable[[Tensor, Tensor], Tensor]:
    """The scores (n,) of some rows (n,) under masks (n, H, W) in [0, 1], differentiable in the masks."""
    question = engine.question
    masker = Masker(question, engine.options, [engine.generator(b) for b in range(len(question.pixels))])
    base, change, _ = masker.form(True)
    twin = question.model.twin()

    def score(rows: Tensor, M: Tensor) -> Tensor:
        image = question.image[rows]
        x = base[image] + M[:, None].to(base) * change[image]
        outputs = question.model.scores(twin, x, engine.options.precision)
        return targets.scores([question.targets[r] for r in rows.tolist()], outputs)

    return score


class Steps:
    """Counts passes for the progress, the estimate and Ctrl-C; to be called with the passes of each step."""

    def __init__(self, engine: Engine, passes: int, advance: Callable[[int], object], pressed: Callable[[], bool]):
        self.engine, self.passes, self.advance, self.pressed = engine, passes, advance, pressed
        self.done = self._calls = self._warm = 0
        self._start = time.perf_counter()

    def __call__(self, count: int) -> None:
        """Note a step; Ctrl-C sets `engine.stopped` here, so that a step is never cut in two."""
        self.done += count
        self._calls += 1
        if self.engine.question.probe:
            self._estimate()
        self.advance(count)
        if self.pressed() and self.engine.stopped is None:
            self.engine.stopped = KeyboardInterrupt()

    def back_to(self, done: int) -> None:
        """Passes after these were lost."""
        self.advance(done - self.done)
        self.done = done

    def _estimate(self) -> None:
        if self._calls >= _WARM or self.done >= self.passes:
            each = (time.perf_counter() - self._start) / max(1, self.done - self._warm)
            raise Probed(Estimate(self.passes, each * self.passes, _how(self.engine)))
        if self._calls == 1:
            self._start, self._warm = time.perf_counter(), self.done


def in_chunks(engine: Engine, each: int, work: Callable[[Tensor, Steps], Tensor]) -> Tensor:
    """Maps (N, h, w) of all rows, a few at a time; fewer where memory runs out.

    Args:
        engine: Gets the record.
        each: Steps of a row.
        work: (rows (n,), steps) -> (n, h, w). It calls `steps(n)` after each step, and ends when `engine.stopped` is
            set, with what it has.
    """
    rows, room, found = torch.arange(len(engine.question.targets)), engine.options.chunk or _ROWS, list[Tensor]()
    start = 0
    with _steps(engine, each * len(rows)) as steps:
        while start < len(rows):
            part, done = rows[start : start + room], steps.done
            try:
                found.append(work(part, steps))
            except (RuntimeError, MemoryError) as reason:
                room = halved(reason, len(part), engine.name)
            else:
                start += len(part)
                continue
            steps.back_to(done)
            release()  # out here: the exception holds what was in memory
    engine.record["chunk"] = room
    return torch.cat(found)


@contextmanager
def _steps(engine: Engine, passes: int) -> Iterator[Steps]:
    options = engine.options
    with shown(engine.name, passes, _how(engine), options.progress) as advance, deferred_interrupt() as pressed:
        steps = Steps(engine, passes, advance, pressed)
        yield steps
    engine.record = {
        "fill": options.fill if isinstance(options.fill, str) else "given image",
        "space": options.space,
        "backend": "eager",
        "precision": options.precision or engine.question.model.precision,
        "masks": [passes],
        "passes": [steps.done],
        "complete": engine.stopped is None,
    }


def _how(engine: Engine) -> str:
    return f"eager, {engine.options.precision or engine.question.model.precision}"
