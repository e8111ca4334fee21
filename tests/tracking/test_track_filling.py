"""Tracks of videos in a gallery: none takes another's place, and none of a former tracker stays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError
from partreid.retrieval import Gallery
from partreid.retrieval.filters import Filter
from partreid.tracking.boxes import TrackBoxes
from partreid.tracking.filling import VideoNaming, add_tracks, former_tracks
from partreid.tracking.video_tracks import VideoTracks
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import GalleryRecords

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "folder"])
def gallery(request: pytest.FixtureRequest, tmp_path: Path) -> Gallery:
    return Gallery() if request.param == "memory" else Gallery.open(tmp_path / "people")


def embeddings(count: int) -> PartEmbeddings:
    return PartEmbeddings(torch.rand(count, 1, 4), torch.ones(count, 1), ("foreground",))


def add(gallery: Gallery, naming: VideoNaming, *tracks: str, seconds: dict[int, float] | None = None) -> int:
    """Add tracks of one box each, in frames 0, 1, ..."""
    count = len(tracks)
    boxes = TrackBoxes(np.arange(count), np.arange(count), np.ones((count, 4)), tracks)
    return add_tracks(gallery, VideoTracks(embeddings(count), tracks, boxes, seconds or {}), naming)


def ids(gallery: Gallery) -> list[str]:
    return [item.id for page in gallery.records() for item in page.items]


@pytest.mark.parametrize("paths", [("A/img1", "B/img1"), ("A/frames", "B/frames"), ("cam.1", "cam.2"), ("a", "b.mp4")])
def test_two_videos_are_two(paths: tuple[str, str], gallery: Gallery, tmp_path: Path) -> None:
    for camera, path in enumerate(paths):
        if not path.endswith("mp4"):
            (tmp_path / path).mkdir(parents=True)
        assert add(gallery, VideoNaming(tmp_path / path, str(camera)), "1", "2") == 0
    assert len(gallery) == 4
    assert gallery.count(Filter(cameras="0")) == gallery.count(Filter(cameras="1")) == 2


def test_a_name_that_another_video_has_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    first, second = VideoNaming(tmp_path / "north/hall.mp4", "1"), VideoNaming(tmp_path / "south/hall.mp4", "2")
    add(gallery, first, "1", "2")
    for tracks in (("1",), ("3",)):
        with pytest.raises(DataError, match=r"'hall/1' is in the gallery, of .*north/hall\.mp4.*--name"):
            add(gallery, second, *tracks)
    add(gallery, VideoNaming(second.video, "2", name="south"), "1", "3")
    assert ids(gallery) == ["hall/1", "hall/2", "south/1", "south/3"]
    gallery.add(embeddings(1), ["yard/1"], metadata=[{"file": "/yard/1.jpg"}])
    with pytest.raises(DataError, match=r"'yard/1' is in the gallery, of /yard/1\.jpg"):
        add(gallery, VideoNaming(tmp_path / "yard.mp4"), "1")


def test_another_camera_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    video = tmp_path / "hall.mp4"
    add(gallery, VideoNaming(video, "2"), "1")
    for camera in ("3", None):
        with pytest.raises(DataError, match="of the camera 2.*--name.*delete its tracks first: --where video=/"):
            add(gallery, VideoNaming(video, camera), "1", "2")
    assert gallery.delete(where=Filter(metadata={"video": str(video.resolve())})) == 1
    add(gallery, VideoNaming(video, "3"), "1")
    add(gallery, VideoNaming(video, "4", name="east"), "1")  # one path on two machines, say
    assert ids(gallery) == ["east/1", "hall/1"]
    assert add(gallery, VideoNaming(video, "4", name="east"), "2") == 1
    assert ids(gallery) == ["east/2", "hall/1"]


def test_one_video_however_its_path_is_written(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hall").mkdir()
    (tmp_path / "link").symlink_to("hall")
    monkeypatch.chdir(tmp_path)
    for path in ("hall", "./hall/", tmp_path / "hall", tmp_path / "hall/../hall"):
        add(gallery, VideoNaming(Path(path)), "1")
    monkeypatch.chdir("hall")
    add(gallery, VideoNaming(Path()), "1")
    assert ids(gallery) == ["hall/1"]
    with pytest.raises(DataError, match="under the name 'hall'. Give --name hall"):
        add(gallery, VideoNaming(tmp_path / "link"), "1")
    add(gallery, VideoNaming(tmp_path / "link", name="hall"), "2")
    assert ids(gallery) == ["hall/2"]


def test_former_tracks_go_and_others_stay(gallery: Gallery, tmp_path: Path) -> None:
    hall, other = VideoNaming(tmp_path / "hall.mp4"), VideoNaming(tmp_path / "hall2.mp4")
    add(gallery, other, "1", "7")
    add(gallery, hall, "1", "2", "3")
    assert former_tracks(gallery, ["9"], hall) == {"hall/1", "hall/2", "hall/3"}
    assert add(gallery, hall, "3", "9") == 2
    assert ids(gallery) == ["hall/3", "hall/9", "hall2/1", "hall2/7"]


def test_nothing_is_lost_by_a_kill(gallery: Gallery, tmp_path: Path) -> None:
    hall = VideoNaming(tmp_path / "hall.mp4")
    add(gallery, hall, "1", "2")
    for method in ("add_records", "delete"):
        with patch.object(Gallery, method, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            add(gallery, hall, "2", "9")
        assert set(ids(gallery)) >= {"hall/1", "hall/2"}
    assert add(gallery, hall, "2", "9") == 1
    assert ids(gallery) == ["hall/2", "hall/9"]


def test_items_of_the_version_before(gallery: Gallery, tmp_path: Path) -> None:
    """They have no name of their video, and folders were called by what stood before the point."""
    (tmp_path / "cam.1").mkdir()
    old = [GalleryItem(f"cam/{i}", "1", metadata={"video": str(tmp_path / "cam.1"), "track": f"cam/{i}"}) for i in "12"]
    gallery.add_records(GalleryRecords(tuple(old), embeddings(2)))
    assert add(gallery, VideoNaming(tmp_path / "cam.1", "1"), "1") == 2
    assert ids(gallery) == ["cam.1/1"]


def test_times_need_the_time_of_the_first_frame(gallery: Gallery, tmp_path: Path) -> None:
    naming = VideoNaming(tmp_path / "hall.mp4", start=NOON)
    with pytest.raises(DataError, match="Track hall/b was first seen in frame 1, whose time is unknown.*--fps"):
        add(gallery, naming, "a", "b", seconds={0: 0.0})
    assert len(gallery) == 0
    add(gallery, naming, "a", "b", seconds={0: 0.0, 1: 60.0})
    boxes = TrackBoxes(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), ())
    with pytest.raises(DataError, match="no track to add"):
        add_tracks(gallery, VideoTracks(embeddings(0), (), boxes), naming)
    assert [item.time and item.time.minute for item in gallery.get(["hall/a", "hall/b"]).items] == [0, 1]


def test_names_and_places_of_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without a slash"):
        VideoNaming(tmp_path / "a.mp4", name="a/b").track_id("1")
    folders = {VideoNaming(tmp_path / path / "a.mp4").crops(tmp_path) for path in "xy"}
    assert len(folders) == 2
    assert {folder.name[:2] for folder in folders} == {"a-"}
