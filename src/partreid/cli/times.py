"""Moments as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from partreid.errors import ConfigError, DataError
from partreid.types.gallery import as_time

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, *, now: datetime | None = None) -> datetime:
    """A moment in UTC: "90m" or "2d" ago, "now", a date and time (local where it names no zone), or seconds since 1970.

    Args:
        text: what was typed. now: what "ago" counts from; the present where None.

    Raises:
        ConfigError: it is none of these.

    Example:
        >>> noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
        >>> parse_moment("2h", now=noon).isoformat(), parse_moment("2026-11-23T12:00+01:00").isoformat()
        ('2026-11-23T10:00:00+00:00', '2026-11-23T11:00:00+00:00')
    """
    now = now or datetime.now(UTC)
    text = text.strip()
    try:
        if text == "now":
            return now
        if ago := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])", text):
            return as_time(now - timedelta(**{_UNITS[ago[2]]: float(ago[1])}))
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and len(text) != len("20261123"):
            return as_time(float(text))
        return as_time(datetime.fromisoformat(text).astimezone(UTC))
    except (DataError, ValueError, OverflowError, OSError):
        raise ConfigError(
            f"Cannot read the time {text!r}: expected 90m, 2h or 3d (ago), now, 2026-11-23T14:30 (local time), "
            "2026-11-23T14:30+00:00, or seconds since 1970."
        ) from None
