"""Limits on requests: how many run at once, how long they may take, how much memory their bodies may hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from partreid.app.threads import start
from partreid.errors import PartReIDError

Result = TypeVar("Result")


class BusyError(PartReIDError, RuntimeError):
    """The page has too much to do now; it may answer later."""


class Turns:
    """Runs jobs in threads, a few at a time. Others wait for their turn, or are refused.

    Nobody waits longer than ``seconds`` for a job, but the job keeps its turn until it ends. No job keeps the program
    from ending: see :func:`~partreid.app.threads.start`.

    Args:
        together: jobs at a time. waiting: number of jobs that may wait. seconds: the longest wait for an answer.
    """

    def __init__(self, *, together: int, waiting: int, seconds: float = 60.0) -> None:
        self._turn, self._most, self._there = asyncio.Semaphore(together), together + waiting, 0
        self._seconds = seconds

    async def run(self, request: Request, job: Callable[[], Result]) -> Result:
        """The job's result, after its turn has come.

        Raises:
            BusyError: too many jobs wait, or there is no answer in time.
            ClientDisconnect: the client has left, and the job was not begun.
        """
        if self._there >= self._most:
            raise BusyError("The page is busy with other requests. Wait a moment, then try again.")
        self._there += 1
        begun = asyncio.Event()
        work = asyncio.ensure_future(self._in_turn(request, job, begun))
        work.add_done_callback(self._ended)
        done, _ = await asyncio.wait([work], timeout=self._seconds)
        if done:
            return work.result()
        if not begun.is_set():
            work.cancel()
        raise BusyError(
            f"There was no answer within {self._seconds:g} seconds: the page is busy, or the disk or the server that "
            "the gallery lies on does not answer. Try again later."
        )

    async def _in_turn(self, request: Request, job: Callable[[], Result], begun: asyncio.Event) -> Result:
        async with self._turn:
            if await request.is_disconnected():
                raise ClientDisconnect
            begun.set()
            return await asyncio.wrap_future(start(job))

    def _ended(self, work: asyncio.Future[Any]) -> None:
        self._there -= 1
        if not work.cancelled():
            work.exception()  # otherwise asyncio reports an error that nobody has fetched


async def run_soon(job: Callable[[], Result], *, seconds: float, problem: str) -> Result:
    """The result of a short job that reads or writes a file. It does not wait for a turn.

    Raises:
        BusyError: it takes longer than ``seconds``; the message is ``problem``.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(start(job))
    except TimeoutError:
        raise BusyError(problem) from None


class Budget:
    """A number of bytes that bodies may take together.

    Example:
        >>> budget = Budget(100)
        >>> with budget.take(80), budget.take(30):
        ...     pass
        Traceback (most recent call last):
        partreid.app.turns.BusyError: The page is busy taking other images. Wait a moment, then try again.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self.taken = limit, 0

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Reserve bytes for as long as the block runs.

        Raises:
            BusyError: too few are left.
        """
        if self.taken + amount > self._limit:
            raise BusyError("The page is busy taking other images. Wait a moment, then try again.")
        self.taken += amount
        try:
            yield
        finally:
            self.taken -= amount
