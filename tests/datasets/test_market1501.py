"""The Market-1501 reader on folders that the tests make."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from partreid.datasets.readers import read_dataset
from partreid.datasets.readers.common import LeftOutWarning
from partreid.datasets.readers.loose_images import read_images
from partreid.datasets.readers.market1501 import parse_name
from partreid.errors import ConfigError, DataError, LabelError

TRAIN = ("0002_c1s1_000451_03.jpg", "0002_c2s1_000801_01.jpg", "0007_c1s1_000001_00.jpg")
QUERY = ("0001_c1s1_001051_00.jpg",)
GALLERY = ("0001_c2s1_000301_00.jpg", "0000_c3s1_000001_00.jpg", "-1_c1s1_000401_03.jpg", "Thumbs.db")


@pytest.fixture
def market(tmp_path: Path) -> Callable[..., Path]:
    """A function that lays out a set; the reader never opens an image."""

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
    assert "train: expected 751 identities in 12936 images, found 2 in 3" in str(record[0].message)
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
    with pytest.raises(DataError, match=r"images\.csv, line 2: .*\[0, 1\], got 'much'"):
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
    with pytest.warns(UserWarning, match=rf"1 of 3 training images of set have no label in 'openvino'.*{TRAIN[1]}"):
        read_dataset(root)
    (root / "masks" / "other").mkdir()
    with pytest.raises(LabelError, match="several sources: openvino, other"):
        read_dataset(root)


BROKEN = {
    "empty folder": ({"query": ()}, "query holds no image"),
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
    (tmp_path / "else" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no data set of a known layout.*found images"):
        read_dataset(tmp_path / "else")
    root = market()
    (root / "query" / QUERY[0]).unlink()
    (root / "query").rmdir()
    with pytest.raises(DataError, match="query does not exist; this layout needs it"):
        read_dataset(root)


def test_files_that_are_no_images_are_told(market: Callable[..., Path]) -> None:
    strange = ("0002_c1s1_000451_03.heic", "0003_c1.raw", "0004_c1", "film.mp4")
    beside = ("Thumbs.db", "desktop.ini", ".DS_Store", "README", "0002_c1s1_000451_03.json", "list.TXT", "._0002.jpg")
    root = market(query=(*QUERY, *strange, *beside))
    with pytest.warns(LeftOutWarning) as record:
        assert len(read_dataset(root).query) == 1
    (told,) = record
    assert str(told.message).startswith("left out: 4 files that are no images partreid can read here: ")
    assert all(str(root / "query" / name) in str(told.message) for name in strange)
    assert not any(name in str(told.message) for name in beside)


def test_images_in_folders_that_the_layout_has_not_are_told(market: Callable[..., Path]) -> None:
    root = market()
    for name, file in (("more", "0009_c1.jpg"), ("notes", "a.txt")):
        (root / "bounding_box_train" / name).mkdir()
        (root / "bounding_box_train" / name / file).touch()
    with pytest.warns(LeftOutWarning, match=r"left out: 1 folder .*bounding_box_train/more/$"):
        assert len(read_dataset(root).train) == 3


def test_a_query_folder_whose_name_is_nearly_right_is_told(market: Callable[..., Path]) -> None:
    root = market(**{"query-occluded": QUERY, "Query_two": QUERY, "query_three": QUERY, "queries.old": ("notes.txt",)})
    with pytest.warns(LeftOutWarning, match=r"left out: 2 folders .*/Query_two/, .*/query-occluded/$"):
        assert list(read_dataset(root).queries) == ["query", "three"]


@pytest.mark.parametrize("suffix", [".JPG", ".jfif", ".jpe", ".gif", ".avif", ".jp2", ".webp", ".tif", ".bmp"])
def test_images_of_common_suffixes_are_found(market: Callable[..., Path], suffix: str) -> None:
    root = market(query=(f"0001_c1{suffix}",))
    assert [image.path.name for image in read_dataset(root).query] == [f"0001_c1{suffix}"]


def test_a_folder_without_images_says_what_is_there(market: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"query holds no image .*found .*query/0001_c1\.heic"):
        read_dataset(market(query=("0001_c1.heic", "0001_c1.txt")))


def test_junk_is_told_but_where_the_set_means_it(market: Callable[..., Path]) -> None:
    root = market(query=(*QUERY, "-1_c1s1_000401_03.jpg"))
    with pytest.warns(UserWarning) as record:
        assert len(read_dataset(root).query) == 1
    assert [str(one.message) for one in record] == [
        f"left out: 1 image of {root / 'query'} with id -1, which is junk: nobody knows who it is."
    ]


def test_queries_without_any_match_do_not_keep_from_training(market: Callable[..., Path]) -> None:
    root = market(query=("0001_c2.jpg",), query_other=("0001_c1.jpg",), query_stranger=("0005_c1.jpg",))
    advice = "1 of them are there in the same camera only.*a table without the column camid"
    with pytest.raises(DataError, match=f"Query set 'query' .* has no match in the gallery.*{advice}"):
        read_dataset(root)
    with pytest.warns(UserWarning) as record:
        dataset = read_dataset(root, unmatched="drop")
    assert list(dataset.queries) == ["other"]
    assert len(dataset.train) == 3
    assert [("same camera" in str(one.message), "not evaluated" in str(one.message)) for one in record] == [
        (True, True), (False, True),
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_dataset(root, unmatched="keep").queries) == ["query", "other", "stranger"]
        assert len(read_images(root).query) == 1  # labels need no match
    with pytest.raises(ConfigError, match="Did you mean 'drop'"):
        read_dataset(root, unmatched="dropped")  # type: ignore[arg-type]


def test_two_images_never_share_a_label(market: Callable[..., Path]) -> None:
    root = market(query=(*QUERY, "0001_c1s1_001051_00.png"))
    folder = root / "masks" / "a" / "query"
    folder.mkdir(parents=True)
    (folder / "0001_c1s1_001051_00.npy").touch()
    with pytest.raises(LabelError, match=r"00\.jpg and .*00\.png share the label file .*00\.npy.*Rename one"):
        read_dataset(root)
    (folder / "0001_c1s1_001051_00.npy").unlink()
    for suffix in ("jpg", "png"):
        (folder / f"0001_c1s1_001051_00.{suffix}.npy").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = {image.path.suffix: image.label.name for image in read_dataset(root).query}
    assert labels == {".jpg": "0001_c1s1_001051_00.jpg.npy", ".png": "0001_c1s1_001051_00.png.npy"}
