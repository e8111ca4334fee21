"""What every data set keeps to, however it was read."""

from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.types import ReIDDataset, ReIDImage


def test_a_image_counts_once_and_is_one_person() -> None:
    def made(train: list[tuple[str, int, int]], gallery: list[tuple[str, int, int]]) -> ReIDDataset:
        splits = [tuple(ReIDImage(Path(path), *ids) for path, *ids in split) for split in (train, gallery)]
        return ReIDDataset("set", Path(), splits[0], splits[1], {})

    made([("a.jpg", 1, 0), ("b.jpg", 1, 0)], [("a.jpg", 1, 0)])
    with pytest.raises(DataError, match=r"set: a\.jpg is in train 2 times"):
        made([("a.jpg", 1, 0), ("b.jpg", 1, 0), ("a.jpg", 1, 0)], [])
    for other in (2, 0), (1, 1):
        with pytest.raises(
            DataError, match=rf"a\.jpg has pid 1, camid 0 in one split and pid {other[0]}, camid {other[1]}"
        ):
            made([("a.jpg", 1, 0)], [("a.jpg", *other)])
