"""Moments in the forms of programs, of people and of file names. Ambiguous input is refused."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np

from partreid.errors import ConfigError, DataError

Time: TypeAlias = "datetime | int | float"
"""A moment: a datetime with a time zone, or seconds since 1970 in UTC."""

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""What a number of seconds since 1970, or digits without a mark between them, may stand for."""

_WRITTEN = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-_.]?)(?P<month>\d\d)(?P=mark)(?P<day>\d\d)"
    r"(?:(?P<between>[T _-]?)(?P<hour>\d\d)"
    r"(?:(?P<colon>[:._-]?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r" ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


def as_time(value: Time) -> datetime:
    """A moment in UTC, to the microsecond.

    Raises:
        DataError: a datetime without a time zone, or one that its zone's clocks skipped; a number that is not plausible
            as seconds since 1970 (a year, a date as a number, milliseconds, seconds since a video began); or something
            else.
    """
    try:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return _in_utc(value)
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
            return _of_seconds(float(value), f"{value!r:.80}")
    except DataError:  # which is a ValueError too, and says more
        raise
    except (OverflowError, ValueError, OSError):
        pass
    raise DataError(
        f"Expected a time as a datetime with a time zone or as seconds since 1970 in UTC, got {value!r:.80}. "
        "For local time: datetime(...).astimezone()."
    )


def written_time(text: str, *, local: bool = True) -> datetime:
    """The moment that a text states unambiguously, in UTC.

    A date and a time of day: ``2026-11-23T14:30``, ``2026-11-23 14:30:15.5+01:00``, ``20261123``, ``202611231430``,
    ``20261123_143015``, ``2026-11-23_14-30-15``; a date alone means its first moment. ``@1795435200`` means seconds
    since 1970. Other digits are refused, because their meaning is unclear.

    Args:
        text: the text. local: whether a time without a zone is local time; otherwise it is refused.

    Raises:
        DataError: it is none of these; or it is a local time that the clocks skipped, or showed twice.

    Example:
        >>> written_time("20261123T143000Z").isoformat()
        '2026-11-23T14:30:00+00:00'
    """
    text = text.strip()
    if text.startswith("@") and re.fullmatch(r"@\d{1,20}(\.\d{1,9})?", text, re.ASCII):
        return _of_seconds(float(text[1:]), text)
    found = _WRITTEN.fullmatch(text)
    if found is None or not _certain(found):
        raise DataError(_unreadable(text))
    part = {name: int(digits) for name, digits in found.groupdict("0").items() if digits.isdecimal()}
    fraction = timedelta(microseconds=int((found["fraction"] or "0").ljust(9, "0")[:6]))
    try:
        naive = datetime(part["year"], part["month"], part["day"], part["hour"], part["minute"], part["second"])
        naive += fraction
        if found["zone"]:
            zone = datetime.fromisoformat(f"2000-01-01T00:00{found['zone']}").tzinfo
            return _in_utc(naive.replace(tzinfo=zone))
        if not local:
            raise DataError(f"Expected a time with a time zone, such as 2026-11-23T14:30+00:00, got {text!r:.80}.")
        return _local(naive, text, whole_day=found["hour"] is None)
    except DataError:
        raise
    except (OverflowError, ValueError, OSError):
        raise DataError(_unreadable(text)) from None


def _certain(found: re.Match[str]) -> bool:
    """Whether digits can mean nothing else than this date and time."""
    if found["hour"] is not None:
        if not found["between"] and (found["mark"] or found["colon"] or found["minute"] is None):
            return False
        if found["minute"] is None and found["between"] not in ("T", " "):
            return False
    bare = not found["mark"] and not found["between"]
    return not bare or EARLIEST.year <= int(found["year"]) < LATEST.year


def _unreadable(text: str) -> str:
    """What to say of a text that is no certain time."""
    advice = ""
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        number = float(text)
        if len(text) == 4 and EARLIEST.year <= number < LATEST.year:
            advice = f" A year alone: {text}-01-01?"
        elif EARLIEST.timestamp() <= number < LATEST.timestamp():
            advice = f" Seconds since 1970 are written @{text}."
        elif EARLIEST.timestamp() <= number / 1000 < LATEST.timestamp():
            advice = f" Milliseconds since 1970? Write seconds: @{text[:-3]}.{text[-3:]}."
        elif len(text) == 6:
            advice = " A time of day, or a day, alone is no moment."
    return (
        f"Cannot read the time {text!r:.80}: expected 2026-11-23T14:30 (local time), 2026-11-23T14:30+00:00, "
        f"20261123_143015, or @1795435200 (seconds since 1970).{advice}"
    )


def _of_seconds(seconds: float, said: str) -> datetime:
    if EARLIEST.timestamp() <= seconds < LATEST.timestamp():
        return datetime.fromtimestamp(seconds, UTC)
    if not math.isfinite(seconds):
        raise ValueError(said)
    would_be = ""
    if 0 <= seconds < 253402300800:
        would_be = f", which would be {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    advice = "For another time give a datetime with a time zone."
    if EARLIEST.timestamp() <= seconds / 1000 < LATEST.timestamp():
        advice = "These look like milliseconds: divide by 1000."
    elif (found := _WRITTEN.fullmatch(f"{seconds:.0f}")) and _certain(found):
        advice = "This looks like a date: give a datetime with a time zone."
    raise DataError(
        f"{said} is no time of an image as seconds since 1970 in UTC{would_be}: expected a year from 1990 to 2099. "
        f"{advice}"
    )


def _in_utc(value: datetime) -> datetime:
    """An aware datetime in UTC, as a plain one: pandas has its own."""
    found = value.astimezone(UTC)
    back = found.astimezone(value.tzinfo)
    if (back.hour, back.minute, back.second) != (value.hour, value.minute, value.second):
        raise DataError(
            f"{value.isoformat()} does not exist: the clocks were put forward over it. Give the time in UTC, or "
            f"{back.isoformat()}."
        )
    return datetime.combine(found.date(), found.time(), UTC)


def _local(naive: datetime, text: str, *, whole_day: bool) -> datetime:
    """A time of this machine's zone; of a date alone its first moment, whatever the clocks did at midnight."""
    first, second = (naive.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    left_out = first.astimezone().replace(tzinfo=None) != naive
    if whole_day:
        return max(first, second) if left_out else min(first, second)
    choices = " or ".join(found.astimezone().isoformat() for found in (first, second))
    if left_out:
        raise DataError(
            f"There was no {text!r:.80} in local time: the clocks were put forward over it. Write the zone with it: "
            f"{choices}."
        )
    raise DataError(
        f"{text!r:.80} came twice in local time, when the clocks were put back. Write the zone with it: {choices}."
    )


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, *, now: datetime | None = None) -> datetime:
    """A moment in UTC: "90m" or "2d" ago, "now", or what :func:`written_time` reads.

    Args:
        text: the text. now: the moment from which "ago" counts; None = the present.

    Raises:
        ConfigError: it is none of these, or ambiguous.

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
