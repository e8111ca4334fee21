"""``partreid tracks``: a video of rendered pedestrians and the boxes of a tracker, end to end."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.datasets.images import read_image, resize
from partreid.datasets.readers import read_dataset
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.inference.boxes import TrackBoxes
from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import load_embeddings
from partreid.inference.tracklets import merge_tracklets
from partreid.inference.video import crop_boxes, iter_frames
from partreid.retrieval import Gallery
from partreid.runtime import RuntimeConfig
from tests.cli.conftest import Run

av = pytest.importorskip("av")

HEIGHT, WIDTH = 96, 192


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video in which two rendered people cross the picture, and their boxes."""
    folder = tmp_path_factory.mktemp("walk")
    gallery = read_dataset(shipped_split()).gallery
    people = {name: [image for image in gallery if image.pid == pid][:6]
              for name, pid in zip(("ann", "bob"), sorted({image.pid for image in gallery}), strict=False)}  # fmt: skip
    video, boxes = folder / "walk.mp4", folder / "boxes.csv"
    with av.open(str(video), "w") as container, boxes.open("w", newline="") as file:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        table = csv.writer(file)
        table.writerow(("frame", "track", "x1", "y1", "x2", "y2"))
        for number in range(6):
            frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
            for name, left in (("ann", 4 + 8 * number), ("bob", 140 - 4 * number)):
                frame[16:80, left : left + 32] = resize(read_image(people[name][number].path), (64, 32))
                table.writerow((number, name, left, 16, left + 32, 80))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return video, boxes


def test_one_embedding_per_track(run: Run, tiny_run: Path, walk: tuple[Path, Path], tmp_path: Path) -> None:
    video, boxes = walk
    out = tmp_path / "tracks.safetensors"
    status, text = run("tracks", tiny_run, video, boxes, "-o", out, "--batch-size", "5", "--device", "cpu")
    assert status == 0, text
    assert "2 tracks" in text
    embeddings, names = load_embeddings(out)
    assert names == ("ann", "bob")

    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    rows = list(csv.DictReader(boxes.open()))
    frames = [frame.pixels for frame in iter_frames(video)]
    crops = [crop_boxes(frames[int(r["frame"])], [[float(r[c]) for c in ("x1", "y1", "x2", "y2")]])[0] for r in rows]
    expected, _ = merge_tracklets(extractor.embed(list(crops)), [row["track"] for row in rows])
    torch.testing.assert_close(embeddings.vectors, expected.vectors, rtol=1e-4, atol=1e-4)

    status, text = run("tracks", tiny_run, video, boxes, "-o", out, "--every", "4", "--device", "cpu")
    assert status == 0, text
    some = [i for i, row in enumerate(rows) if int(row["frame"]) % 4 == 0]
    expected, _ = merge_tracklets(extractor.embed([crops[i] for i in some]), [rows[i]["track"] for i in some])
    torch.testing.assert_close(load_embeddings(out)[0].vectors, expected.vectors, rtol=1e-4, atol=1e-4)


def test_wrong_boxes_stop_or_are_left_out(run: Run, tiny_run: Path, walk: tuple[Path, Path], tmp_path: Path) -> None:
    video, boxes = walk
    wrong, out = tmp_path / "wrong.csv", tmp_path / "tracks.safetensors"
    wrong.write_text(boxes.read_text() + "2,carl,900,0,930,60\n" + "7,ann,0,0,9,9\n")
    arguments = ("tracks", tiny_run, video, wrong, "-o", out, "--device", "cpu")
    status, text = run(*arguments)
    assert status == 2
    assert "Frame 2" in text
    assert "carl" in text
    assert not out.exists()
    status, text = run(*arguments, "--skip-damaged")
    assert status == 0, text
    assert text.count("left out: ") == 2
    assert "video ends before" in text
    assert load_embeddings(out)[1] == ("ann", "bob")


def test_tracks_in_a_gallery(run: Run, tiny_run: Path, walk: tuple[Path, Path], tmp_path: Path) -> None:
    video, boxes = walk
    command = ("tracks", tiny_run, video, boxes, "--gallery", tmp_path / "people", "--device", "cpu")
    options = ("--camera", "hall", "--start", "2026-11-23T14:00+00:00", "--crops", tmp_path / "crops")
    for _ in range(2):  # the second time they are replaced
        status, text = run(*command, *options)
        assert status == 0, text
        assert "2 tracks added, 2 items." in text
    assert not Path("tracks.safetensors").exists()
    with Gallery.open(tmp_path / "people", create=False) as gallery:
        ann, bob = gallery.get(["walk/ann", "walk/bob"]).items
        assert gallery.search(gallery.get(["walk/bob"]).embeddings, 1).ids == (("walk/bob",),)
    assert (ann.camera, ann.time) == ("hall", datetime(2026, 11, 23, 14, tzinfo=UTC))
    assert ann.metadata["track"] == "walk/ann"
    assert (ann.metadata["boxes"], ann.metadata["first_second"], ann.metadata["last_second"]) == (6, 0.0, 1.0)
    assert bob.metadata["video"] == str(video)
    assert ann.metadata["file"] == str(tmp_path / "crops" / "ann.jpg")
    assert read_image(ann.metadata["file"]).shape == (64, 32, 3)
    status, text = run("tracks", tiny_run, video, boxes, "--camera", "hall")
    assert (status, "give --gallery too" in text) == (2, True)


def test_spans() -> None:
    boxes = TrackBoxes(
        np.array([0, 0, 3, 5, 5]), np.array([0, 1, 0, 1, 2]), np.zeros((5, 4)), names=("ann", "bob", "carl")
    )
    assert boxes.spans().tolist() == [[0, 3, 2], [0, 5, 2], [5, 5, 1]]
