"""How long work shows that it goes on, and Ctrl-C that waits for the end of a step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def duration(seconds: float) -> str:
    """`12 s`, `3 min 05 s` or `1 h 20 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def shown(
    total: int,
    show: bool | Callable[[int, int], None] | None,
    what: str,
    unit: str,
    *,
    delay: float = 0.0,
    leave: bool = True,
) -> Iterator[Callable[[int], object]]:
    """A progress bar with the time left, or calls of `show(done, total)`; yields what to call with what was just done.

    Args:
        total: How much there is to do.
        show: Whether to draw a bar, or what to call; None looks whether there is a terminal.
        what: Stands before the bar.
        unit: What is counted.
        delay: Seconds from which on the bar appears, where nobody said that it should.
        leave: Whether the bar stays when all is done.
    """
    from tqdm import tqdm

    if callable(show):
        done = 0

        def add(count: int) -> None:
            nonlocal done
            done += count
            show(done, total)

        yield add
        return
    disable = None if show is None else not show  # None: tqdm looks whether there is a terminal
    wait = delay if show is None else 0.0
    with tqdm(total=total, desc=what, unit=unit, delay=wait, leave=leave, disable=disable or total == 0) as bar:
        yield bar.update


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
