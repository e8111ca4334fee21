"""Every layout on a tiny tree: ids, cameras, order, label places, counts. Readers never open an image."""

from __future__ import annotations

import builtins
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partreid.datasets.readers import LAYOUTS, find_datasets, read_dataset
from partreid.datasets.readers.common import say_once
from partreid.errors import DataError, MissingDependencyError
from partreid.labels.locate import published_label_path
from partreid.types import ReIDDataset, ReIDImage

MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_train/0007_c6s1_000451_03.jpg",
    "query/0001_c1s1_001051_00.jpg", "bounding_box_test/0001_c2s1_000301_00.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg", "bounding_box_test/0000_c3s1_000001_00.jpg",
)  # fmt: skip
WHOLE, OCCLUDED, PARTIAL = "whole_body_images", "occluded_body_images", "partial_body_images"
OCCLUDED_REID = tuple(f"{folder}/{pid}/{pid}_0{n}.tif" for folder in (OCCLUDED, WHOLE) for pid in ("001", "002")
                      for n in (1, 2))  # fmt: skip
P_DUKE = (
    f"train/{OCCLUDED}/0001/0001_c1_f0044158.jpg", f"train/{WHOLE}/0001/0001_c2_f0044159.jpg",
    f"train/{WHOLE}/0004/0004_c2_f0044159.jpg",
    f"test/{OCCLUDED}/0002/0002_c5_f0044158.jpg", f"test/{WHOLE}/0002/0002_c5_f0044160.jpg",
)  # fmt: skip
CUHK = ("1_001_1_01.png", "1_001_2_06.png", "2_001_1_01.png", "2_002_1_01.png", "2_002_2_07.png")
CUHK_SPLIT = {"train": CUHK[:3], "query": CUHK[3:4], "gallery": CUHK[4:]}
LISTS = {
    "train": "0000/0000_000_01_0303morning_0015_0.jpg 0\n0001/0001_000_15_0303morning_0015_0.jpg 1\n",
    "val": "0000/0000_001_02_0303morning_0015_0.jpg 0\n",
    "query": "0000/0000_000_03_0303morning_0015_0.jpg 0\n",
    "gallery": "0000/0000_001_04_0303morning_0015_0.jpg 0\n\n",
}


pytestmark = pytest.mark.filterwarnings("ignore:.*Results will not compare")


@pytest.fixture(autouse=True)
def _forget_notices() -> None:
    say_once.cache_clear()


def lay(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def lay_msmt17(root: Path, train: str, test: str) -> Path:
    for name, text in LISTS.items():
        folder = train if name in ("train", "val") else test
        lay(root, *(f"{folder}/{line.split()[0]}" for line in text.split("\n") if line))
        (root / f"list_{name}.txt").write_text(text)
    return root


def lay_cuhk03(root: Path, kind: str) -> Path:
    lay(root, *(f"images_{kind}/{name}" for name in CUHK))
    split = {name: [[f"/home/me/{n}", 7, 0] for n in names] for name, names in CUHK_SPLIT.items()}
    (root / f"splits_new_{kind}.json").write_text(json.dumps([split]))
    return root


def read(spec: str | Path) -> ReIDDataset:
    """Tiny trees never have the published counts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_dataset(spec)


def brief(images: tuple[ReIDImage, ...]) -> list[tuple[str, int, int | None]]:
    return [(image.path.name, image.pid, image.camid) for image in images]


@pytest.mark.parametrize(
    ("folder", "name", "published"),
    [
        ("Market-1501-v15.09.15", "Market-1501", "0002_c1s1_000451_03.npy"),
        ("DukeMTMC-reID", "DukeMTMC-reID", "0002_c1s1_000451_03.npy"),
        ("Occluded_Duke", "Occluded-Duke", "0002_c1s1_000451_03.jpg.confidence_fields.npy"),
        ("my people", "my people", "0002_c1s1_000451_03.npy"),
    ],
)
def test_market_layout(tmp_path: Path, folder: str, name: str, published: str) -> None:
    root = lay(tmp_path / folder, *MARKET)
    dataset = read(tmp_path)
    assert (dataset.name, dataset.root) == (name, root)
    assert dataset.train_identities == ((name, 2), (name, 7))
    assert [(pid, camid) for _, pid, camid in brief(dataset.gallery)] == [(0, 2), (1, 1)]
    label = root / "masks" / "pifpaf" / "bounding_box_train" / published
    assert published_label_path(dataset.train[0].path, dataset, "pifpaf") == label
    label.parent.mkdir(parents=True)
    label.touch()
    assert read(root).train[0].label == label


def test_market_with_distractors_only_on_request(tmp_path: Path) -> None:
    lay(tmp_path / "market1501", *MARKET, "images/0000_c1s1_000001_00.jpg", "images/0000_c2s1_000001_00.jpg")
    assert len(read(tmp_path).gallery) == 2
    dataset = read(f"market1501_500k={tmp_path}")
    assert dataset.name == "Market-1501-500k"
    assert len(dataset.gallery) == 4
    assert [found.layout.key for found in find_datasets(tmp_path)] == ["market1501"]


def test_occluded_reid(tmp_path: Path) -> None:
    root = lay(tmp_path / "Occluded_REID", *OCCLUDED_REID)
    dataset = read(tmp_path)
    assert (dataset.name, dataset.train) == ("Occluded-REID", ())
    assert brief(dataset.query) == [
        ("001_01.tif", 1, 0),
        ("001_02.tif", 1, 0),
        ("002_01.tif", 2, 0),
        ("002_02.tif", 2, 0),
    ]
    assert {camid for _, _, camid in brief(dataset.gallery)} == {1}
    label = root / "masks" / "pifpaf" / OCCLUDED / "001_01.npy"
    assert published_label_path(dataset.query[0].path, dataset, "pifpaf") == label
    label.parent.mkdir(parents=True)
    label.touch()
    assert read(root).query[0].label == label
    own = root / "masks" / "pifpaf" / OCCLUDED / "001" / "001_01.npy"
    own.parent.mkdir()
    own.touch()
    assert read(root).query[0].label == own


def test_p_dukemtmc_ignores_the_camera_in_the_name(tmp_path: Path) -> None:
    dataset = read(lay(tmp_path / "P-DukeMTMC-reID", *P_DUKE))
    assert dataset.name == "P-DukeMTMC-reID"
    assert [(pid, camid) for _, pid, camid in brief(dataset.train)] == [(1, 0), (1, 1), (4, 1)]
    assert brief(dataset.query) == [("0002_c5_f0044158.jpg", 2, 0)]
    assert brief(dataset.gallery) == [("0002_c5_f0044160.jpg", 2, 1)]
    place = published_label_path(dataset.train[0].path, dataset, "x").relative_to(dataset.root)
    assert place == Path("masks", "x", "train", OCCLUDED, "0001_c1_f0044158.npy")


@pytest.mark.parametrize(
    ("folders", "sets"),
    [((PARTIAL,), ["query"]), ((OCCLUDED,), ["query"]), ((PARTIAL, OCCLUDED), ["query", "occluded"])],
)
def test_partial_reid(tmp_path: Path, folders: tuple[str, ...], sets: list[str]) -> None:
    lay(tmp_path / "Partial_REID", *(f"{folder}/001_00{n}.jpg" for folder in (*folders, WHOLE) for n in (1, 2)))
    dataset = read(tmp_path)
    assert (dataset.name, dataset.train, list(dataset.queries)) == ("Partial-REID", (), sets)
    assert brief(dataset.query) == [("001_001.jpg", 1, 0), ("001_002.jpg", 1, 0)]
    assert brief(dataset.gallery) == [("001_001.jpg", 1, 1), ("001_002.jpg", 1, 1)]


@pytest.mark.parametrize(
    ("folder", "train", "test", "key", "name"),
    [
        ("MSMT17_V1", "train", "test", "msmt17", "MSMT17"),
        ("MSMT17_V2", "mask_train_v2", "mask_test_v2", "msmt17_v2", "MSMT17-V2"),
    ],
)
def test_msmt17(tmp_path: Path, folder: str, train: str, test: str, key: str, name: str) -> None:
    root = lay_msmt17(tmp_path / "msmt17" / folder, train, test)
    dataset = read(tmp_path)
    assert (dataset.name, dataset.root) == (name, root)
    assert [(pid, camid) for _, pid, camid in brief(dataset.train)] == [(0, 0), (1, 14)]
    assert brief(dataset.query) == [("0000_000_03_0303morning_0015_0.jpg", 0, 2)]
    assert dataset.gallery[0].path == root / test / "0000" / "0000_001_04_0303morning_0015_0.jpg"
    with_val = read(f"{key}_trainval={tmp_path}")
    assert (with_val.name, len(with_val.train)) == (f"{name}-trainval", 3)
    (root / "list_val.txt").unlink()
    read(tmp_path)
    with pytest.raises(DataError, match=r"Cannot read .*list_val\.txt, which MSMT17 needs"):
        read(f"{key}_trainval={tmp_path}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "0000/0000_000_01_x.jpg",
            r"list_train\.txt, line 3: expected a path within train and an id.*got '0000/0000_000_01_x\.jpg'",
        ),
        ("0000/person.jpg 3", "line 3: .*the camera as third field"),
        ("0000/0000_000_00_x.jpg 3", "line 3: .*the camera as third field"),
        ("../../0000_000_01_x.jpg 3", "line 3: .*got '../../0000"),
        ("/etc/0000_000_01_x.jpg 3", "line 3: .*got '/etc/0000"),
        (
            "0009/0009_000_01_x.jpg 9",
            r"list_train\.txt names 1 images that do not exist, the first is .*0009_000_01_x",
        ),
    ],
)
def test_msmt17_lists_that_do_not_fit(tmp_path: Path, line: str, message: str) -> None:
    root = lay_msmt17(tmp_path, "train", "test")
    (root / "list_train.txt").write_text(LISTS["train"] + line)
    with pytest.raises(DataError, match=message):
        read(root)


def test_cuhk03_ids_are_unique_over_pairs_and_only_base_names_count(tmp_path: Path) -> None:
    lay_cuhk03(tmp_path / "1_9_9_9", "detected")
    dataset = read(tmp_path)
    assert dataset.name == "CUHK03-NP-detected"
    assert brief(dataset.train) == [
        ("1_001_1_01.png", 1001, 0),
        ("1_001_2_06.png", 1001, 1),
        ("2_001_1_01.png", 2001, 0),
    ]
    assert brief(dataset.query) == [("2_002_1_01.png", 2002, 0)]
    assert brief(dataset.gallery) == [("2_002_2_07.png", 2002, 1)]


def test_cuhk03_detected_and_labelled_in_one_folder_need_a_name(tmp_path: Path) -> None:
    lay_cuhk03(lay_cuhk03(tmp_path, "detected"), "labeled")
    with pytest.raises(DataError, match=r"several data sets\. Choose one of them: cuhk03_detected=.*, cuhk03_labeled="):
        read(tmp_path)
    assert read(f"cuhk03_labeled={tmp_path}").train[0].path.parent.name == "images_labeled"


def test_cuhk03_in_market_layout(tmp_path: Path) -> None:
    names = [n.replace(".jpg", ".png") for n in MARKET]
    lay(tmp_path / "CUHK03-NP", *(f"{kind}/{name}" for kind in ("detected", "labeled") for name in names))
    dataset = read(f"cuhk03_labeled={tmp_path}")
    assert (dataset.name, dataset.root) == ("CUHK03-NP-labeled", tmp_path / "CUHK03-NP" / "labeled")
    assert read(tmp_path / "CUHK03-NP" / "detected").name == "CUHK03-NP-detected"


def test_cuhk03_split_as_matlab_file(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    numpy = pytest.importorskip("numpy")
    root = lay_cuhk03(tmp_path, "labeled")
    (root / "splits_new_labeled.json").unlink()
    files = numpy.empty((len(CUHK), 1), dtype=object)
    files[:, 0] = CUHK
    indices = {f"{name}_idx": [[CUHK.index(n) + 1] for n in names] for name, names in CUHK_SPLIT.items()}
    content = {"filelist": files, **indices}
    scipy_io.savemat(root / "cuhk03_new_protocol_config_labeled.mat", content)
    dataset = read(root)
    assert [image.pid for image in dataset.train] == [1001, 1001, 2001]
    assert brief(dataset.gallery) == [("2_002_2_07.png", 2002, 1)]


def test_a_matlab_split_without_scipy_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay_cuhk03(tmp_path, "labeled")
    (root / "splits_new_labeled.json").rename(root / "cuhk03_new_protocol_config_labeled.mat")
    without(monkeypatch, "scipy")
    with pytest.raises(MissingDependencyError, match=r'needs scipy.*pip install "partreid\[tables\]"'):
        read(root)


def without(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """Make importing a library fail, as if it were not installed."""
    real: Callable[..., Any] = builtins.__import__

    def fake(name: str, *args: Any, **options: Any) -> Any:
        if name.split(".")[0] == library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", fake)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"holds images_detected but no split: expected splits_new_detected\.json or"),
        ("{}", r"splits_new_detected\.json is no split of the new protocol"),
        ("nothing", r"splits_new_detected\.json is no split of the new protocol"),
        ('[{"train": [["a.png", 1, 0]], "query": [], "gallery": []}]', r"names 'a\.png', expected <pair>_<pid>"),
        ('[{"train": [["5_001_1_01.png", 1, 0]], "query": [], "gallery": []}]', "names 1 images that do not exist"),
    ],
)
def test_cuhk03_splits_that_do_not_fit(tmp_path: Path, content: str | None, message: str) -> None:
    root = lay_cuhk03(tmp_path, "detected")
    (root / "splits_new_detected.json").unlink()
    if content is not None:
        (root / "splits_new_detected.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read(root)


def test_withdrawal_is_said_once(tmp_path: Path) -> None:
    for name in ("DukeMTMC-reID", "Occluded_Duke"):
        lay(tmp_path / name, *MARKET)
        with pytest.warns(UserWarning, match=f"{name.replace('_', '-')} .*withdrew"):
            read_dataset(tmp_path / name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_dataset(tmp_path / name)
        assert not any("withdrew" in str(w.message) for w in caught)


def test_published_counts_are_those_of_the_specification() -> None:
    counts = {layout.key: layout.counts for layout in LAYOUTS}
    assert counts["occluded_duke"] == {"train": (702, 15618), "query": (519, 2210), "gallery": (1110, 17661)}
    assert counts["msmt17_v2_trainval"]["train"] == (1041, 32621)
    assert counts["cuhk03_detected"] == {"train": (767, 7365), "query": (700, 1400), "gallery": (700, 5332)}
    assert counts["p_dukemtmc"]["gallery"] == (634, 9053)


def test_odd_names_links_and_read_only_folders(tmp_path: Path) -> None:
    real = lay(tmp_path / "elsewhere", "0002_c1 ähnlich (1).JPG", "0002_c2 人.jpeg", "._0002_c1.jpg", "0003_c1.txt")
    root = lay(tmp_path / "a set", "bounding_box_train/0005_c1.jpg")
    (root / "bounding_box_train" / "0004_c1.jpg").symlink_to(real / "0002_c2 人.jpeg")
    (root / "query").symlink_to(real)
    (root / "bounding_box_test").symlink_to(real)
    for folder in (real, root / "bounding_box_train", root):
        folder.chmod(0o555)
    try:
        dataset = read(root)
    finally:
        for folder in (real, root / "bounding_box_train", root):
            folder.chmod(0o755)
    assert [image.path for image in dataset.train] == [root / "bounding_box_train" / f"000{n}_c1.jpg" for n in (4, 5)]
    assert [image.path for image in dataset.query] == [
        root / "query" / n for n in ("0002_c1 ähnlich (1).JPG", "0002_c2 人.jpeg")
    ]


def test_a_broken_link_is_listed_so_that_reading_names_it(tmp_path: Path) -> None:
    root = lay(tmp_path, *MARKET)
    (root / "query" / "0001_c1_gone.jpg").symlink_to(tmp_path / "gone.jpg")
    assert len(read(root).query) == 2


def test_training_or_test_images_alone(tmp_path: Path) -> None:
    only_train = read(lay(tmp_path / "a", *MARKET[:2]))
    assert (len(only_train.train), only_train.gallery, only_train.queries) == (2, (), {})
    with pytest.raises(DataError, match="a .* has no query images"):
        _ = only_train.query
    only_test = read(lay(tmp_path / "b", *MARKET[2:]))
    assert (only_test.train, len(only_test.query)) == ((), 1)


@pytest.mark.parametrize(
    ("folder", "victim", "name", "message"),
    [
        (
            "Occluded_REID",
            f"{WHOLE}/001/001_01.tif",
            "person.tif",
            r"person\.tif: expected a name that begins with <pid>_",
        ),
        ("Occluded_REID", None, "", r"whole_body_images holds no image"),
    ],
)
def test_body_image_sets_that_do_not_fit(
    tmp_path: Path, folder: str, victim: str | None, name: str, message: str
) -> None:
    root = lay(tmp_path / folder, *OCCLUDED_REID)
    for path in sorted((root / WHOLE).rglob("*.tif")):
        if victim is None:
            path.unlink()
        elif path == root / victim:
            path.rename(path.with_name(name))
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_query_set_cannot_take_the_name_of_a_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a query set cannot be called 'train'"):
        read(lay(tmp_path, *MARKET, "query_train/0001_c1.jpg"))


def test_a_further_query_set_does_not_take_the_place_of_the_default(tmp_path: Path) -> None:
    dataset = read(lay(tmp_path, *MARKET, "query_b/0001_c1.jpg", "query_a/0001_c1.jpg"))
    assert list(dataset.queries) == ["query", "a", "b"]
    with pytest.raises(DataError, match="query_query: a further query set needs a name of its own"):
        read(lay(tmp_path, "query_query/0001_c1.jpg"))
