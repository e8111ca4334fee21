"""Filters: what they keep, how values are compared, and their messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import ConfigError, DataError
from partreid.retrieval import Filter
from partreid.retrieval.filters import tags
from partreid.types import GalleryItem

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BARE, FULL = GalleryItem("bare"), GalleryItem("full", 3, NOON, {"track": 17, "seen": True, "note": None, "xs": [1]})


@pytest.mark.parametrize(
    ("conditions", "bare", "full"),
    [
        ({}, True, True),
        ({"cameras": 3}, False, True),
        ({"cameras": ["3", 4]}, False, True),
        ({"cameras": []}, False, False),
        ({"not_cameras": 3}, True, False),
        ({"since": NOON}, False, True),
        ({"since": NOON + timedelta(microseconds=1)}, False, False),
        ({"until": NOON}, False, False),
        ({"until": NOON.timestamp() + 1}, False, True),
        ({"since": datetime(2026, 11, 23, 13, tzinfo=timezone(timedelta(hours=1)))}, False, True),
        ({"metadata": {"track": "17"}}, False, True),
        ({"metadata": {"track": [1, 17], "seen": True}}, False, True),
        ({"metadata": {"track": 17, "seen": False}}, False, False),
        ({"metadata": {"track": 17.0}}, False, True),
        ({"metadata": {"track": "17.0"}}, False, True),
        ({"metadata": {"track": np.float64(17)}}, False, True),
        ({"not_metadata": {"track": 17.0}}, True, False),
        ({"metadata": {"note": None}}, False, True),
        ({"metadata": {"note": "null"}}, False, True),  # values are compared as text
        ({"metadata": {"xs": 1}}, False, False),  # lists are kept, not asked for
        ({"metadata": {"track": []}}, False, False),
        ({"not_metadata": {"track": 17}}, True, False),
        ({"not_metadata": {"track": 18}}, True, True),
        ({"ids": "full"}, False, True),
        ({"ids": []}, False, False),
        ({"not_ids": ["full", "x"]}, True, False),
        ({"cameras": np.int64(3)}, False, True),
        ({"cameras": 3.0}, False, True),
        ({"cameras": "3.0"}, False, True),
        ({"cameras": "03"}, False, False),
        ({"cameras": np.array([2.0, 3.0])}, False, True),
        ({"not_cameras": 3.0}, True, False),
        ({"since": NOON + timedelta(hours=1), "undated": True}, True, False),
        ({"until": NOON, "undated": True}, True, False),
        ({"since": NOON, "undated": True}, True, True),
        ({"undated": True}, True, True),
    ],
)
def test_what_is_kept(conditions: dict[str, Any], bare: bool, full: bool) -> None:
    where = Filter(**conditions)
    assert (where.keeps(BARE), where.keeps(FULL)) == (bare, full)
    assert Filter.parse(where.model_dump(mode="json")) == where


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"camera": 3}, "unknown field 'camera'. Did you mean 'cameras'"),
        ({"cameras": [[3]]}, "is a text or a number"),
        ({"cameras": ""}, "1 to 500 characters, got 0"),
        ({"cameras": True}, "a number or a text, not true or false"),
        ({"cameras": [None]}, "is a text or a number, got None"),
        ({"cameras": float("nan")}, "is a text or a number, got nan"),
        ({"ids": [True]}, "a number or a text, not true or false"),
        ({"metadata": {"track": float("nan")}}, "is a text or a number, got nan"),
        ({"since": 30}, "1970-01-01 00:00:30"),
        ({"until": "202611231430"}, "with a time zone"),
        ({"ids": ["a\0b"]}, "no NUL"),
        ({"ids": ["\ud800"]}, "half of a surrogate pair"),
        ({"since": datetime(2026, 1, 1)}, "with a time zone"),
        ({"since": "yesterday"}, "seconds since 1970"),
        ({"until": float("nan")}, "seconds since 1970"),
        ({"until": 1e30}, "seconds since 1970"),
        ({"metadata": [1]}, "valid dictionary"),
        ({"metadata": {1: 2}}, "valid string"),
    ],
)
def test_messages(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Filter(**conditions)


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=5)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(texts, values, max_size=3), texts, values)
def test_a_tag_stands_for_one_key_and_value(metadata: dict[str, Any], key: str, value: object) -> None:
    there = key in metadata and _text(metadata[key]) == _text(value)
    item = GalleryItem("a", metadata=metadata)
    if _text(value):
        assert Filter(metadata={key: value}).keeps(item) == there
        assert Filter(not_metadata={key: value}).keeps(item) == (not there)
    assert len(tags(metadata)) == len(set(tags(metadata))) == len(metadata)


def _text(value: object) -> str:
    """One text for all ways to write a value: numbers that went through floats are whole again."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = value if isinstance(value, str) else repr(int(value) if value == int(value) else value)  # type: ignore[call-overload]
    whole, dot, rest = text.partition(".")
    if dot and rest and not rest.strip("0") and whole.removeprefix("-").isdecimal() and whole.isascii():
        return text if whole.removeprefix("-").startswith("0") and whole not in ("0", "-0") else str(int(whole))
    return text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 3}, "An id is text, got 3 of type int"),
        ({"id": ""}, "An id has 1 to 500 characters"),
        ({"id": "x" * 501}, "got 501"),
        ({"id": "a", "camera": [1]}, "A camera is a text or a number"),
        ({"id": "a", "time": datetime(2026, 1, 1)}, "datetime with a time zone"),
        ({"id": "a", "time": True}, "seconds since 1970"),
        ({"id": "a", "metadata": [1]}, "no mapping"),
        ({"id": "a", "camera": True}, "A camera is a text or a number, got True"),
        ({"id": "a", "camera": float("inf")}, "A camera is a text or a number, got inf"),
        ({"id": "a", "camera": 10**5000}, "thousands of digits"),
        ({"id": "a", "metadata": {"x": float("inf")}}, "JSON can hold"),
        ({"id": "a", "metadata": {"x": [float("nan")]}}, "JSON can hold"),
        ({"id": "a", "metadata": {"x": {1: 2}}}, "a key is not text"),
        ({"id": "a", "metadata": {"x": object()}}, "not JSON serializable"),
        ({"id": "a", "metadata": {"x": "\0"}}, "NUL"),
        ({"id": "a", "metadata": {"x": "\udc00"}}, "surrogate"),
        ({"id": "a", "metadata": {"x": "y" * 2**20}}, "allowed"),
    ],
)
def test_what_an_item_cannot_hold(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        GalleryItem(**fields)


def test_an_item_owns_its_metadata() -> None:
    given: dict[str, Any] = {"box": (1, 2), "n": {"m": [1.5, "ü"]}}
    item = GalleryItem("a", metadata=given)
    given["n"]["m"].append(3)
    assert item.metadata == {"box": [1, 2], "n": {"m": [1.5, "ü"]}}
    assert GalleryItem("a", camera="hall", time=NOON.timestamp()).time == NOON


def test_one_camera_however_it_is_written() -> None:
    pandas = pytest.importorskip("pandas")
    for camera in (3, 3.0, "3", "3.0", "3.00", np.int64(3), np.float32(3), np.array(3), np.str_("3")):
        assert GalleryItem("a", camera).camera == "3"
    for unknown in (None, float("nan"), np.float64("nan"), pandas.NA, pandas.NaT, ""):
        assert GalleryItem("a", unknown).camera is None
        known = GalleryItem("a", metadata={"x": unknown}).metadata["x"]
        assert known == ("" if unknown == "" else None) if isinstance(unknown, str) else known is None
    for other in ("03", "3.5", "3.", " 3", "nan", "None"):
        assert GalleryItem("a", other).camera == other
    assert GalleryItem("a", -0.0).camera == "0"
    assert GalleryItem("a", metadata={"n": np.int64(3), "x": np.float32(0.5)}).metadata == {"n": 3, "x": 0.5}


def test_ids_are_what_they_are() -> None:
    where = Filter(ids=["3.0", 3])
    assert where.ids == ("3.0", "3")
    assert (where.keeps(GalleryItem("3.0")), where.keeps(GalleryItem("3")), where.keeps(GalleryItem("3.00"))) == (
        True,
        True,
        False,
    )
