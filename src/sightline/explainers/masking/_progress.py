"""Progress of masked passes."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from sightline import progress

_LONG = 3.0  # seconds from which on a progress bar appears


def shown(
    name: str, total: int, how: str, show: bool | Callable[[int, int], None] | None
) -> AbstractContextManager[Callable[[int], object]]:
    """A progress bar of passes by some backend that goes when all is done; see `sightline.progress.shown`."""
    return progress.shown(total, show, f"{name}: {total} passes ({how})", "pass", delay=_LONG, leave=False)
