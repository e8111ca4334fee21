"""What the page's threads are at. They are daemons: none keeps the program from ending."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_count, _count_lock = [0], Lock()


@contextmanager
def at_work() -> Iterator[None]:
    """Count what a thread does here as a job, for :func:`jobs_at_work`."""
    with _count_lock:
        _count[0] += 1
    try:
        yield
    finally:
        with _count_lock:
            _count[0] -= 1


def jobs_at_work() -> int:
    """How many jobs the page's threads are at: a program that ends now leaves them unfinished."""
    return _count[0]
