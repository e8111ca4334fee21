"""Who may keep the page busy, how long, and with how much memory."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from starlette.requests import ClientDisconnect, Request

from partreid.app.threads import at_work
from partreid.errors import PartReIDError

Result = TypeVar("Result")
_Job: TypeAlias = "tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]"


class BusyError(PartReIDError, RuntimeError):
    """More is asked of the page than it can do now; later it may."""


class Turns:
    """Runs jobs in threads of their own, few at a time; others wait for their turn, or are turned away.

    A job that takes too long is waited for no more, but its turn lasts until it ends. No job keeps the program from
    ending: see :func:`~partreid.app.threads.jobs_at_work`.

    Args:
        together: jobs at a time. waiting: how many more may wait. seconds: for how long an answer is waited for.
    """

    def __init__(self, *, together: int, waiting: int, seconds: float = 60.0) -> None:
        self._turn, self._most, self._there = asyncio.Semaphore(together), together + waiting, 0
        self._seconds = seconds
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads, self._together = 0, together
        weakref.finalize(self, _send_home, self._jobs, together)

    async def run(self, request: Request, job: Callable[[], Result]) -> Result:
        """What the job returns, once it was its turn.

        Raises:
            BusyError: too many wait, or there is no answer in time.
            ClientDisconnect: nobody waits for the answer any more, so the job was not begun.
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
            if self._threads < self._together:
                self._threads += 1
                Thread(target=_work, args=(self._jobs,), name="partreid page", daemon=True).start()
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Result] = loop.create_future()
            self._jobs.put((job, loop, future))
            return await future

    def _ended(self, work: asyncio.Future[Any]) -> None:
        self._there -= 1
        if not work.cancelled():
            work.exception()  # where nobody waits any more, asyncio would complain that nobody asked


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """A thread's life: one job after the other."""
    while (given := jobs.get()) is not None:
        job, loop, future = given
        result, problem = None, None
        with at_work():
            try:
                result = job()
            except BaseException as error:  # whoever waits for the job gets it
                problem = error
        with suppress(RuntimeError):  # the loop is closed: the page has ended
            loop.call_soon_threadsafe(_settle, future, result, problem)
        del job, loop, future, given, result, problem  # images are not kept until the next job comes


def _settle(future: asyncio.Future[Any], result: object, problem: BaseException | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(result)
    else:
        future.set_exception(problem)


def _send_home(jobs: SimpleQueue[_Job | None], threads: int) -> None:
    for _ in range(threads):
        jobs.put(None)


class Budget:
    """Bytes that may be held together.

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
        """Hold so many bytes for a while.

        Raises:
            BusyError: that would be too many.
        """
        if self.taken + amount > self._limit:
            raise BusyError("The page is busy taking other images. Wait a moment, then try again.")
        self.taken += amount
        try:
            yield
        finally:
            self.taken -= amount
