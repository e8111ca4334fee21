"""The page's threads: one for each job. All are daemons, so none keeps the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")

_NAME = "partreid page"


def start(job: Callable[[], Result]) -> Future[Result]:
    """Run a job in its own thread.

    Unlike with an executor's threads, the program does not wait for its end, because a disk or a model may never
    answer.

    Returns:
        The future of its result. It cannot be cancelled.
    """
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # whoever waits for the job gets the error
            future.set_exception(error)

    threading.Thread(target=work, name=_NAME, daemon=True).start()
    return future


def jobs_at_work() -> int:
    """The number of running jobs. A program that ends leaves them unfinished."""
    return sum(thread.name == _NAME for thread in threading.enumerate())
