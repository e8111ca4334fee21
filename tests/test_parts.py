"""Part schemas and flips, derived from names, equal what the label format's definition lists."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from partreid.errors import ConfigError, ShapeError
from partreid.parts import (
    FOREGROUND,
    KEYPOINTS,
    LIMBS,
    NUM_POSE_FIELDS,
    PART_SCHEMAS,
    PartSchema,
    flip_order,
    get_part_schema,
    mirrored,
    pose_field_flip,
    unnamed_schema,
)
from partreid.preprocessing import PreprocessConfig, normalize

FLIP_PAIRS = [
    (1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16),
    (17, 19), (18, 20), (22, 23), (25, 26), (27, 28), (30, 31), (32, 33), (34, 35),
]  # fmt: skip
COCO_KEYPOINTS = [
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
]  # fmt: skip


def test_channels_are_those_of_the_label_format() -> None:
    assert list(KEYPOINTS) == COCO_KEYPOINTS
    assert NUM_POSE_FIELDS == 36
    limbs = {17: (15, 13), 18: (13, 11), 21: (11, 12), 22: (5, 11), 24: (5, 6), 28: (8, 10), 29: (1, 2), 35: (4, 6)}
    for channel, (a, b) in limbs.items():
        assert LIMBS[channel - 17] == (KEYPOINTS[a], KEYPOINTS[b])


def test_flips_are_the_published_pairs() -> None:
    expected = list(range(36))
    for a, b in FLIP_PAIRS:
        expected[a], expected[b] = b, a
    assert list(pose_field_flip()) == expected


def test_names_are_mirrored() -> None:
    assert mirrored("left_arm") == "right_arm"
    assert mirrored("right_arm") == "left_arm"
    assert mirrored("upper_left") == "upper_left"
    assert mirrored("nose") == "nose"


def test_slots_are_swapped_by_name() -> None:
    slots = ("foreground", "right_arm", "head", "left_arm", "left_leg")  # left_leg has no mirror among them
    assert flip_order(slots) == (0, 3, 2, 1, 4)
    assert flip_order(("stripe_1", "stripe_2")) == (0, 1)
    assert flip_order(()) == ()
    for schema in PART_SCHEMAS.values():
        assert flip_order(schema.slots) == (0, *(1 + i for i in schema.flip))


def test_groups_are_the_golden_ones() -> None:
    golden = json.loads((Path(__file__).parent / "golden" / "groupings.json").read_text())
    assert {name: [set(g) for g in schema.groups] for name, schema in PART_SCHEMAS.items()} == {
        name: [set(channels) for channels in parts.values()] for name, parts in golden.items()
    }
    assert sorted(len(schema) for schema in PART_SCHEMAS.values()) == [2, 3, 4, 5, 5, 6, 8, 11]


@pytest.mark.parametrize("schema", PART_SCHEMAS.values(), ids=lambda s: s.name)
def test_part_flips_agree_with_channel_flips(schema: PartSchema) -> None:
    """A part's mirror image holds the mirror images of its channels, but for the few that have one owner only."""
    channels = pose_field_flip()
    for part, other in enumerate(schema.flip):
        assert schema.flip[other] == part
        ours = {channels[c] for c in schema.groups[part]}
        odd = ours ^ set(schema.groups[other])
        assert odd <= {21, 22, 23}, schema.parts[part]
    assert schema.slots == (FOREGROUND, *schema.parts)


def test_part_flip_swaps_sides() -> None:
    eight = PART_SCHEMAS["eight"]
    assert [eight.parts[i] for i in eight.flip] == [mirrored(part) for part in eight.parts]
    assert PART_SCHEMAS["five"].flip == (0, 1, 2, 3, 4)
    lonely = PartSchema("lonely", ("left_arm", "torso"), ((5,), (21,)))
    assert lonely.flip == (0, 1)


def test_a_used_schema_can_be_pickled() -> None:
    eight = PART_SCHEMAS["eight"]
    assert eight.flip
    assert pickle.loads(pickle.dumps(eight)) == eight


@pytest.mark.parametrize(
    ("parts", "groups", "message"),
    [
        ((), (), "at least one part"),
        (("a", "b"), ((0,),), "2 parts and 1 groups"),
        (("a", "a"), ((0,), (1,)), "must be unique"),
        (("foreground",), ((0,),), "neither 'foreground' nor 'global'"),
        (("a",), ((36,),), r"Part 'a' .* 0\.\.35, got \(36,\)"),
        (("a",), ((-1,),), r"0\.\.35"),
    ],
)
def test_schemas_that_cannot_be(parts: tuple[str, ...], groups: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PartSchema("mine", parts, groups)


def test_by_name() -> None:
    assert get_part_schema("five") is PART_SCHEMAS["five"]
    with pytest.raises(ConfigError, match=r"Unknown part schema 'fiv'\. Did you mean 'five'"):
        get_part_schema("fiv")


def test_unnamed_schemas() -> None:
    schema = get_part_schema("unnamed_3")
    assert schema == unnamed_schema(3)
    assert (schema.parts, schema.groups) == (("part_1", "part_2", "part_3"), ((), (), ()))
    assert get_part_schema(schema.name) == schema
    for wrong in (
        "unnamed_0",
        "unnamed_",
        "unnamed_x",
        "unnamed_²",
        "unnamed_-1",
        "unnamed_256",
        f"unnamed_{'9' * 5000}",
    ):
        with pytest.raises(ConfigError):
            get_part_schema(wrong)


def test_normalisation() -> None:
    config = PreprocessConfig(mean=(0.5, 0.25, 0), std=(0.5, 1, 0.25))
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(images, config).flatten().tolist() == pytest.approx([-1, -0.05, 4])
    assert config.size == (256, 128)
    planar = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    for pictures in (planar, planar.contiguous(memory_format=torch.channels_last), planar.flip(3)[:, :, 1:, ::2]):
        normal = normalize(pictures, config)
        assert normal.is_contiguous(memory_format=torch.channels_last)
        mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (config.mean, config.std))
        assert torch.equal(normal, (pictures.float() - mean) / std)
    for wrong in (images.float(), images[0], images[:, :2]):
        with pytest.raises(ShapeError, match=r"Expected uint8 images \[B, 3, H, W\], got torch\."):
            normalize(wrong, config)
    with pytest.raises(ConfigError, match=r"std\.1 = 0.*greater than 0"):
        PreprocessConfig.parse({"std": [1, 0, 1]})
