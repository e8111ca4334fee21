"""Moments as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from partreid.errors import ConfigError, DataError
from partreid.types.moments import as_time, written_time

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, *, now: datetime | None = None) -> datetime:
    """A moment in UTC: "90m" or "2d" ago, "now", or what :func:`~partreid.types.moments.written_time` reads.

    Args:
        text: what was typed. now: what "ago" counts from; the present where None.

    Raises:
        ConfigError: it is none of these, or not certain.

    Example:
        >>> noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
        >>> parse_moment("2h", now=noon).isoformat(), parse_moment("2026-11-23T12:00+01:00").isoformat()
        ('2026-11-23T10:00:00+00:00', '2026-11-23T11:00:00+00:00')
    """
    now = now or datetime.now(UTC)
    text = text.strip()
    if text == "now":
        return now
    try:
        if ago := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])", text):
            return as_time(now - timedelta(**{_UNITS[ago[2]]: float(ago[1])}))
        return written_time(text)
    except OverflowError:
        raise ConfigError(f"Cannot read the time {text!r:.80}: it lies before all calendars.") from None
    except DataError as error:
        ago_too = f" Did you mean {text}d or {text}h (ago)?" if re.fullmatch("[0-9]{1,3}", text) else ""
        raise ConfigError(f"{error} Or 90m, 2h or 3d (ago), or now.{ago_too}") from None
