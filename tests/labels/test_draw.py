"""Pose fields drawn from keypoints."""

from __future__ import annotations

import numpy as np
import pytest

from partreid.errors import LabelError
from partreid.labels.draw import draw_pose_fields, estimate_stature
from partreid.labels.grouping import group_fields, label_map
from partreid.parts import KEYPOINTS, LIMBS, get_part_schema, pose_field_flip

SIZE, GRID = (128, 64), (17, 9)


def standing() -> np.ndarray:
    """A person of 118 pixels seen from the front; the left side is at larger x."""
    xy = {
        "nose": (32, 17), "left_eye": (34, 14), "right_eye": (30, 14), "left_ear": (37, 15), "right_ear": (27, 15),
        "left_shoulder": (42, 28), "right_shoulder": (22, 28), "left_elbow": (45, 46), "right_elbow": (19, 46),
        "left_wrist": (46, 62), "right_wrist": (18, 62), "left_hip": (38, 63), "right_hip": (26, 63),
        "left_knee": (38, 90), "right_knee": (26, 90), "left_ankle": (38, 116), "right_ankle": (26, 116),
    }  # fmt: skip
    return np.array([(*xy[name], 0.9) for name in KEYPOINTS], float)


def draw(points: np.ndarray) -> np.ndarray:
    return draw_pose_fields(points, image_size=SIZE, field_size=GRID, scale=118)


def test_oracle_plain_loops() -> None:
    fields = draw(standing())
    knee = KEYPOINTS.index("left_knee")
    for i in range(17):
        for j in range(9):
            distance = np.hypot(i * 8 - 90, j * 8 - 38)
            radius = max(0.045 * 118, np.hypot(8, 8) / 2)
            assert fields[knee, i, j] == pytest.approx(0.9 * 2 ** -((distance / radius) ** 2), abs=1e-6)


@pytest.mark.parametrize("name", ["five", "eight", "five_v"])
def test_every_part_owns_nodes(name: str) -> None:
    schema = get_part_schema(name)
    label = label_map(group_fields(draw(standing()), schema))
    assert set(np.unique(label)) == set(range(len(schema) + 1))
    head, feet = label == 1, label == schema.parts.index(schema.parts[-1]) + 1
    assert np.argwhere(head)[:, 0].max() <= 4
    assert np.argwhere(feet)[:, 0].min() >= 13


def test_a_broad_chest_has_no_hole_and_an_arm_before_it_stays_an_arm() -> None:
    points, schema = standing(), get_part_schema("five")
    for name, x in (("left_shoulder", 52), ("right_shoulder", 12), ("left_hip", 46), ("right_hip", 18)):
        points[KEYPOINTS.index(name), 0] = x
    chest = label_map(group_fields(draw(points), schema))[4:8, 3:6]
    assert (chest == schema.parts.index("torso") + 1).all()
    points[KEYPOINTS.index("left_wrist"), :2] = 32, 44
    label = label_map(group_fields(draw(points), schema))
    assert (label[5:7, 4] == schema.parts.index("arms") + 1).any()
    points[KEYPOINTS.index("left_hip"), 2] = 0  # half a trunk is not filled
    assert (label_map(group_fields(draw(points), schema))[4:8, 3:6] == 0).any()


def test_a_trunk_seen_from_the_side_ends_at_shoulders_and_hips() -> None:
    points = standing()
    for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip"):
        points[KEYPOINTS.index(name), 0] = 32  # exactly on a column of nodes
    points[KEYPOINTS.index("left_shoulder"), 1] = 30
    trunk = draw(points)[[LIMBS.index(("left_shoulder", "left_hip")) + 17]]
    assert trunk[0, 5, 4] > 0.8
    assert trunk[0, [0, 12, 16], 4].max() < 0.1


def test_hidden_keypoint_hides_its_limbs() -> None:
    points = standing()
    points[KEYPOINTS.index("left_knee"), 2] = 0
    fields = draw(points)
    for channel, limb in enumerate(LIMBS, start=17):
        assert (fields[channel].max() == 0) == ("left_knee" in limb)
    assert fields[KEYPOINTS.index("left_knee")].max() == 0


def test_mirror_image_gives_mirrored_fields() -> None:
    points, names = standing(), list(KEYPOINTS)
    order = [names.index(n.replace("left", "@").replace("right", "left").replace("@", "right")) for n in names]
    mirrored = points[order].copy()
    mirrored[:, 0] = 64 - mirrored[:, 0]
    np.testing.assert_allclose(draw(mirrored), draw(points)[list(pose_field_flip()), :, ::-1], atol=1e-6)


def test_double_image_same_fields() -> None:
    points = standing() * [2, 2, 1]
    large = draw_pose_fields(points, image_size=(256, 128), field_size=GRID, scale=236)
    np.testing.assert_allclose(large, draw(standing()), atol=1e-6)


def test_stature() -> None:
    points = standing()
    assert estimate_stature(points, SIZE) == pytest.approx(118, rel=0.1)
    points[:, 2] = 0
    assert estimate_stature(points, SIZE) == pytest.approx(0.9 * 128)
    assert draw_pose_fields(points, image_size=SIZE, field_size=GRID).max() == 0


def test_messages() -> None:
    with pytest.raises(LabelError, match=r"\[17, 3\].*\(18, 3\)"):
        draw(np.zeros((18, 3)))
    with pytest.raises(LabelError, match="finite"):
        draw(np.full((17, 3), np.nan))
    with pytest.raises(LabelError, match="2 nodes"):
        draw_pose_fields(standing(), image_size=SIZE, field_size=(1, 9))
