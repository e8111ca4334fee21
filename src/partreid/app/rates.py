"""A limit on how often somebody may ask."""

from __future__ import annotations

import time
from collections.abc import Callable

from partreid.app.recent import Recent

_MOST_KEYS = 10_000


class RateLimit:
    """A token bucket for each key. It allows a minute's requests at once, then the same number per minute, evenly.

    Args:
        per_minute: requests. clock: seconds that never go back.

    Example:
        >>> now = [0.0]
        >>> rate = RateLimit(60, clock=lambda: now[0])
        >>> [rate.take("anna", cost=30), rate.take("anna", cost=30), rate.take("anna"), rate.take("ben")]
        [0.0, 0.0, 1.0, 0.0]
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._levels = Recent[tuple[float, float]](_MOST_KEYS)  # what is left, and at which time

    def take(self, key: str, cost: float = 1.0) -> float:
        """Count a request. Returns 0.0 if it may be answered, otherwise the seconds to wait."""
        now = self._clock()
        left, since = self._levels.get(key) or (float(self.per_minute), now)
        left = min(float(self.per_minute), left + (now - since) * self.per_minute / 60)
        wait = max(0.0, cost - left) * 60 / self.per_minute
        self._levels.put(key, (left if wait else left - cost, now))
        return wait
