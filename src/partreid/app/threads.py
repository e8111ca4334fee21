"""The page's threads: one for each job, all daemons: none keeps the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")

_NAME = "partreid page"


def start(job: Callable[[], Result]) -> Future[Result]:
    """Run a job in a thread of its own.

    The program does not wait for its end, as it does for the threads of an executor: a disk or a model may never
    answer.

    Returns:
        The future of its result. It cannot be cancelled.
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
