"""The Market-1501 reader on folders that the tests make."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from partreid.datasets.readers import read_dataset
from partreid.datasets.readers.market1501 import parse_name
from partreid.errors import DataError, LabelError

TRAIN = ("0002_c1s1_000451_03.jpg", "0002_c2s1_000801_01.jpg", "0007_c1s1_000001_00.jpg")
QUERY = ("0001_c1s1_001051_00.jpg",)
GALLERY = ("0001_c2s1_000301_00.jpg", "0000_c3s1_000001_00.jpg", "-1_c1s1_000401_03.jpg", "Thumbs.db")


@pytest.fixture
def market(tmp_path: Path) -> Callable[..., Path]:
    """A function that lays out a set; the reader never opens a picture."""

    def lay(root: str = "set", **folders: tuple[str, ...]) -> Path:
        base = tmp_path / root
        names = {"bounding_box_train": TRAIN, "query": QUERY, "bounding_box_test": GALLERY, **folders}
        for folder, files in names.items():
            (base / folder).mkdir(parents=True)
            for name in files:
                (base / folder / name).touch()
        return base

    return lay


def test_ids_cameras_junk_and_distractors(market: Callable[..., Path]) -> None:
    dataset = read_dataset(market())
    assert [(i.path.name, i.pid, i.camid) for i in dataset.train] == [
        (TRAIN[0], 2, 0),
        (TRAIN[1], 2, 1),
        (TRAIN[2], 7, 0),
    ]
    assert [(i.pid, i.camid) for i in dataset.gallery] == [(0, 2), (1, 1)]
    assert [(i.pid, i.camid) for i in dataset.query] == [(1, 0)]
    assert dataset.name == "set"
    assert dataset.train_identities == (("set", 2), ("set", 7))


def test_the_base_name_counts_not_the_folder(market: Callable[..., Path]) -> None:
    root = market("9999_c9_set")
    assert {i.pid for i in read_dataset(root).train} == {2, 7}
    assert parse_name(Path("-1_c12s1.jpg")) == (-1, 11)


def test_further_query_sets_come_after_the_default(market: Callable[..., Path]) -> None:
    dataset = read_dataset(market(query_occluded=QUERY, query_holistic=QUERY))
    assert list(dataset.queries) == ["query", "holistic", "occluded"]
    assert dataset.queries["holistic"][0].path.parent.name == "query_holistic"


def test_official_counts_are_checked_by_the_folders_name(market: Callable[..., Path], tmp_path: Path) -> None:
    market("Market-1501-v15.09.15")
    with pytest.warns(UserWarning, match="Market-1501") as record:
        dataset = read_dataset(tmp_path)
    assert "train: expected 751 identities in 12936 pictures, found 2 in 3" in str(record[0].message)
    assert len(record) == 3
    assert dataset.name == "Market-1501"
    assert dataset.root == tmp_path / "Market-1501-v15.09.15"


def test_occlusion_comes_from_the_table(market: Callable[..., Path]) -> None:
    root = market()
    rows = ["path,split,pid,camid,occlusion", f"query/{QUERY[0]},query,1,0,0.25", f"bounding_box_test/{GALLERY[0]},,,,"]
    (root / "pictures.csv").write_text("\n".join(rows))
    dataset = read_dataset(root)
    assert dataset.query[0].occlusion == 0.25
    assert all(i.occlusion is None for i in (*dataset.gallery, *dataset.train))
    (root / "pictures.csv").write_text(rows[0] + f"\nquery/{QUERY[0]},query,1,0,much")
    with pytest.raises(DataError, match=r"pictures\.csv, line 2: .*\[0, 1\], got 'much'"):
        read_dataset(root)
    (root / "pictures.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="expected the columns path and occlusion"):
        read_dataset(root)


def test_labels_are_found_and_a_gap_is_told(market: Callable[..., Path]) -> None:
    root = market()
    folder = root / "masks" / "openvino" / "bounding_box_train"
    folder.mkdir(parents=True)
    for name in TRAIN:
        (folder / name).with_suffix(".npy").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = read_dataset(root)
    assert [i.label for i in dataset.train] == [(folder / n).with_suffix(".npy") for n in TRAIN]
    assert dataset.query[0].label is None
    assert all(i.label is None for i in read_dataset(root, labels=None).train)
    (folder / TRAIN[1]).with_suffix(".npy").unlink()
    with pytest.warns(UserWarning, match=rf"1 of 3 training pictures of set have no label in 'openvino'.*{TRAIN[1]}"):
        read_dataset(root)
    (root / "masks" / "other").mkdir()
    with pytest.raises(LabelError, match="several sources: openvino, other"):
        read_dataset(root)


BROKEN = {
    "empty folder": ({"query": ()}, "query holds no picture"),
    "name": ({"query": ("person.jpg",)}, r"person\.jpg: expected a name that begins with <pid>_c<camera>"),
    "camera 0": ({"query": ("0001_c0.jpg",)}, r"0001_c0\.jpg: .*cameras counted from 1"),
    "id below -1": ({"query": ("-7_c1.jpg",)}, r"-7_c1\.jpg: expected a name"),
    "no match": ({"query_other": ("0005_c1.jpg",)}, "Query set 'other' .* has no match in the gallery"),
    "same camera only": ({"query": ("0001_c2.jpg",)}, "Query set 'query' .* from another camera"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_named(market: Callable[..., Path], case: str) -> None:
    folders, message = BROKEN[case]
    root = market(**folders)
    with pytest.raises(DataError, match=message):
        read_dataset(root)


def test_missing_folders_are_named(market: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone does not exist"):
        read_dataset(tmp_path / "gone")
    (tmp_path / "else" / "pictures").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no data set of a known layout.*found pictures"):
        read_dataset(tmp_path / "else")
    root = market()
    (root / "query" / QUERY[0]).unlink()
    (root / "query").rmdir()
    with pytest.raises(DataError, match="query does not exist; this layout needs it"):
        read_dataset(root)
