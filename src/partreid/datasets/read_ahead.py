"""Threads that read the next items while the caller works on the present one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int) -> Generator[R, None, None]:
    """``map(function, items)``, computed ahead by threads; results and errors come in the order of the items.

    Threads are enough for images: decoding and resizing release the interpreter's lock. A caller that stops early
    closes the generator, which waits for the calls that are running and cancels the others.

    Args:
        function: called in the threads. items: read in the caller's thread when results are needed.
        threads: 0 computes each result when it is asked for. ahead: the largest number of results that wait or are
            being computed, in addition to the caller's.

    Example:
        >>> list(read_ahead(len, ["a", "bc", "def"], threads=2, ahead=2))
        [1, 2, 3]
    """
    if not threads:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read_ahead")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
