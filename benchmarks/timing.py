"""Timing two things fairly on a shared machine: turn by turn, and the median of the ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Ratio:
    """``what`` took ``seconds``, which is ``ratio`` times the baseline; ``limit`` is what the project aims at."""

    name: str
    seconds: float
    baseline: float
    ratio: float
    limit: float | None


def compare(
    name: str, what: Callable[[], object], baseline: Callable[[], object], *, rounds: int, limit: float | None
) -> Ratio:
    """Run both in turn ``rounds`` times after a warm-up; the ratio is the median of the rounds' ratios.

    CPU time of the whole process is taken, not wall time: other processes on the machine then disturb less.
    """
    for _ in range(2):  # the first calls build convolution plans and grow the memory pool
        what()
        baseline()
    pairs = []
    for turn in range(rounds):
        # The order alternates, so that a machine that slows down or speeds up favours neither.
        first, second = (what, baseline) if turn % 2 else (baseline, what)
        a, b = _seconds(first), _seconds(second)
        pairs.append((a, b) if turn % 2 else (b, a))
    ratios = [w / b for w, b in pairs]
    return Ratio(name, median(w for w, _ in pairs), median(b for _, b in pairs), median(ratios), limit)


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
