"""How a library call that takes long tells how far it is: it shows nothing itself, and calls what it was given.

A function that does one job takes ``advance``, a function that it calls with the number of items done since the last
call. A function that does several jobs takes ``progress``, and asks it for an ``advance`` for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

Advance: TypeAlias = Callable[[int], object]
"""Called with the number of items that were done since the last call."""


class Progress(Protocol):
    """Shows how far a job is, for example as a bar.

    Example:
        >>> @contextmanager
        ... def printed(job, total):
        ...     yield lambda count: print(f"{job}: {count} more of {total}")
        >>> with printed("embedding", 8) as advance:
        ...     advance(4)
        embedding: 4 more of 8
    """

    def __call__(self, job: str, total: int, /) -> AbstractContextManager[Advance]:
        """Begin a job of ``total`` items; what it gives is told of the items that are done."""


@contextmanager
def no_progress(job: str, total: int, /) -> Iterator[Advance]:
    """A :class:`Progress` that shows nothing."""
    yield lambda count: None
