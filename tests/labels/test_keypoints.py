"""Keypoints of other tools: the forms of files, whose picture an entry is, and what is refused."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partreid.errors import ConfigError, LabelError
from partreid.labels.generate import LabelJob, LabelSummary, make_labels
from partreid.labels.grouping import group_fields, label_map
from partreid.labels.providers import Crop, load_provider
from partreid.labels.providers.keypoint_files import read_keypoints
from partreid.labels.providers.keypoints import KeypointFile
from partreid.parts import KEYPOINTS, get_part_schema

# (x, y) of a person who stands in a crop of 128×64.
STANDING = np.array([
    (32, 14), (34, 12), (30, 12), (36, 13), (28, 13), (42, 28), (22, 28), (46, 45), (18, 45), (47, 60), (17, 60),
    (38, 66), (26, 66), (38, 92), (26, 92), (38, 117), (26, 117),
], float)  # fmt: skip


def person(confidence: float = 0.9, **joints: float) -> list[float]:
    """51 numbers; single joints' third number by name."""
    third = [joints.get(name, confidence) for name in KEYPOINTS]
    return np.column_stack([STANDING, third]).ravel().tolist()


def crop(path: str, height: int = 128, width: int = 64) -> Crop:
    return Crop(Path(path), np.zeros((height, width, 3), np.uint8))


@pytest.fixture
def save(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A function that writes content as JSON and gives the file's path."""

    def write(content: Any, name: str = "persons.json") -> Path:
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        return tmp_path / name

    return write


def results(*names: str) -> list[dict[str, Any]]:
    return [{"image_id": name, "keypoints": person(), "score": 0.8} for name in names]


def test_results_by_name_become_labels(save) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results("train/a.jpg", "train/c.jpg", "train/c.jpg")))
    labels = list(provider.detect(crop(f"/data/train/{name}.jpg") for name in "abc"))
    assert [label.persons for label in labels] == [1, 0, 2]
    assert labels[0].fields.shape == (36, 17, 9)
    assert set(np.unique(label_map(group_fields(labels[0].fields, get_part_schema("five"))))) == {0, 1, 2, 3, 4, 5}
    assert not labels[1].fields.any()


def test_coco_json_shows_what_is_visible(save) -> None:  # type: ignore[no-untyped-def]
    annotations = [
        {"image_id": 7, "keypoints": person(2, left_ankle=1, right_ankle=0)},
        {"image_id": 8, "keypoints": [0] * 51},
    ]
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}]
    names, keypoints = read_keypoints(save({"images": images, "annotations": annotations}))
    assert names == ["a.jpg"]
    np.testing.assert_array_equal(keypoints[0, :, 2], [1] * 15 + [0, 0])


def test_numbers_of_results_are_explained_by_a_list_of_images(save) -> None:  # type: ignore[no-untyped-def]
    images = save({"images": [{"id": 3, "file_name": "x/a.jpg"}]}, "images.json")
    file = save([{"image_id": 3, "keypoints": person(1.02)}])
    names, keypoints = read_keypoints(file, images=images)
    assert names == ["x/a.jpg"]
    assert keypoints[..., 2].max() == 1
    with pytest.raises(LabelError, match="image 3, which no list of images explains"):
        read_keypoints(file)


def test_arrays(tmp_path: Path) -> None:
    keypoints = np.array([person(), person(0.5)], np.float32).reshape(2, 17, 3)
    np.savez(tmp_path / "k.npz", paths=["a.jpg", "b.jpg"], keypoints=keypoints)
    names, read = read_keypoints(tmp_path / "k.npz")
    assert names == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(read, keypoints)
    np.savez(tmp_path / "k.npz", paths=["a.jpg"], keypoints=keypoints[:, :14])
    with pytest.raises(LabelError, match=r"shape \(2, 14, 3\) for 1 paths.*17 keypoints.*nose, left_eye"):
        read_keypoints(tmp_path / "k.npz")
    np.savez(tmp_path / "k.npz", keypoints=keypoints)
    with pytest.raises(LabelError, match="must hold the arrays 'paths'"):
        read_keypoints(tmp_path / "k.npz")


def test_a_weak_keypoint_is_not_drawn(save) -> None:  # type: ignore[no-untyped-def]
    file = save([{"image_id": "a.jpg", "keypoints": person(left_wrist=0.2)}])
    wrist = KEYPOINTS.index("left_wrist")
    (without,) = KeypointFile(file).detect([crop("a.jpg")])
    (with_it,) = KeypointFile(file, min_confidence=0.1).detect([crop("a.jpg")])
    assert not without.fields[wrist].any()
    assert with_it.fields[wrist].max() > 0.5


@pytest.mark.parametrize(
    "name", ["a.jpg", "train/a.jpg", "./train/a.jpg", "train\\a.jpg", "/other/machine/train/a.jpg"]
)
def test_a_name_is_the_end_of_the_path(save, name: str) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results(name)))
    assert [label.persons for label in provider.detect([crop("/data/train/a.jpg")])] == [1]


def test_the_longest_common_end_counts(save) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save([*results("query/a.jpg", "train/a.jpg"), *results("train/a.jpg")]))
    crops = [crop("/data/query/a.jpg"), crop("/data/train/a.jpg"), crop("/data/gallery/a.jpg")]
    assert [label.persons for label in provider.detect(crops)] == [1, 2, 0]


def test_names_that_fit_equally_well_are_refused(save) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results("/one/train/a.jpg", "/two/train/a.jpg")))
    with pytest.raises(LabelError, match=r"/one/train/a\.jpg and .*/two/train/a\.jpg both may be /data/train/a\.jpg"):
        provider.check([Path("/data/train/a.jpg")])


def test_one_name_for_two_pictures_is_refused(save) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results("a.jpg")))
    with pytest.raises(LabelError, match=r"a\.jpg may be /data/query/a\.jpg or /data/train/a\.jpg"):
        provider.check([Path("/data/query/a.jpg"), Path("/data/train/a.jpg")])


def test_a_run_taken_up_again_knows_what_an_unbroken_one_knows(save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def make(file: Path, *names: str) -> LabelSummary:
        jobs = [LabelJob(tmp_path / f"{name}.jpg", tmp_path / "masks" / f"{name}.npy", name) for name in names]
        return make_labels(KeypointFile(file), jobs, tmp_path / "masks", read=lambda path: crop("").pixels)

    one = save(results("1.jpg"))
    assert make(one, "a/1", "a/2").notes == {"no_person": 1}
    (tmp_path / "masks" / "a" / "2.npy").unlink()
    assert make(one, "a/1", "a/2").made == 1  # what is left to do shows nobody, as the file knows of the others
    with pytest.raises(LabelError, match=r"1\.jpg may be .*a/1\.jpg or .*b/1\.jpg"):
        make(one, "a/1", "b/1")
    assert not (tmp_path / "masks" / "b").exists()


def test_a_file_of_other_pictures_leaves_no_empty_labels(save) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results("x.jpg")))
    with pytest.raises(LabelError, match=r"names none of the 3 pictures\. It names x\.jpg; .*/data/2\.jpg"):
        provider.check([Path(f"/data/{i}.jpg") for i in range(3)])
    provider.check([Path("/data/a.jpg"), Path("/data/x.jpg")])
    provider.check([])
    late = provider.detect(crop(f"/data/{name}.jpg", height) for name, height in (("a", 64), ("x", 128), ("b", 96)))
    assert [(label.persons, label.fields.shape[1]) for label in late] == [(0, 9), (1, 17), (0, 13)]


def test_keypoints_of_the_whole_frame_are_refused(save) -> None:  # type: ignore[no-untyped-def]
    far = (np.array(person()).reshape(17, 3) + np.array([500, 300, 0])).ravel().tolist()
    provider = KeypointFile(save([{"image_id": "a.jpg", "keypoints": far}]))
    with pytest.raises(LabelError, match=r"a\.jpg lie outside it, the first at x = 532.*64x128.*pixels of the crop"):
        list(provider.detect([crop("a.jpg")]))


def test_shares_of_the_size_are_no_pixels(save) -> None:  # type: ignore[no-untyped-def]
    shares = (np.array(person()).reshape(17, 3) / np.array([64, 128, 1])).ravel().tolist()
    provider = KeypointFile(save([{"image_id": "a.jpg", "keypoints": shares}]))
    with pytest.raises(LabelError, match=r"a\.jpg lie within its first pixel.*x times 64, y times 128"):
        list(provider.detect([crop("a.jpg")]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds no person: its list is empty"),
        ({"annotations": []}, "holds no person"),
        ("text", "neither COCO JSON"),
        ({"info": {}}, "neither COCO JSON"),
        ([{"keypoints": person()}], "Entry 0 of .* has no 'image_id'"),
        ([{"image_id": "a.jpg"}], r"entry 0 \(a\.jpg\).*no list of numbers"),
        ([*results("a.jpg"), {"image_id": "b", "keypoints": [1.0] * 399}], r"entry 1 \(b\).*399.*first 17 are COCO"),
        ([{"image_id": "b", "keypoints": [1.0] * 42}], "42 numbers.*17 keypoints of 3 numbers.*nose, left_eye"),
        ([{"image_id": "b", "keypoints": ["x"] * 51}], "something else than numbers"),
        ([{"image_id": "b", "keypoints": person(float("nan"))}], r"not finite in entry 0 \(b\)"),
        (
            [*results("a.jpg"), {"image_id": "b", "keypoints": person(nose=-0.1)}],
            r"negative confidence in entry 1 \(b\)",
        ),
        ([{"image_id": "b", "keypoints": person(nose=97)}], r"above 1 \(up to 97 in this file; divide by the scale"),
        ([{"image_id": "b", "keypoints": person(0)}], "1 entries, none with a confident keypoint"),
        ({"images": [{"id": 1}], "annotations": results("a")}, "needs 'id' and 'file_name'"),
        ({"categories": [{"keypoints": ["neck"]}], "annotations": results("a")}, "has the keypoints neck. Expected 17"),
    ],
)
def test_wrong_json_is_refused(save, content: Any, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LabelError, match=message):
        read_keypoints(save(content))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    for name, content, message in (
        ("k.csv", b"", r"k\.csv is: expected keypoints in a \.json or \.npz"),
        ("k.json", b"{", r"Cannot read .*k\.json as JSON"),
        ("k.npz", b"no zip", r"Cannot read .*k\.npz"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LabelError, match=message):
            read_keypoints(tmp_path / name)
    np.save(tmp_path / "k.npy", np.zeros(3))
    with pytest.raises(LabelError, match=r"single\.npz: it holds a single array"):
        read_keypoints((tmp_path / "k.npy").rename(tmp_path / "single.npz"))
    with pytest.raises(LabelError, match=r"gone\.json does not exist"):
        read_keypoints(tmp_path / "gone.json")


@pytest.mark.slow
def test_a_large_file_loads_in_seconds(save) -> None:  # type: ignore[no-untyped-def]
    count = 100_000
    annotations = [{"id": i, "image_id": i, "bbox": [0, 0, 1, 1], "keypoints": person()} for i in range(count)]
    images = [{"id": i, "file_name": f"train/{i:06d}.jpg"} for i in range(count)]
    file = save({"images": images, "annotations": annotations})
    start = time.perf_counter()
    provider = KeypointFile(file)
    assert [label.persons for label in provider.detect([crop("/data/train/099999.jpg")])] == [1]
    assert time.perf_counter() - start < 20


def test_by_name(save) -> None:  # type: ignore[no-untyped-def]
    assert load_provider("keypoints", model=save(results("a.jpg"))).name == "keypoints"
    for name in ("keypoints", "openvino"):
        with pytest.raises(ConfigError, match=f"{name}' needs .*--model"):
            load_provider(name)
    with pytest.raises(ConfigError, match="Only the label provider 'keypoints' takes a list of images"):
        load_provider("openvino", model="x.xml", images="y.json")
