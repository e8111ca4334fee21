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


def test_a_subset_has_the_first_identities_and_says_so() -> None:
    def images(folder: str, *pids: int) -> tuple[ReIDImage, ...]:
        return tuple(ReIDImage(Path(folder, f"{pid}_{i}.jpg"), pid, i) for pid in pids for i in range(2))

    whole = ReIDDataset(
        "set", Path(), images("train", 9, 3, 7, 5), images("gallery", 0, 8, 4, 2, 6),
        {"query": images("query", 8, 2, 4, 1), "holistic": images("holistic", 8)},
    )  # fmt: skip
    some = whole.subset(ids=2)
    assert some.name == "set[2 ids]"
    assert [{image.pid for image in split} for split in (some.train, some.gallery)] == [{3, 5}, {2, 4}]
    assert {name: {image.pid for image in query} for name, query in some.queries.items()} == {"query": {2, 4}}
    assert (len(some.train), len(some.gallery), len(some.query)) == (4, 4, 4), "all images of each"
    assert set(whole.subset(ids=1).gallery) < set(some.gallery), "smaller ones lie within larger ones"
    assert whole.subset(ids=4) is whole, "with the distractor 0, for nothing is left out"
    for wrong in (0, -1, 1.5, True, "2", None):
        with pytest.raises(DataError, match="number of identities of at least 1"):
            whole.subset(ids=wrong)  # type: ignore[arg-type]
