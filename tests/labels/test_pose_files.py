"""Keypoints of OpenPose and MMPose: the order of their joints, whose image a file is of, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partreid.errors import LabelError
from partreid.labels.providers.keypoint_files import read_persons
from partreid.labels.providers.keypoints import KeypointFile
from partreid.parts import KEYPOINTS

# As OpenPose's documentation lists them.
BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye",
    "left_eye", "right_ear", "left_ear", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe",
    "right_small_toe", "right_heel",
)  # fmt: skip
COCO_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
EVERY = (*KEYPOINTS, *(name for name in BODY_25 if name not in KEYPOINTS))
PLACES = {name: (3.0 + 2 * i, 5.0 + 4 * i, 0.5 + i / 100) for i, name in enumerate(EVERY)}
RIGHT = np.array([PLACES[name] for name in KEYPOINTS])


def openpose(order: tuple[str, ...], people: int = 1) -> dict[str, Any]:
    numbers = [number for name in order for number in PLACES[name]]
    one = {"person_id": [-1], "pose_keypoints_2d": numbers, "face_keypoints_2d": [], "pose_keypoints_3d": []}
    return {"version": 1.3, "people": [one] * people}


def mmpose(count: int = 17) -> dict[str, Any]:
    joints = [PLACES[name] for name in KEYPOINTS] + [(1.0, 1.0, 0.1)] * (count - 17)
    return {"keypoints": [[x, y] for x, y, _ in joints], "keypoint_scores": [score for *_, score in joints],
            "bbox": [[0.0, 0.0, 60.0, 120.0]], "bbox_score": 0.9}  # fmt: skip


def save(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("order", [BODY_25, COCO_18], ids=["BODY_25", "COCO"])
def test_openposes_joints_in_cocos_order(order: tuple[str, ...], tmp_path: Path) -> None:
    persons = read_persons(save(tmp_path / "0001_c1_keypoints.json", openpose(order)))
    assert persons.names == ["0001_c1"]
    np.testing.assert_array_equal(persons.keypoints[0], RIGHT)


def test_a_folder_of_openpose(tmp_path: Path) -> None:
    save(tmp_path / "a_keypoints.json", openpose(BODY_25, people=2))
    save(tmp_path / "sub" / "b_keypoints.json", openpose(BODY_25, people=0))
    save(tmp_path / "notes.json", {"of": "somebody"})
    persons = read_persons(tmp_path)
    assert (persons.names, persons.mentioned) == (["a", "a"], ["a", "sub/b", "a", "a"])
    KeypointFile(tmp_path).check([Path("/data/a.jpg"), Path("/data/sub/b.jpg")])


@pytest.mark.parametrize("count", [17, 26, 133])
def test_mmposes_images(count: int, tmp_path: Path) -> None:
    save(tmp_path / "predictions" / "a.json", [mmpose(count)] * 2)
    save(tmp_path / "predictions" / "b.json", [])
    persons = read_persons(tmp_path / "predictions")
    assert (persons.names, set(persons.mentioned)) == (["a", "a"], {"a", "b"})
    np.testing.assert_array_equal(persons.keypoints[1], RIGHT)


def test_mmposes_videos_need_a_list_of_images(tmp_path: Path) -> None:
    frames = [{"frame_id": 0, "instances": [mmpose()]}, {"frame_id": 1, "instances": []}]
    images = save(tmp_path / "images.json", {"images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(2)]})
    for content in (frames, {"meta_info": {"dataset_name": "coco"}, "instance_info": frames}):
        file = save(tmp_path / "hall.json", content)
        with pytest.raises(LabelError, match="image 0, which no list of images explains.*--image-list"):
            read_persons(file)
        assert read_persons(file, images=images).names == ["0.jpg"]


def test_mmposes_demo_says_its_joints(tmp_path: Path) -> None:
    names = {str(i): name for i, name in enumerate(KEYPOINTS)}
    content = {"meta_info": {"keypoint_id2name": names}, "instance_info": [mmpose()]}
    assert read_persons(save(tmp_path / "results_a.json", content)).names == ["a"]
    content["meta_info"]["keypoint_id2name"] = {**names, "0": "root"}  # Human3.6M has 17 joints too
    with pytest.raises(LabelError, match="the keypoints root, left_eye"):
        read_persons(save(tmp_path / "results_a.json", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (openpose(BODY_25[:17]), "person 0 in .*expected 75 numbers .BODY_25.*got 51 numbers"),
        ({"people": [{"pose_keypoints": [1.0] * 75}]}, "got none"),
        ({"people": [7]}, "got none"),
        ([mmpose(21)], "instance 0 in .*expected 17, 26.*got 21 and 21"),  # a hand
        ([{**mmpose(), "keypoint_scores": [1.0]}], "got 17 and 1"),
        ([{"frame_id": 0, "instances": {}}], "expected a list of 'instances'"),
        ([{**mmpose(), "keypoints": [[1, 2, 3]] * 17}], "of x and y"),
    ],
)
def test_other_joints_are_refused(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=message):
        read_persons(save(tmp_path / "a.json", content))


def test_fractions_are_refused_where_they_are_drawn(tmp_path: Path) -> None:
    from partreid.labels.providers import Crop

    content = openpose(BODY_25)
    numbers = np.array(content["people"][0]["pose_keypoints_2d"]).reshape(25, 3) / (64, 128, 1)  # --keypoint_scale 3
    content["people"][0]["pose_keypoints_2d"] = numbers.ravel().tolist()
    provider = KeypointFile(save(tmp_path / "a_keypoints.json", content))
    with pytest.raises(LabelError, match="seem to be fractions"):
        list(provider.detect([Crop(Path("a.jpg"), np.zeros((128, 64, 3), np.uint8))]))


def test_a_folder_of_other_json_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "coco.json", {"images": [], "annotations": []})
    with pytest.raises(LabelError, match=r"coco\.json is not what OpenPifPaf, OpenPose or MMPose writes"):
        read_persons(tmp_path)
