"""Persons from heat maps and affinity fields; the provider on a tiny network with fixed outputs."""

import sys
from pathlib import Path

import numpy as np
import pytest

from partreid.errors import LabelError, MissingDependencyError
from partreid.labels.assembly import OPENPOSE_KEYPOINTS, OPENPOSE_LIMBS, assemble, find_peaks, unmirror
from partreid.labels.grouping import group_fields, label_map
from partreid.labels.providers import Crop
from partreid.labels.providers.openvino import OpenVinoPose
from partreid.parts import KEYPOINTS, get_part_schema, mirrored

# (x, y) of a standing person in map cells around (0, 0), in OpenPose order.
BODY = np.array([
    (0, 0), (0, 3), (-2, 3), (-3, 6), (-3, 9), (2, 3), (3, 6), (3, 9), (-1, 10), (-1, 15), (-1, 20), (1, 10), (1, 15),
    (1, 20), (-0.6, -0.6), (0.6, -0.6), (-1.4, -0.4), (1.4, -0.4),
], float)  # fmt: skip

UPRIGHT = BODY * (0.9, 0.9) + (5.5, 3)
"""In the middle of 24×12 cells: a network that gives these maps for every image gives them for a mirrored one too."""


def at(x: float, y: float) -> np.ndarray:
    """The body with its nose at that cell."""
    return BODY + np.array([x, y])


def network_maps(persons: list[np.ndarray], height: int = 32, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Heat maps [19, h, w] and affinity [38, h, w] as a perfect network would give them."""
    y, x = np.mgrid[:height, :width].astype(float)
    heat, affinity = np.zeros((19, height, width)), np.zeros((38, height, width))
    for person in persons:
        for k, (px, py) in enumerate(person):
            heat[k] = np.maximum(heat[k], 0.8 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 1.5))
        for a, b, channel in OPENPOSE_LIMBS:
            line = person[b] - person[a]
            length = np.hypot(*line)
            t = ((x - person[a][0]) * line[0] + (y - person[a][1]) * line[1]) / length**2
            off = np.hypot(x - person[a][0] - t * line[0], y - person[a][1] - t * line[1])
            on = (t > -0.2) & (t < 1.2) & (off < 1)
            affinity[channel][on], affinity[channel + 1][on] = line / length
    return heat.astype(np.float32), affinity.astype(np.float32)


def test_peaks_are_found_between_the_cells() -> None:
    y, x = np.mgrid[:12, :9].astype(float)
    maps = np.exp(-((x - 4.3) ** 2 + (y - 6.8) ** 2) / 4)[None]
    (peaks,) = find_peaks(maps, 0.1)
    np.testing.assert_allclose(peaks[:, :2], [(4.3, 6.8)], atol=0.1)
    assert [len(p) for p in find_peaks(np.zeros((3, 4, 4)), 0.1)] == [0, 0, 0]


def test_two_persons_are_kept_apart() -> None:
    bodies = [at(5, 4), at(14, 6)]
    found = assemble(*network_maps(bodies))
    assert found.shape == (2, len(OPENPOSE_KEYPOINTS), 3)
    for person in found:
        body = min(bodies, key=lambda b: np.abs(b[0] - person[0, :2]).sum())
        np.testing.assert_allclose(person[:, :2], body, atol=0.35)
        assert (person[:, 2] > 0.5).all()


def test_a_body_cut_in_two_is_joined_again() -> None:
    heat, affinity = network_maps([at(9, 5)])
    affinity[[0, 1, 6, 7]] = 0  # neck to hips
    assert len(assemble(heat, affinity)) == 1
    assert (assemble(heat, affinity)[0, :, 2] > 0).all()


def test_maps_of_the_mirrored_image_are_turned_back() -> None:
    body = at(5, 4) + np.random.default_rng(0).uniform(-0.8, 0.8, BODY.shape)
    swapped = [OPENPOSE_KEYPOINTS.index(mirrored(name)) for name in OPENPOSE_KEYPOINTS]
    heat, affinity = network_maps([body])
    mirrored_maps = network_maps([(body * (-1, 1) + (19, 0))[swapped]])  # 20 columns
    found_heat, found_affinity = unmirror(*mirrored_maps)
    np.testing.assert_allclose(found_heat, heat[:18], atol=1e-6)
    np.testing.assert_allclose(found_affinity, affinity, atol=1e-6)


def test_an_empty_map_holds_nobody() -> None:
    assert assemble(np.zeros((19, 8, 8)), np.zeros((38, 8, 8))).shape == (0, 18, 3)


@pytest.fixture
def network(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A function that saves a network with these outputs, scaled by whether the input's first channel is dark."""
    openvino = pytest.importorskip("openvino")
    ops = pytest.importorskip("openvino.opset13")

    def save(*outputs: np.ndarray) -> Path:
        data = ops.parameter([1, 3, 192, 96], np.float32, name="data")
        # Blue comes first (BGR): a purely red image has a dark first channel.
        blue = ops.gather(ops.reduce_mean(data, [2, 3], True), np.int32([0]), np.int32(1))
        gate = ops.relu(ops.subtract(np.float32(1), ops.multiply(blue, np.float32(1 / 100))))
        results = [ops.multiply(ops.constant(o[None]), gate) for o in outputs]
        openvino.save_model(openvino.Model(results, [data], "tiny"), tmp_path / "tiny.xml", compress_to_fp16=False)
        return tmp_path / "tiny.xml"

    return save


def image(color: tuple[int, int, int]) -> np.ndarray:
    return np.full((128, 64, 3), color, np.uint8)


def crop(color: tuple[int, int, int], height: int = 128) -> Crop:
    return Crop(Path("drawn.png"), image(color)[:height])


def test_provider_labels_the_target_in_the_images_own_pixels(network) -> None:  # type: ignore[no-untyped-def]
    body = UPRIGHT
    heat, affinity = network_maps([body], 24, 12)
    provider = OpenVinoPose(network(affinity, heat))
    red, blue = provider.keypoints([image((255, 0, 0)), image((0, 0, 255))])
    assert len(red) == 1
    assert len(blue) == 0
    # The 128×64 crop is shown as 154×77 in the middle of 192×96; a cell is 8 network pixels.
    expected = ((body + 0.5) * 8 - ((96 - 77) // 2, (192 - 154) // 2)) * (64 / 77, 128 / 154)
    nose, ankle = KEYPOINTS.index("nose"), KEYPOINTS.index("left_ankle")
    np.testing.assert_allclose(red[0, nose, :2], expected[OPENPOSE_KEYPOINTS.index("nose")], atol=1.5)
    np.testing.assert_allclose(red[0, ankle, :2], expected[OPENPOSE_KEYPOINTS.index("left_ankle")], atol=1.5)
    label, nobody = provider.detect([crop((255, 0, 0)), crop((0, 0, 255))])
    assert label.fields.shape == (36, 17, 9)
    assert label.persons == 1
    assert set(np.unique(label_map(group_fields(label.fields, get_part_schema("five"))))) == {0, 1, 2, 3, 4, 5}
    assert nobody.persons == 0
    assert not nobody.fields.any()


def test_many_images_of_different_size_stay_in_order(network) -> None:  # type: ignore[no-untyped-def]
    heat, affinity = network_maps([UPRIGHT], 24, 12)
    provider = OpenVinoPose(network(affinity, heat), stride=16)
    labels = list(provider.detect(crop(((255, 0, 0), (0, 0, 255))[i % 2], 96 + 8 * i) for i in range(5)))
    assert [label.persons for label in labels] == [1, 0, 1, 0, 1]
    assert [label.fields.shape[1] for label in labels] == [7, 9, 9, 9, 9]


def test_another_network_is_refused(network) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LabelError, match=r"outputs of 19 and 38 channels, got shapes \[\[2, 5, 4, 4\]\]"):
        OpenVinoPose(network(np.ones((5, 4, 4), np.float32)))


def test_a_missing_or_broken_network_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(LabelError, match=r"gone\.xml does not exist.*human-pose-estimation-0001"):
        OpenVinoPose(tmp_path / "gone.xml")
    (tmp_path / "bad.xml").write_text("no network")
    with pytest.raises(LabelError, match=r"cannot read network file .*bad\.xml"):
        OpenVinoPose(tmp_path / "bad.xml")


def test_without_openvino_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"partreid\[openvino\]"):
        OpenVinoPose(tmp_path / "x.xml")
