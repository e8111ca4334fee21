"""``partreid labels make`` and ``info`` through the command line, with a provider of the test's own."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from partreid.cli import labels as labels_command
from partreid.labels.providers import Crop, PoseLabel, PoseProvider


class Upright(PoseProvider):
    """Sees a head in the upper half and feet in the lower half of every image."""

    name = "upright"

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        fields = np.zeros((36, 5, 3), np.float32)
        fields[0, :2], fields[15, 3:] = 1, 1
        return (PoseLabel(fields, 1) for _ in crops)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("partreid.labels.load_provider", lambda name, *, model, stride, images: Upright())
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
        for pid in (1, 2):
            camera = 1 if folder == "query" else 2
            Image.new("RGB", (8, 16), (pid, 0, 0)).save(tmp_path / folder / f"{pid:04d}_c{camera}.png")
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(labels_command.app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_make_then_info(root: Path) -> None:
    assert "2 labels made, 0 kept" in run("make", str(root))
    assert sorted(p.name for p in (root / "masks" / "upright" / "bounding_box_train").iterdir()) == [
        "0001_c2.npy",
        "0002_c2.npy",
    ]
    assert "4 labels made, 2 kept" in run("make", str(root), "--split", "all")
    output = run("info", str(root))
    assert "labels of 2 of 2 training images" in output
    assert "5×3" in output
    assert "head" in output


def test_a_folder_that_is_no_data_set(root: Path, tmp_path: Path) -> None:
    crops = tmp_path / "my crops é"
    (crops / "a" / "b").mkdir(parents=True)
    for name in ("2.png", "a/1.png", "a/b/3.png"):
        Image.new("RGB", (8, 16)).save(crops / name)
    (crops / "a" / "link.png").symlink_to(crops / "2.png")
    (crops / "loop").symlink_to(crops)
    assert "4 labels made" in run("make", str(crops))
    labels = crops / "masks" / "upright"
    assert [p.relative_to(labels).as_posix() for p in sorted(labels.rglob("*.npy"))] == [
        "2.npy", "a/1.npy", "a/b/3.npy", "a/link.npy",
    ]  # fmt: skip
    assert "4 kept" in run("make", str(crops))
    assert [line.split(",")[0] for line in (labels / "report.csv").read_text().splitlines()[1:]] == [
        "2.png", "a/1.png", "a/b/3.png", "a/link.png",
    ]  # fmt: skip
    assert "labels of 4 of 4" in run("info", str(crops))


def test_the_published_format(root: Path) -> None:
    run("make", str(root), "--published")
    label = root / "masks" / "pifpaf_maskrcnn_filtering" / "bounding_box_train" / "0001_c2.npy"
    assert np.load(label).dtype == np.float32
    run("make", str(root), "--published", "--labels", "other")
    assert (root / "masks" / "other" / "bounding_box_train" / "0001_c2.npy").read_bytes() == label.read_bytes()
    occluded = root.parent / "Occluded_Duke"
    root.rename(occluded)
    run("make", str(occluded), "--published")
    folder = occluded / "masks" / "pifpaf_maskrcnn_filtering" / "bounding_box_train"
    assert (folder / "0001_c2.png.confidence_fields.npy").read_bytes() == (folder / "0001_c2.npy").read_bytes()


def test_a_damaged_label_does_not_hide_the_others(root: Path) -> None:
    run("make", str(root))
    (root / "masks" / "upright" / "bounding_box_train" / "0001_c2.npy").write_bytes(b"\x93NUMPY")
    output = run("info", str(root))
    assert "damaged: 1, the first: Cannot read label file" in output
    assert "1 labels, schema five" in output


def test_a_pipe_is_no_image_and_a_long_name_is_written(root: Path) -> None:
    os.mkfifo(root / "bounding_box_train" / "0001_c3.jpg")
    long = f"0002_c3_{'é' * 119}.png"
    Image.new("RGB", (8, 16)).save(root / "bounding_box_train" / long)
    assert "3 labels made" in run("make", str(root))


def test_labels_made_otherwise_are_kept_with_a_warning(root: Path) -> None:
    run("make", str(root))
    assert "warning" not in run("make", str(root))
    output = run("make", str(root), "--stride", "4", "--split", "all")
    assert "2 of the kept labels are made by openvino stride 8 compact. --overwrite makes them again" in output


def test_wrong_use_is_named(root: Path, tmp_path: Path) -> None:
    def error(*arguments: str) -> str:
        return str(CliRunner().invoke(labels_command.app, ["make", *arguments]).exception)

    assert "No split 'trian'" in error(str(root), "--split", "trian")
    assert "Did you mean 'train'" in error(str(root), "--split", "trian")
    assert "Leave those two options out" in error(str(root), "--keypoints", "k.json", "--network", "x.xml")
    for folder in ("../x", "..", "a/b", ".hidden", "a,b"):
        assert "Expected --labels with a name within masks" in error(str(root), "--labels", folder)
    assert "does not exist" in error(str(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    assert "holds no data set and no image" in error(str(tmp_path / "empty"))
    Image.new("RGB", (8, 16)).save(root / "bounding_box_train" / "0001_c2.jpg")
    assert "would share the label file" in error(str(root))


def test_labels_can_be_written_elsewhere(root: Path, tmp_path: Path) -> None:
    run("make", str(root), "--out", str(tmp_path / "other"), "--limit", "1")
    assert len(list((tmp_path / "other").rglob("*.npy"))) == 1
    assert not (root / "masks").exists()


def test_an_unreadable_image_gives_a_failing_exit(root: Path) -> None:
    (root / "bounding_box_train" / "0001_c2.png").write_bytes(b"")
    result = CliRunner().invoke(labels_command.app, ["make", str(root)])
    assert result.exit_code == 1
    assert "0001_c2.png is empty" in result.output
