"""Threads that read ahead: the order of ``map``, a bound on what waits, and an orderly end."""

from __future__ import annotations

import threading
import time

import pytest

from partreid.datasets.read_ahead import read_ahead


def reading_threads() -> int:
    return sum(thread.name.startswith("read_ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.01 if item == 0 else 0)
        return -item

    assert list(read_ahead(slow_at_first, range(9), threads=threads, ahead=3)) == [-item for item in range(9)]
    assert reading_threads() == 0


@pytest.mark.parametrize(("threads", "ahead"), [(0, 2), (2, 2), (2, 5)])
def test_no_more_items_are_taken_than_may_wait(threads: int, ahead: int) -> None:
    taken: list[int] = []
    items = (taken.append(item) or item for item in range(100))
    results = read_ahead(abs, items, threads=threads, ahead=ahead)
    for done in range(1, 10):
        next(results)
        assert len(taken) == (done + ahead if threads else done)
    results.close()
    assert reading_threads() == 0


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_at_its_place_and_ends_the_threads(threads: int) -> None:
    results = read_ahead(lambda item: 6 // item, [3, 2, 0, 1], threads=threads, ahead=4)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert reading_threads() == 0


def test_a_caller_that_stops_early_waits_for_what_runs_and_cancels_the_rest() -> None:
    called: list[int] = []

    def read(item: int) -> int:
        called.append(item)
        time.sleep(0.02)
        return item

    results = read_ahead(read, range(100), threads=1, ahead=20)
    next(results)
    results.close()
    count = len(called)
    assert count < 20
    assert reading_threads() == 0
    time.sleep(0.05)
    assert len(called) == count
