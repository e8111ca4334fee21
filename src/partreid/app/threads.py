"""The page's threads: one for each job, all daemons, so that none keeps the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")

_NAME = "partreid page"


def start(job: Callable[[], Result]) -> Future[Result]:
    """Run a job in a thread of its own.

    Unlike the threads of an executor, it does not hold up the end of the program: a disk or a model may never answer.

    Returns:
        What will hold its result or its error. Nobody can cancel it.
    """
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # whoever waits for the job gets it
            future.set_exception(error)

    threading.Thread(target=work, name=_NAME, daemon=True).start()
    return future


def jobs_at_work() -> int:
    """How many jobs run now: a program that ends leaves them unfinished."""
    return sum(thread.name == _NAME for thread in threading.enumerate())
