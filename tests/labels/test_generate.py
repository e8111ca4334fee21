"""Making labels: resumable, nothing lost, nothing done twice."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.images import read_image
from partreid.errors import ConfigError
from partreid.labels.fields import read_pose_fields
from partreid.labels.generate import make_labels
from partreid.labels.providers import Crop, PoseLabel, load_provider


class FakeProvider:
    """Writes each picture's mean into every field; stops at the n-th picture if asked, having read one ahead."""

    name = "fake"

    def __init__(self, stop_at: int | None = None) -> None:
        self.seen, self.stop_at = 0, stop_at

    def detect(self, crops: Iterable[Crop]) -> Iterator[PoseLabel]:
        waiting: deque[Crop] = deque()
        for crop in crops:
            waiting.append(crop)
            if len(waiting) > 1:
                yield self._label(waiting.popleft())
        while waiting:
            yield self._label(waiting.popleft())

    def _label(self, crop: Crop) -> PoseLabel:
        self.seen += 1
        if self.seen == self.stop_at:
            raise KeyboardInterrupt
        value = round(float(crop.pixels.mean())) / 255
        return PoseLabel(np.full((36, 3, 2), value, np.float32), int(value > 0) + int(value > 0.5))


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[Path, Path]]:
    pairs = []
    for i in range(10):
        image = tmp_path / f"{i}.png"
        Image.new("L", (4, 8), i * 20).save(image)
        pairs.append((image, tmp_path / "masks" / f"{i}.npy"))
    return pairs


def test_labels_are_made_once_each_and_counted(files: list[tuple[Path, Path]]) -> None:
    done: list[int] = []
    summary = make_labels(FakeProvider(), files, read=read_image, progress=done.append)
    assert (summary.made, summary.kept, summary.without_person, summary.several_persons) == (10, 0, 1, 3)
    assert sum(done) == summary.pictures == 10
    for i, (_, path) in enumerate(files):
        np.testing.assert_allclose(read_pose_fields(path), i * 20 / 255, atol=1e-6)


def test_a_killed_run_goes_on_where_it_stopped(files: list[tuple[Path, Path]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_labels(FakeProvider(stop_at=7), files, read=read_image)
    before = {path: path.stat().st_mtime_ns for _, path in files if path.exists()}
    assert len(before) == 6
    provider = FakeProvider()
    summary = make_labels(provider, files, read=read_image)
    assert (summary.made, summary.kept, provider.seen) == (4, 6, 4)
    assert summary.without_person == 1
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert all(path.exists() for _, path in files)


def test_a_damaged_label_is_made_anew(files: list[tuple[Path, Path]]) -> None:
    make_labels(FakeProvider(), files, read=read_image)
    files[4][1].write_bytes(files[4][1].read_bytes()[:50])
    assert make_labels(FakeProvider(), files, read=read_image).made == 1
    read_pose_fields(files[4][1])
    assert make_labels(FakeProvider(), files, read=read_image, overwrite=True).made == 10


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_made(files: list[tuple[Path, Path]]) -> None:
    files[2][0].write_bytes(b"")
    summary = make_labels(FakeProvider(), files, read=read_image)
    assert summary.made == 9
    assert len(summary.failed) == 1
    assert "2.png is empty" in summary.failed[0]
    assert not files[2][1].exists()


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'openvino'"):
        load_provider("openvin", model=Path("x.xml"))
