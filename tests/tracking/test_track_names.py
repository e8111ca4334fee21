"""Which values name one track, and which name none."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from partreid.errors import DataError
from partreid.tracking._track_names import track_key
from partreid.tracking.tracklets import merge_tracklets
from partreid.types import PartEmbeddings

ONE = [1, 1.0, "1", "1.0", " 1 ", "01", "1e0", "1.000000e+00", np.int64(1), np.uint8(1), np.float32(1), np.array(1),
       torch.tensor(1), torch.tensor(1.0), Decimal("1.00"), Fraction(1), np.str_("1")]  # fmt: skip
NONE = [None, -1, -1.0, "-1", "-1.0", np.int64(-1), np.float32("nan"), float("nan"), float("inf"), "nan", "NaN", "None",
        "null", "NULL", "NA", "N/A", "<NA>", "NaT", "", "  ", "-", np.datetime64("NaT"), Decimal("NaN"),
        torch.tensor(-1), ("hall", None), ("hall", -1), (("hall", 1), float("nan"))]  # fmt: skip
OTHERS = ["ann", "Ann", "1_0", "10", 100, "1.5", -2, 0, "12345678901234567890", 12345678901234567891, "1a", ("hall", 1),
          ("hall", 2), ("yard", 1), True, "9" * 80, "1e999999999999999999999"]  # fmt: skip


@pytest.mark.parametrize("track", ONE, ids=repr)
def test_one_number_is_one_track(track: object) -> None:
    assert track_key(track) == "1"


@pytest.mark.parametrize("track", NONE, ids=repr)
def test_no_track(track: object) -> None:
    assert track_key(track) is None


def test_others_stay_apart() -> None:
    assert len({track_key(track) for track in [*OTHERS, 1]} - {None}) == len(OTHERS) + 1
    assert track_key(("hall", 1.0)) == track_key(("hall", "1"))
    assert track_key("1.50") == track_key(1.5) == track_key(Decimal("1.5"))


def test_what_pandas_has_in_a_column() -> None:
    pandas = pytest.importorskip("pandas")
    assert track_key(pandas.NA) is track_key(pandas.NaT) is None
    assert [track_key(track) for track in pandas.array([3, None], dtype="Int64")] == ["3", None]
    assert [track_key(track) for track in pandas.Series([3, None])] == ["3", None]
    merged, tracks = merge_tracklets(images(3), pandas.Series([5, 7, 5], index=[2, 0, 1]))
    assert (merged.vectors.flatten().tolist(), tracks) == ([1, 1], [5, 7])


def images(count: int) -> PartEmbeddings:
    return PartEmbeddings(torch.arange(float(count))[:, None, None], torch.ones(count, 1), ("head",))


def test_merged_are_the_images_of_one_track_however_it_is_written() -> None:
    merged, tracks = merge_tracklets(images(len(ONE) + 1), [*ONE, "other"])
    assert tracks == [1, "other"]
    assert merged.vectors.flatten().tolist() == [(len(ONE) - 1) / 2, len(ONE)]
    assert merge_tracklets(images(3), torch.tensor([5, 7, 5]))[0].vectors.flatten().tolist() == [1, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize("track", NONE, ids=repr)
def test_images_of_no_track_are_not_merged(track: object) -> None:
    with pytest.raises(DataError, match="Image 1 belongs to no track"):
        merge_tracklets(images(3), ["a", track, track])


def test_one_text_is_one_track_however_it_is_coded() -> None:
    assert track_key("Ren\u00e9") == track_key("Rene\u0301")
    assert track_key(b"7") == track_key(np.bytes_(b"7")) == "7"
    assert track_key(np.ma.masked) is None
    assert track_key("?") is track_key("#N/A") is None
