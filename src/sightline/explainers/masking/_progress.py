"""Progress of long work, and Ctrl-C that waits for the end of a step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LONG = 3.0  # seconds from which on a progress bar appears


@contextmanager
def shown(
    name: str, total: int, how: str, show: bool | Callable[[int, int], None] | None
) -> Iterator[Callable[[int], object]]:
    """A progress bar, or calls of `show(done, total)`; yields what to call with the passes just done."""
    from tqdm import tqdm

    if callable(show):
        yield _Counter(show, total).add
        return
    title = f"{name}: {total} passes ({how})"
    disable = None if show is None else not show  # None: tqdm looks whether there is a terminal
    delay = _LONG if show is None else 0
    with tqdm(total=total, desc=title, unit="pass", delay=delay, disable=disable, leave=False) as bar:
        yield bar.update


class _Counter:
    """Adds up the passes for a caller who draws progress himself."""

    def __init__(self, tell: Callable[[int, int], None], total: int) -> None:
        self.tell, self.done, self.total = tell, 0, total

    def add(self, passes: int) -> None:
        self.done += passes
        self.tell(self.done, self.total)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted instead of raised, so that a step is never cut in two; only in the main thread."""
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
