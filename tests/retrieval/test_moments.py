"""Times as people and file names write them: what is certain is read, a guess is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import ConfigError, DataError
from partreid.retrieval import Filter
from partreid.retrieval.filling import Naming
from partreid.types import GalleryItem
from partreid.types.moments import as_time, parse_moment, written_time


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T14:30",
        "2026-11-23 14:30:00",
        "2026-11-23_14-30-00",
        "2026.11.23 14.30",
        "20261123T1430",
        "20261123T143000",
        "20261123_143000",
        "20261123-1430",
        "202611231430",
        "20261123143000",
        "2026-11-23T13:30Z",
        "20261123T133000.000000Z",
        "2026-11-23T08:30:00-05",
        "2026-11-23T19:00+05:30",
        "@1795440600",
        " 2026-11-23T14:30 ",
    ],
)
def test_ways_to_write_one_moment(berlin: None, text: str) -> None:
    moment = datetime(2026, 11, 23, 13, 30, tzinfo=UTC)
    assert written_time(text) == parse_moment(text) == moment
    assert Naming("(?P<time>.+)").item(text).time == moment


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("30", r"30d or 30h \(ago\)"),
        ("2027", r"2027-01-01\?"),
        ("143000", "A time of day"),
        ("1764412800", "written @1764412800"),
        ("1764412800.5", "written @1764412800.5"),
        ("1764412800000", r"Milliseconds.*@1764412800\.000"),
        ("2026112314", "written @2026112314"),
        ("2026-11", "expected 2026"),
        ("20261340", "expected"),
        ("00012345", "expected"),
        ("20261123-14", "expected"),
        ("2026112391430", "expected"),
        ("20261123143000123", "expected"),
        ("2026-11-23T25:00", "expected"),
        ("2026-11-23T14:30+99:99", "expected"),
        ("23.11.2026", "expected"),
        ("12/11/2026", "expected"),
        ("@0", "1970-01-01 00:00:00"),
        ("@202611231430", "8390.*looks like a date"),
        ("@1764412800000", "milliseconds"),
        ("@" + "9" * 30, "expected"),
        ("0001-01-01", "expected"),
        ("9999-12-31T23:59-23:00", "expected"),
    ],
)
def test_what_is_a_guess_is_refused(berlin: None, text: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        parse_moment(text)
    with pytest.raises(DataError, match="in the name"):
        Naming("(?P<time>.+)").item(text)
    with pytest.raises(ConfigError):
        Filter(since=text)  # type: ignore[arg-type]


def test_clocks_that_are_put_forward_and_back(berlin: None) -> None:
    with pytest.raises(ConfigError, match=r"no '2026-03-29T02:30' in local time.*\+0"):
        parse_moment("2026-03-29T02:30")
    with pytest.raises(ConfigError, match=r"came twice .*2026-10-25T02:30:00\+02:00 or 2026-10-25T02:30:00\+01:00"):
        parse_moment("202610250230")
    assert parse_moment("2026-10-25T02:30+01:00") == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert parse_moment("2026-03-29T01:59:59.999999") == datetime(2026, 3, 29, 0, 59, 59, 999999, tzinfo=UTC)
    assert parse_moment("2026-03-29T03:00") == datetime(2026, 3, 29, 1, tzinfo=UTC)
    gap = datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    with pytest.raises(DataError, match="does not exist"):
        as_time(gap)
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert as_time(twice.replace(fold=1)) - as_time(twice) == timedelta(hours=1)


def test_a_date_is_its_first_moment_though_there_was_no_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Africa/Cairo")
    time.tzset()
    try:
        assert parse_moment("2026-04-24") == datetime(2026, 4, 23, 22, tzinfo=UTC)  # 01:00 there
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "1970-01-01 00:00:00"),
        (12.5, "1970-01-01 00:00:12"),
        (30, "would be 1970"),
        (2027, "1970-01-01 00:33:47"),
        (20261123, "looks like a date"),
        (202611231430, "8390.*looks like a date"),
        (1764412800000, "divide by 1000"),
        (np.int64(1764412800000), "divide by 1000"),
        (-5, "seconds since 1970"),
        (1e300, "seconds since 1970"),
        (float("inf"), "seconds since 1970"),
        (10**400, "seconds since 1970"),
        (datetime(2026, 1, 1), "with a time zone"),
        (np.datetime64("2026-01-01"), "with a time zone"),
        ("2026-01-01T00:00Z", "with a time zone"),
    ],
)
def test_numbers_that_are_no_time_of_a_image(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        GalleryItem("a", time=value)
    if not isinstance(value, str):
        with pytest.raises(ConfigError, match=message):
            Filter(until=value)


def test_true_is_no_moment() -> None:
    with pytest.raises(DataError, match="seconds since 1970"):
        GalleryItem("a", time=True)
    with pytest.raises(ConfigError, match="until = True: .*not true or false"):
        Filter(until=True)


def test_moments_of_other_libraries() -> None:
    pandas = pytest.importorskip("pandas")
    seen = pandas.Timestamp("2026-11-23 14:30:00.123456789", tz="Europe/Berlin")
    found = GalleryItem("a", time=seen).time
    assert (type(found), found) == (datetime, datetime(2026, 11, 23, 13, 30, 0, 123456, tzinfo=UTC))
    for unknown in (pandas.NaT, pandas.NA, None, float("nan"), np.float32("nan"), np.datetime64("NaT"), ""):
        assert GalleryItem("a", time=unknown).time is None
    with pytest.raises(ConfigError):  # a condition on nothing known is a mistake
        Filter(since=pandas.NaT)


@settings(derandomize=True, deadline=None)
@given(st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 30)), st.integers(-14 * 60, 14 * 60))
def test_what_is_written_is_read(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    for text in (zoned.isoformat(), zoned.isoformat(" "), f"{zoned:%Y%m%dT%H%M%S.%f%z}", f"@{zoned.timestamp():.6f}"):
        assert abs(written_time(text) - zoned) <= timedelta(microseconds=1)
        assert abs(Filter(since=text).since - zoned) <= timedelta(microseconds=1)  # type: ignore[arg-type, operator]


@settings(derandomize=True, deadline=None)
@given(st.text("0123456789T:-_. @Z+dhms", max_size=22) | st.text(max_size=10))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse_moment, written_time):
        try:
            assert read(text).tzinfo is UTC
        except (ConfigError, DataError) as error:
            assert len(str(error)) < 500  # noqa: PT017
