"""Reads joints from files of OpenPose and MMPose, and puts them in COCO's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partreid.errors import LabelError
from partreid.parts import KEYPOINTS

OPENPOSE = "_keypoints.json"
"""Ending of the files of OpenPose's --write_json. The image's name stands before it."""

_MIRROR = (("eye", 16, 15), ("ear", 18, 17), ("shoulder", 5, 2), ("elbow", 6, 3), ("wrist", 7, 4),
           ("hip", 12, 9), ("knee", 13, 10), ("ankle", 14, 11))  # fmt: skip
_BODY_25 = {"nose": 0} | {f"{side}_{joint}": place for joint, *both in _MIRROR
                          for side, place in zip(("left", "right"), both, strict=True)}  # fmt: skip
"""The position of each of COCO's joints in OpenPose's BODY_25."""
_COCO_18 = _BODY_25 | {
    "left_eye": 15, "right_eye": 14, "left_ear": 17, "right_ear": 16, "left_hip": 11, "right_hip": 8,
    "left_knee": 12, "right_knee": 9, "left_ankle": 13, "right_ankle": 10,
}  # fmt: skip
"""The same for OpenPose's model COCO, which has no joint between the hips."""
_ORDERS = {25: _BODY_25, 18: _COCO_18}

_COCO_FIRST = (17, 26, 133, 136)
"""Numbers of joints of MMPose's models whose first 17 are COCO's: COCO, Halpe, the whole body."""


def is_openpose(content: Any) -> bool:
    """Whether JSON has OpenPose's format for an image."""
    return isinstance(content, dict) and isinstance(content.get("people"), list)


def openpose_persons(people: Sequence[Any], source: str) -> list[dict[str, Any]]:
    """OpenPose's people as entries of COCO's results.

    Raises:
        LabelError: a person has no joints, or a number of joints that no known model has.
    """
    found = []
    for index, one in enumerate(people):
        numbers = one.get("pose_keypoints_2d") if isinstance(one, dict) else None
        order = _ORDERS.get(len(numbers) // 3) if isinstance(numbers, list) and len(numbers) % 3 == 0 else None
        if order is None or not isinstance(numbers, list):
            got = f"{len(numbers)} numbers" if isinstance(numbers, list) else "none"
            raise LabelError(
                f"'pose_keypoints_2d' of person {index} in {source}: expected 75 numbers (BODY_25: 25 joints of x, y, "
                f"confidence) or 54 (COCO: 18), got {got}."
            )
        found.append({"keypoints": [numbers[3 * order[joint] + i] for joint in KEYPOINTS for i in range(3)]})
    return found


def is_mmpose(content: Any) -> bool:
    """Whether JSON has the format of MMPose's inferencer or demo, for an image or a video."""
    listed = content.get("instance_info") if isinstance(content, dict) else content
    return isinstance(listed, list) and (
        isinstance(content, dict)
        or any(isinstance(one, dict) and ("keypoint_scores" in one or "instances" in one) for one in listed)
    )


def mmpose_persons(content: Any, source: str) -> list[dict[str, Any]]:
    """MMPose's instances as entries of COCO's results. For a video, ``image_id`` is the frame's number.

    Raises:
        LabelError: an instance has no joints of two numbers with scores, or joints in another order.
    """
    listed = content["instance_info"] if isinstance(content, dict) else content
    if isinstance(content, dict):
        _check_names(content.get("meta_info"), source)
    found: list[dict[str, Any]] = []
    for frame in listed:
        instances = frame.get("instances") if isinstance(frame, dict) and "instances" in frame else [frame]
        where = {"image_id": frame.get("frame_id")} if isinstance(frame, dict) and "instances" in frame else {}
        if not isinstance(instances, list):
            raise LabelError(f"{source}: expected a list of 'instances', got {instances!r:.40}.")
        for one in instances:
            found.append({**where, "keypoints": _joints(one, f"instance {len(found)} in {source}")})
    return found


def _joints(instance: Any, source: str) -> list[Any]:
    points = instance.get("keypoints") if isinstance(instance, dict) else None
    scores = instance.get("keypoint_scores") if isinstance(instance, dict) else None
    if not (
        isinstance(points, list)
        and isinstance(scores, list)
        and len(points) == len(scores)
        and len(points) in _COCO_FIRST
        and all(isinstance(point, list) and len(point) == 2 for point in points)
    ):
        counts = [len(one) if isinstance(one, list) else "no" for one in (points, scores)]
        raise LabelError(
            f"{source}: expected {', '.join(map(str, _COCO_FIRST))} 'keypoints' of x and y, whose first 17 are COCO's, "
            f"and as many 'keypoint_scores'; got {counts[0]} and {counts[1]}."
        )
    pairs = list(zip(points, scores, strict=True))[: len(KEYPOINTS)]
    return [number for (x, y), score in pairs for number in (x, y, score)]


def _check_names(meta: Any, source: str) -> None:
    """Check the order of joints, because other orders, such as Human3.6M's, may have 17 joints too."""
    named = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(named, dict):
        return
    names = tuple(str(named.get(str(i))) for i in range(len(KEYPOINTS)))
    if names != KEYPOINTS:
        raise LabelError(
            f"{source} has the keypoints {', '.join(names)}. Expected COCO's first: {', '.join(KEYPOINTS)}."
        )
