"""Files read by threads ahead of use, in order."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sightline.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Sequence[Item], read: Callable[[Item], Result], *, workers: int, ready: int
) -> Generator[tuple[Item, Result | InputError], None, None]:
    """Every item in order with what `read` gives for it, or with why it was refused.

    Args:
        items: What to read.
        read: Called in the threads; an InputError is a result like any other.
        workers: Threads; 0 reads in the caller's.
        ready: How many results may lie ready, beside two a thread.
    """

    def attempt(item: Item) -> Result | InputError:
        try:
            return read(item)
        except InputError as error:
            return error

    if workers == 0:
        yield from ((item, attempt(item)) for item in items)
        return
    waiting: deque[tuple[Item, Future[Result | InputError]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sightline-read")
    try:
        for item in items:
            waiting.append((item, pool.submit(attempt, item)))
            if len(waiting) >= ready + 2 * workers:
                item, future = waiting.popleft()
                yield item, future.result()
        while waiting:
            item, future = waiting.popleft()
            yield item, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
