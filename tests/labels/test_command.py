"""``partreid labels make`` and ``info`` through the command line, with a provider of the test's own."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from partreid.cli import labels as labels_command
from partreid.labels.providers import Crop, PoseLabel


class Upright:
    """Sees a head in the upper half and feet in the lower half of every picture."""

    name = "upright"

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        fields = np.zeros((36, 5, 3), np.float32)
        fields[0, :2], fields[15, 3:] = 1, 1
        return (PoseLabel(fields, 1) for _ in crops)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(labels_command, "load_provider", lambda name, *, model, stride: Upright())
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
    assert "2 labels made, 0 kept" in run("make", str(root), "--model", "x.xml")
    assert sorted(p.name for p in (root / "masks" / "upright" / "bounding_box_train").iterdir()) == [
        "0001_c2.npy",
        "0002_c2.npy",
    ]
    assert "4 labels made, 2 kept" in run("make", str(root), "--model", "x.xml", "--split", "all")
    output = run("info", str(root))
    assert "labels of 2 of 2 training pictures" in output
    assert "5×3" in output
    assert "head" in output


def test_labels_can_be_written_elsewhere(root: Path, tmp_path: Path) -> None:
    run("make", str(root), "--model", "x.xml", "--out", str(tmp_path / "other"), "--limit", "1")
    assert len(list((tmp_path / "other").rglob("*.npy"))) == 1
    assert not (root / "masks").exists()


def test_an_unreadable_picture_gives_a_failing_exit(root: Path) -> None:
    (root / "bounding_box_train" / "0001_c2.png").write_bytes(b"")
    result = CliRunner().invoke(labels_command.app, ["make", str(root), "--model", "x.xml"])
    assert result.exit_code == 1
    assert "0001_c2.png is empty" in result.output
