"""Ids of every type: equal however they are written; unknown is no value; -1 is junk; nothing is merged by rounding."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import DataError, ShapeError
from partreid.types import ReIDDataset, ReIDImage, identities
from partreid.types._id_values import as_id
from partreid.types.ids import JUNK, match_cameras, match_persons, person_classes
from tests.property.fuzzing import WRITERS

PEOPLE = [3, 0, -1, 12, 3]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_an_id_is_one_however_it_is_written(write: Callable[[list[int]], Any]) -> None:
    query, gallery = match_persons(write([3, 12]), write(PEOPLE), sizes=(2, 5))
    assert (query[:, None] == gallery).tolist() == [
        [True, False, False, False, True],
        [False, False, False, True, False],
    ]
    assert (gallery == JUNK).tolist() == [False, False, True, False, False]
    assert query.dtype == gallery.dtype == np.int64


NUMBERS = [name for name in WRITERS if "text" not in name and "bytes" not in name]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_every_type_are_compared_with_those_of_another(name: str) -> None:
    query, gallery = match_persons([3, 12], WRITERS[name](PEOPLE), sizes=(2, 5))
    assert query.tolist() == [3, 12]
    assert gallery.tolist() == PEOPLE


def test_large_numbers_are_exact() -> None:
    stamp = 20201123000100000000
    query, gallery = match_persons([stamp, 2**63 - 1], [stamp + 1, stamp, 2**63 - 1, JUNK], sizes=(2, 4))
    assert (query[:, None] == gallery).tolist() == [[False, True, False, False], [False, False, True, False]]
    assert gallery[3] == JUNK
    unsigned = np.array([2**63, 2**63 + 1, 5], np.uint64)
    assert match_persons(unsigned[:1], unsigned, sizes=(1, 3))[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ([1, None, 2], 1),
        ([1, 2, float("nan")], 2),
        (np.array([np.nan, 1, 2]), 0),
        (torch.tensor([1.0, float("nan"), 2.0]), 1),
        (["ann", "", "ben"], 1),
        (["0001", "nan", "0002"], 1),
        (["ann", "ben", "unknown"], 2),
        (["ann", "?", "ben"], 1),
        (np.array([1, "None", 2]), 1),  # NumPy makes text of it
        (["1", "2", " "], 2),
        (np.ma.array([1, 2, 3], mask=[0, 1, 0]), 1),
        ([Decimal("NaN"), 1, 2], 0),
    ],
)
def test_unknown_persons_and_cameras_are_never_equal_and_so_refused(values: Any, first: int) -> None:
    with pytest.raises(ShapeError, match=rf"gallery_pids: 1 of 3 are unknown .* that of image {first}\. .*id -1"):
        match_persons([1], values, sizes=(1, 3))
    with pytest.raises(ShapeError, match=rf"query_camids: 1 of 3 are unknown .* that of image {first}\. .*or of none"):
        match_cameras(values, [1], sizes=(3, 1))
    with pytest.raises(ShapeError, match=r"pid_index: 1 of 3 are unknown"):
        person_classes(values)


def test_cameras_that_are_unknown_for_all_images_are_unknown() -> None:
    for unknown in (None, [None, None], np.array([np.nan, np.nan]), ["", "nan"]):
        assert match_cameras(unknown, None, sizes=(2, 3)) is None
        assert match_cameras(None, unknown, sizes=(3, 2)) is None
        with pytest.raises(ShapeError, match="Only one of query_camids and gallery_camids"):
            match_cameras(unknown, [0, 1, 2], sizes=(2, 3))


def test_pandas_columns_with_gaps() -> None:
    pd = pytest.importorskip("pandas")
    for column in (
        pd.Series([1, None, 2]), pd.Series([1, None, 2], dtype="Int64"), pd.Series(["a", None, "b"]),
        pd.Series(["a", None, "b"], dtype="string"), pd.Categorical([1, None, 2]), [1, pd.NA, 2], [1, pd.NaT, 2],
    ):  # fmt: skip
        with pytest.raises(ShapeError, match="1 of 3 are unknown .* that of image 1"):
            match_persons([1], column, sizes=(1, 3))


def test_pyarrow_columns() -> None:
    pa = pytest.importorskip("pyarrow")
    for column in (pa.array([3, 12]), pa.chunked_array([[3], [12]])):
        assert match_persons(column, [12], sizes=(2, 1))[0].tolist() == [3, 12]
    with pytest.raises(ShapeError, match="1 of 2 are unknown"):
        match_persons(pa.array([3, None]), [12], sizes=(2, 1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2], "image 0: 1.5 is no whole number"),
        ([1, np.inf], "image 1: inf is no whole number"),
        ([2.0**53, 1], "image 0: 9007199254740992.0 is too large for its floating type"),
        (np.array([2, 2**24], np.float32), "image 1: 16777216.0 is too large for its floating type"),
        (np.array([2049, 1], np.float16), "image 0: 2048.0 is too large"),
        (torch.tensor([1, 257], dtype=torch.bfloat16), "too large for its floating type"),
        ([True, False], "image 0: True is true or false, not an id"),
        (np.array([True, False]), "whole numbers or text, got bool"),
        (np.array(["2026-01-01", "2026-01-02"], "M8[D]"), "got datetime64"),
        ([datetime(2026, 1, 1, tzinfo=UTC), 1], "neither a whole number nor text"),
        ([[1], [2]], r"image 0: \[1\] .list. is neither"),
        (np.array([[1], [2]]), r"must hold 2 ids, one for each image, got shape \(2, 1\)"),
        ([1, 2, 3], r"must hold 2 ids, one for each image, got shape \(3,\)"),
        (range(10**12), "got shape .1000000000000,."),
        ("ab", "must be whole numbers or text, one for each image, got 'ab'"),
        ({1, 2}, "one for each image, got {1, 2}"),
        (iter([1, 2]), "one for each image, got <list_iterator"),
        (None, "one for each image, got None"),
        (7, "one for each image, got 7"),
        ([1, "2"], "holds text .'2' at image 1. and query_pids whole numbers .1 at image 0."),
        (["ann", "ann "], "written in two ways"),
        (["\u00e9", "e\u0301"], "written in two ways"),
        ([-2, 1], "image 0: expected -1 or more, got -2"),
        ([10**5000, 1], "more than 400 digits"),
    ],
)
def test_what_cannot_be_an_id_is_named(values: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        match_persons(values, [], sizes=(2, 0))


def test_text_and_numbers_are_never_silently_unequal() -> None:
    with pytest.raises(ShapeError, match="query_pids holds text .'1'.* gallery_pids whole numbers .1 .*all as text"):
        match_persons(["1"], [1], sizes=(1, 1))
    with pytest.raises(ShapeError, match="query_pids, image 0, is '1' and query_pids, image 1, is '01': one id"):
        match_persons(["1", "01", "c1"], [], sizes=(3, 0))
    with pytest.raises(ShapeError, match="query_pids, image 0, is '0001' and gallery_pids, image 1, is '1'"):
        match_persons(["0001"], ["ben", "1"], sizes=(1, 2))


def test_text_of_whole_numbers_alone_is_compared_as_in_a_table() -> None:
    query, gallery = match_persons(["0001", " 12"], ["1", "2", "12.0", "-1", "-001"], sizes=(2, 5))
    assert query.tolist() == [1, 12]
    assert gallery.tolist() == [1, 2, 12, -1, -1]


def test_cameras_below_zero_are_unknown_cameras_written_as_a_number() -> None:
    with pytest.raises(ShapeError, match="gallery_camids, image 2: expected 0 or more, got -1.*give none of them"):
        match_cameras([0], [0, 1, -1], sizes=(1, 3))
    with pytest.raises(ShapeError, match="pid_index, image 0: expected 0 or more, got -1.*leave it out"):
        person_classes([-1, 0])


def test_other_numbers_below_zero_are_people_nobody_asks_for() -> None:
    assert match_persons([5], [-2, -1, 5], sizes=(1, 3))[1].tolist() == [-2, -1, 5]


def test_a_image_holds_plain_numbers() -> None:
    image = ReIDImage(Path("a.jpg"), np.int64(7), np.float64(2))  # type: ignore[arg-type]
    assert (type(image.pid), image.pid, type(image.camid), image.camid) == (int, 7, int, 2)
    assert ReIDImage(Path("a.jpg"), 7, float("nan")).camid is None  # type: ignore[arg-type]
    assert image == ReIDImage(Path("a.jpg"), 7, 2)
    for pid in (None, float("nan"), "ann", "7", True, 1.5, ""):
        with pytest.raises(DataError, match=r"a\.jpg: .*pid"):
            ReIDImage(Path("a.jpg"), pid)  # type: ignore[arg-type]
    for camid in (-1, "0", True, 0.5):
        with pytest.raises(DataError, match=r"a\.jpg: .*cam"):
            ReIDImage(Path("a.jpg"), 1, camid)  # type: ignore[arg-type]


def test_junk_is_no_identity_to_train_on() -> None:
    junk = ReIDImage(Path("junk.jpg"), JUNK, 0)
    with pytest.raises(DataError, match=r"junk\.jpg has pid -1, so it is junk .* Leave it out"):
        identities([ReIDImage(Path("a.jpg"), 1, 0), junk])
    dataset = ReIDDataset("set", Path(), (junk,), (), {})  # images of nobody in particular can still be looked at
    with pytest.raises(DataError, match="junk"):
        _ = dataset.train_identities


def test_scalars_of_other_libraries() -> None:
    assert [as_id(value) for value in (np.str_("a"), b"a", np.array(3), torch.tensor(3), Decimal("3.0"))] == [
        "a", "a", 3, 3, 3,
    ]  # fmt: skip
    assert as_id(b"\xff") != as_id(b"\xfe")  # never merged by what replaces wrong bytes
    assert as_id(np.ma.masked) is as_id(torch.tensor(float("nan"))) is as_id(np.datetime64("NaT")) is None


@pytest.mark.parametrize("wrong", [30, -0.1, True, "0.3", float("inf")])
def test_a_hidden_share_is_a_share(wrong: object) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: expected occlusion as a number in \[0, 1\]"):
        ReIDImage(Path("a.jpg"), 1, occlusion=wrong)  # type: ignore[arg-type]
    assert ReIDImage(Path("a.jpg"), 1, occlusion=float("nan")).occlusion is None
    assert ReIDImage(Path("a.jpg"), 1, occlusion=np.float32(0.5)).occlusion == 0.5  # type: ignore[arg-type]
