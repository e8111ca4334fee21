"""Figures, and timing two things fairly on a shared machine: turn by turn, and the median of the ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what was measured, sizes included.
        value: the figure that the limit holds for, in ``unit``: "×" for a ratio, "MB", "images/s", ...
        limit: what the project aims at, or None; a largest value, or a smallest with ``at_least``.
        detail: what stands behind the figure, for the reader: both sides of a ratio in seconds, for one.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False
    detail: str = ""

    @property
    def within(self) -> bool | None:
        """Whether the limit is kept; None without one."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def compare(
    name: str, what: Callable[[], object], baseline: Callable[[], object], *, rounds: int, limit: float | None = None
) -> Figure:
    """How many times the baseline ``what`` takes: both in turn ``rounds`` times after a warm-up, median of the ratios.

    CPU time of the whole process is taken, not wall time: other processes on the machine then disturb less.
    """
    for _ in range(2):  # the first calls build convolution plans and grow the memory pool
        what()
        baseline()
    pairs = []
    for turn in range(rounds):
        # The order alternates, so that a machine that slows down or speeds up favours neither.
        first, second = (what, baseline) if turn % 2 else (baseline, what)
        a, b = cpu_seconds(first), cpu_seconds(second)
        pairs.append((a, b) if turn % 2 else (b, a))
    mine, theirs = median(w for w, _ in pairs), median(b for _, b in pairs)
    return Figure(name, median(w / b for w, b in pairs), "×", limit, detail=f"{mine:.3f} s against {theirs:.3f} s")


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU seconds that a call takes in this process, all threads together."""
    start = time.process_time()
    call()
    return time.process_time() - start
