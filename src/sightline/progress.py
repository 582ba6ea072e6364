"""How long work shows that it goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def shown(
    total: int, show: bool | Callable[[int, int], None] | None, what: str, unit: str
) -> Iterator[Callable[[int], object]]:
    """A progress bar, or calls of `show(done, total)`.

    Args:
        total: How much there is to do.
        show: Whether to draw a bar, or what to call; None looks whether there is a terminal.
        what: Stands before the bar.
        unit: What is counted.

    Yields:
        What to call with how much was just done.
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
    disable = None if show is None else not show
    with tqdm(total=total, desc=what, unit=unit, disable=disable or total == 0) as bar:
        yield bar.update
