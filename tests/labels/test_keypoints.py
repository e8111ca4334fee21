"""Keypoints of other tools: the forms of files, whose image an entry is, and what is refused."""

import contextlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partreid.errors import ConfigError, LabelError, ShapeError
from partreid.labels.generate import LabelJob, LabelSummary, make_labels
from partreid.labels.grouping import group_fields, label_map
from partreid.labels.providers import Crop, load_provider
from partreid.labels.providers.keypoint_files import read_persons
from partreid.labels.providers.keypoints import KeypointFile
from partreid.parts import KEYPOINTS, get_part_schema

# (x, y) of a person who stands in a crop of 128×64.
STANDING = np.array([
    (32, 14), (34, 12), (30, 12), (36, 13), (28, 13), (42, 28), (22, 28), (46, 45), (18, 45), (47, 60), (17, 60),
    (38, 66), (26, 66), (38, 92), (26, 92), (38, 117), (26, 117),
], float)  # fmt: skip


def read_keypoints(path: Path, *, images: Path | None = None) -> tuple[list[str], np.ndarray]:
    persons = read_persons(path, images=images)
    return persons.names, persons.keypoints


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


def test_openpifpafs_folder(tmp_path: Path) -> None:
    def predict(name: str, *persons: list[float]) -> Path:
        """What ``openpifpaf.predict --json-output`` writes for an image."""
        file = tmp_path / "pifpaf" / f"{name}.predictions.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        entries = [{"keypoints": p, "bbox": [18.0, 12.0, 29.0, 105.0], "score": 0.9, "category_id": 1} for p in persons]
        file.write_text(json.dumps(entries))
        return file

    single = predict("0001_c1.jpg", person())
    predict("0002_c1.jpg", person(), person(0.5))
    predict("sub/0003_c1.jpg")
    provider = load_provider("keypoints", model=single.parent)
    paths = [f"/data/train/{name}" for name in ("0001_c1.jpg", "0002_c1.jpg", "sub/0003_c1.jpg")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the file of nobody names its image too
        provider.check(list(map(Path, paths)))
    labels = list(provider.detect(map(crop, paths)))
    assert [label.persons for label in labels] == [1, 2, 0]
    assert read_keypoints(single)[0] == ["0001_c1.jpg"]
    predict("sub/0003_c1.jpg", person()[:-3])
    with pytest.raises(LabelError, match=r"entry 3 \(sub/0003_c1\.jpg\) in .*pifpaf: 48 numbers"):
        read_keypoints(single.parent)
    single.write_text('{"keypoints": []}')
    with pytest.raises(LabelError, match=r"0001_c1\.jpg\.predictions\.json is no list of persons, as openpifpaf"):
        read_keypoints(single.parent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match=r"holds no \*\.predictions\.json\. Expected the folder of openpifpaf"):
        read_keypoints(tmp_path / "empty")


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


def test_one_name_for_two_images_is_refused(save) -> None:  # type: ignore[no-untyped-def]
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


def test_a_file_of_other_images_leaves_no_empty_labels(save) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results("x.jpg")))
    with pytest.raises(LabelError, match=r"names none of the 3 images\. It names x\.jpg; .*/data/2\.jpg"):
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
        with pytest.raises(ConfigError, match=f"{name}' needs .*--network"):
            load_provider(name)
    with pytest.raises(ConfigError, match="Only the label provider 'keypoints' takes a list of images"):
        load_provider("openvino", model="x.xml", images="y.json")


# --- sizes, orders, categories, values: what other tools write ---


def coco(width: int, height: int, scale: float = 1.0, *, x: float = 1.0, **more: Any) -> dict[str, Any]:
    """COCO JSON whose images have a size, with a standing person's keypoints times ``scale``, x also times ``x``."""
    joints = (np.array(person()).reshape(17, 3) * (scale * x, scale, 1)).ravel().tolist()
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": joints}],
        **more,
    }


def first_label(file: Path, *, height: int = 128, width: int = 64) -> np.ndarray:
    provider = KeypointFile(file)
    provider.check([Path("a.jpg")])
    return next(provider.detect([crop("a.jpg", height, width)])).fields


@pytest.mark.parametrize(("width", "height", "scale"), [(128, 256, 2), (96, 192, 1.5), (32, 64, 0.5), (64, 128, 1)])
def test_keypoints_of_an_enlarged_image_are_brought_to_the_crop(
    save,  # type: ignore[no-untyped-def]
    width: int,
    height: int,
    scale: float,
) -> None:
    right = first_label(save(results("a.jpg")))
    np.testing.assert_allclose(first_label(save(coco(width, height, scale))), right, atol=1e-5)


def test_a_pixel_of_rounding_is_no_other_shape(save) -> None:  # type: ignore[no-untyped-def]
    # 61×157 brought to a height of 256 is 99.46 wide, so 99.
    provider = KeypointFile(save(coco(99, 256, 2)))
    (label,) = provider.detect([crop("a.jpg", 157, 61)])
    joints = np.array(person()).reshape(17, 3) * (2 * 61 / 99, 2 * 157 / 256, 1)
    (right,) = KeypointFile(save([{"image_id": "a.jpg", "keypoints": joints.ravel().tolist()}])).detect(
        [crop("a.jpg", 157, 61)]
    )
    np.testing.assert_allclose(label.fields, right.fields, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (128, 128, r"says that a\.jpg is 128x128, but it is 64x128, width x height: no enlargement"),
        (128, 64, r"is 128x64 \(that is how it lies in the file; images are read upright\), but it is 64x128"),
        (640, 480, "is 640x480, but it is 64x128"),
    ],
)
def test_a_size_of_another_shape_is_refused(save, width: int, height: int, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LabelError, match=message):
        first_label(save(coco(width, height)))


@pytest.mark.parametrize("sizes", [{"width": None, "height": None}, {}, {"width": "64", "height": 0}, {"width": 1e400}])
def test_a_size_that_nobody_knows_is_not_looked_at(save, sizes: dict[str, Any]) -> None:  # type: ignore[no-untyped-def]
    content = coco(1, 1)
    content["images"] = [{"id": 1, "file_name": "a.jpg", **sizes}]
    np.testing.assert_array_equal(first_label(save(content)), first_label(save(results("a.jpg"))))


def test_other_sizes_show_without_being_said(save) -> None:  # type: ignore[no-untyped-def]
    def refused(change: Any, **size: int) -> str:
        joints = change(np.array(person()).reshape(17, 3))
        with pytest.raises(LabelError) as raised:
            first_label(save([{"image_id": "a.jpg", "keypoints": joints.ravel().tolist()}]), **size)
        return str(raised.value)

    assert "reach to x = 117, y = 47 of an image 64x128: x and y seem to be exchanged" in refused(
        lambda k: k[:, [1, 0, 2]]
    )
    assert "most lie outside it: they seem to be of another size" in refused(lambda k: k * (2, 2, 1))
    assert "within its first pixels" in refused(lambda k: k / (64, 128, 1) * 1.01 - (0.01, 0, 0))


def test_a_body_that_goes_on_beyond_the_crop_is_no_other_size(save) -> None:  # type: ignore[no-untyped-def]
    file = save(results("a.jpg"))
    for height, width in ((60, 64), (128, 40), (50, 128)):  # legs cut off, a side cut off, a wide crop of a head
        assert first_label(file, height=height, width=width).any()


@pytest.mark.parametrize("name", ["a", "train/a", "C:\\data\\train\\a"])
def test_a_name_may_lack_its_suffix(save, name: str) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results(name)))
    assert [label.persons for label in provider.detect([crop("/data/train/a.jpg")])] == [1]
    with pytest.raises(LabelError, match=r"may be /data/train/a\.jpg or /data/train/a\.png"):
        provider.check([Path("/data/train/a.jpg"), Path("/data/train/a.png")])


def test_a_whole_name_counts_before_one_without_suffix(save) -> None:  # type: ignore[no-untyped-def]
    provider = KeypointFile(save(results("a.png", "a", "a")))
    provider.check([Path("/d/a.jpg"), Path("/d/a.png")])
    assert [label.persons for label in provider.detect([crop("/d/a.jpg"), crop("/d/a.png")])] == [2, 1]


def test_a_base_name_of_two_folders_of_the_set_is_refused_though_one_is_labelled(save) -> None:  # type: ignore[no-untyped-def]
    train, query = Path("/d/train/a.jpg"), Path("/d/query/a.jpg")
    with pytest.raises(LabelError, match=r"a\.jpg may be /d/train/a\.jpg or /d/query/a\.jpg. Give names with folders"):
        KeypointFile(save(results("a.jpg"))).check([train], [train, query])
    KeypointFile(save(results("train/a.jpg"))).check([train], [train, query])
    KeypointFile(save(results("b.jpg"))).check([Path("/d/train/b.jpg")], [train, query])


def test_images_that_the_file_does_not_name_are_told(save) -> None:  # type: ignore[no-untyped-def]
    images = [Path(f"/d/{name}.jpg") for name in "abc"]
    with pytest.warns(UserWarning, match=r"does not name 2 of the 3 images, the first is /d/b\.jpg.*empty label"):
        KeypointFile(save(results("a.jpg"))).check(images)
    content = {**coco(64, 128), "images": [{"id": i + 1, "file_name": f"{n}.jpg"} for i, n in enumerate("abc")]}
    with warnings.catch_warnings():  # the file says that nobody was found in b and c
        warnings.simplefilter("error")
        provider = KeypointFile(save(content))
        provider.check(images)
    assert [label.persons for label in provider.detect(map(crop, map(str, images)))] == [1, 0, 0]


def test_whose_image_an_entry_is(save) -> None:  # type: ignore[no-untyped-def]
    images = {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2.0, "file_name": "b.jpg"}]}
    entries = [
        {"image_id": 1.0}, {"image_id": "2"}, {"image_id": 7, "file_name": "c.jpg"}, {"file_name": "d.jpg"},
        {"image_id": "e.jpg"},
    ]  # fmt: skip
    file = save([{**entry, "keypoints": person()} for entry in entries])
    names, _ = read_keypoints(file, images=save(images, "images.json"))
    assert names == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]
    images["images"].append({"id": 1, "file_name": "z.jpg"})
    with pytest.raises(LabelError, match=r"two images with id 1: a\.jpg and z\.jpg"):
        read_keypoints(file, images=save(images, "images.json"))


def with_categories(*names: str, keypoints: tuple[str, ...] = ()) -> dict[str, Any]:
    """COCO JSON with an entry for each category."""
    content = coco(64, 128)
    content["categories"] = [{"id": i, "name": name, "keypoints": list(keypoints)} for i, name in enumerate(names)]
    content["annotations"] = [{"image_id": 1, "category_id": i, "keypoints": person()} for i in range(len(names))]
    return content


def test_only_persons_are_drawn(save) -> None:  # type: ignore[no-untyped-def]
    with pytest.warns(UserWarning, match=r"left out: 2 entries .* of other categories than persons: cat, dog"):
        names, _ = read_keypoints(save(with_categories("dog", "Person", "cat")))
    assert len(names) == 1
    with pytest.raises(LabelError, match="holds no person: all 1 entries are of the category dog"):
        read_keypoints(save(with_categories("dog")))
    assert read_keypoints(save(with_categories("pedestrian")))[0] == ["a.jpg"]
    assert read_keypoints(save(with_categories("player", keypoints=KEYPOINTS)))[0] == ["a.jpg"]
    with pytest.raises(LabelError, match="has the keypoints root, hip. Expected 17"):
        read_keypoints(save(with_categories("person", keypoints=("root", "hip"))))
    lists = [{**entry, "category_id": i} for i, entry in enumerate(results("a.jpg", "b.jpg"))]
    with pytest.raises(LabelError, match="entries of the categories 0, 1, and no list says which are persons"):
        read_keypoints(save(lists))
    assert len(read_keypoints(save(lists[1:]))[0]) == 1


def test_a_joint_that_was_not_found_needs_no_place(save) -> None:  # type: ignore[no-untyped-def]
    expected = person(right_ankle=0)
    for missing in ([None, None, 0], [float("nan")] * 3, [None] * 3, [float("nan"), 3, 0], [5.0, 5.0, 0]):
        _, keypoints = read_keypoints(save([{"image_id": "a.jpg", "keypoints": [*expected[:48], *missing]}]))
        assert keypoints[0, 16, 2] == 0
        np.testing.assert_array_equal(keypoints[0, :16].ravel(), expected[:48])
    for wrong in ([3.0, 3.0, None], [None, 3.0, 0.9], [float("inf"), 3.0, 0.9]):
        with pytest.raises(LabelError, match=r"not finite in entry 0 \(a\.jpg\)"):
            read_keypoints(save([{"image_id": "a.jpg", "keypoints": [*expected[:48], *wrong]}]))


def test_lists_of_three_are_51_numbers(save) -> None:  # type: ignore[no-untyped-def]
    nested = [person()[i : i + 3] for i in range(0, 51, 3)]
    _, keypoints = read_keypoints(save([{"image_id": "a.jpg", "keypoints": nested}]))
    np.testing.assert_array_equal(keypoints.ravel(), person())


def test_flags_without_any_2_are_told(save) -> None:  # type: ignore[no-untyped-def]
    content = coco(64, 128)
    content["annotations"][0]["keypoints"] = person(1)
    with pytest.warns(UserWarning, match="are all 0 or 1. They are taken for confidences, 1 = seen"):
        read_keypoints(save(content))


@pytest.mark.parametrize(
    ("count", "message"),
    [(34, "34 numbers .x and y without a confidence"), (54, "OpenPose"), (75, "OpenPose"), (78, "first 17 are COCO")],
)
def test_other_numbers_of_joints_are_known_by_name(save, count: int, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LabelError, match=message):
        read_keypoints(save([{"image_id": "a.jpg", "keypoints": [1.0] * count}]))


def test_what_other_tools_write_is_named(save) -> None:  # type: ignore[no-untyped-def]
    content = {"version": 0.1, "bodies": []}  # AlphaPose's --format cmu
    with pytest.raises(
        LabelError, match="neither COCO JSON .*found an object with version, bodies. Export COCO's format"
    ):
        read_keypoints(save(content))


def test_hostile_files_are_typed_errors(tmp_path: Path) -> None:
    deep, digits = tmp_path / "deep.json", tmp_path / "digits.json"
    deep.write_text("[" * 10**6)
    with pytest.raises(LabelError, match=r"Cannot read .*deep\.json as JSON"):
        read_keypoints(deep)
    digits.write_text(json.dumps(results("a.jpg")).replace("0.9", "9" * 400, 1))
    with pytest.raises(LabelError, match="something else than numbers"):
        read_keypoints(digits)
    np.savez_compressed(tmp_path / "bomb.npz", paths=np.array(["a"] * 10), keypoints=np.zeros((400_000, 17, 3)))
    with pytest.raises(LabelError, match=r"bomb\.npz: keypoints\.npy unpacks from \d+ bytes to 163200128"):
        read_keypoints(tmp_path / "bomb.npz")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(person()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["images", "annotations", "categories", "id", "image_id", "file_name", "keypoints", "width",
                         "height", "category_id", "name"]), inner, max_size=5),
    max_leaves=12,
))  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_any_json_is_read_or_refused(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "any.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    with contextlib.suppress(LabelError):
        provider = KeypointFile(file)
        provider.check([Path("a.jpg")])
        list(provider.detect([crop("a.jpg")]))


def test_sizes_and_categories_written_as_text(tmp_path: Path) -> None:
    right = np.array([[x, y, 0.9] for x, y in [(20 + i, 7 * i + 2) for i in range(17)]])

    def fields(factor: float, size: tuple[object, object], category: object = 1) -> NDArray[np.float32]:
        entry = {"image_id": "1", "category_id": category, "keypoints": (right * [factor, factor, 1]).ravel().tolist()}
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
            "annotations": [entry],
            "categories": [{"id": 1, "name": "person"}],
        }
        path = tmp_path / "k.json"
        path.write_text(json.dumps(content))
        return next(KeypointFile(path).detect([Crop(Path("a.jpg"), np.zeros((128, 64, 3), np.uint8))])).fields

    want = fields(1, (64, 128))
    assert np.allclose(fields(1.5, ("96", "192"), "1"), want)
    with pytest.raises(LabelError, match=r"width of a\.jpg is 'wide'; expected pixels"):
        fields(1, ("wide", 128))


def test_keypoints_of_images_of_another_size_are_told(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(5)]
    crops = [Crop(Path(name), np.zeros((128, 64, 3), np.uint8)) for name in names]
    for factor, hint in ((0.5, "upper left"), (1.0, ""), (2.0, "beyond the right and the lower edge")):
        person = [number for i in range(17) for number in ((20 + i) * factor, (7 * i + 2) * factor, 0.9)]
        path = tmp_path / "k.json"
        path.write_text(json.dumps([{"image_id": name, "keypoints": person} for name in names]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(list(KeypointFile(path).detect(crops))) == 5
        told = [str(one.message) for one in caught if "of another size" in str(one.message)]
        assert len(told) == bool(hint)
        assert hint in "".join(told)


@pytest.mark.parametrize("option", [{"stride": 0}, {"stride": 1.5}, {"min_confidence": 30}, {"min_confidence": np.nan}])
def test_options_of_keypoints(option: dict[str, float], tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(json.dumps([{"image_id": "a.jpg", "keypoints": [5, 5, 0.9] * 17}]))
    with pytest.raises(ShapeError, match=next(iter(option))):
        KeypointFile(path, **option)  # type: ignore[arg-type]
