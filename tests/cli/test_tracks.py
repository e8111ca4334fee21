"""``partreid tracks``: a video of rendered pedestrians and the boxes of a tracker, end to end."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.datasets.images import read_image, resize
from partreid.datasets.readers import read_dataset
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.inference.crops import crop_boxes
from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import load_embeddings
from partreid.retrieval import Gallery
from partreid.runtime import RuntimeConfig
from partreid.tracking.boxes import TrackBoxes
from partreid.tracking.tracklets import merge_tracklets
from partreid.tracking.video import iter_frames
from tests.cli.conftest import Run

av = pytest.importorskip("av")

HEIGHT, WIDTH = 96, 192


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video in which two rendered people cross the image, and their boxes."""
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
    assert names == ("walk/ann", "walk/bob")

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
    assert load_embeddings(out)[1] == ("walk/ann", "walk/bob")


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
    assert Path(ann.metadata["file"]).parent.parent == tmp_path / "crops"
    assert Path(ann.metadata["file"]).parent == Path(bob.metadata["file"]).parent
    assert read_image(ann.metadata["file"]).shape == (64, 32, 3)
    status, text = run("tracks", tiny_run, video, boxes, "--camera", "hall")
    assert (status, "Give --gallery too" in text) == (2, True)


def test_spans() -> None:
    boxes = TrackBoxes(
        np.array([0, 0, 3, 5, 5]), np.array([0, 1, 0, 1, 2]), np.zeros((5, 4)), names=("ann", "bob", "carl")
    )
    assert boxes.spans().tolist() == [[0, 3, 2], [0, 5, 2], [5, 5, 1]]


def frames(folder: Path, names: Iterable[str]) -> Path:
    """A folder of frames, each of two grey levels."""
    folder.mkdir(parents=True)
    for level, name in enumerate(names):
        pixels = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        pixels[16:80, 100:132] = 100 + 8 * level
        Image.fromarray(pixels).save(folder / name)
    return folder


def mot(path: Path, rows: Iterable[str]) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def test_sequences_of_two_cameras(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    table = mot(tmp_path / "gt.txt", [f"{i},1,101,17,32,64,1,1,1" for i in (1, 2)])
    for name in ("MOT17-02", "MOT17-04"):
        sequence = frames(tmp_path / name / "img1", ["000001.png", "000002.png"])
        command = ("tracks", tiny_run, sequence, table, "--device", "cpu")
        status, text = run(*command, "--gallery", tmp_path / "people", "--camera", name[-1])
        assert status == 0, text
        assert "000001.png is frame 1 of the table; times are unknown (--fps)" in text
        status, text = run(*command, "-o", tmp_path / f"{name}.safetensors")
        assert load_embeddings(tmp_path / f"{name}.safetensors")[1] == (f"{name}/1",)
        status, text = run("gallery", "add", tmp_path / "files", tmp_path / f"{name}.safetensors", "--camera", name[-1])
        assert "1 added, 0 there already" in text
    for gallery in ("people", "files"):
        with Gallery.open(tmp_path / gallery, create=False) as opened:
            assert [summary.camera for summary in opened.cameras()] == ["2", "4"]


def test_a_name_that_is_taken_is_refused_before_anything_is_embedded(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    table = mot(tmp_path / "b.txt", ["1,1,101,17,32,64,1"])
    north, south = (frames(tmp_path / side / "hall", ["1.png"]) for side in ("north", "south"))
    options = ("--gallery", tmp_path / "people", "--crops", tmp_path / "crops", "--device", "cpu")
    assert run("tracks", tiny_run, north, table, *options)[0] == 0
    status, text = run("tracks", tiny_run, south, table, *options)
    assert (status, "--name" in text, "embedding" in text) == (2, True, False)
    status, text = run("tracks", tiny_run, south, table, *options, "--name", "south")
    assert status == 0, text
    with Gallery.open(tmp_path / "people", create=False) as gallery:
        items = gallery.get(["hall/1", "south/1"]).items
    assert len({item.metadata["file"] for item in items}) == 2


def test_a_new_tracker_takes_the_place_of_the_former_one(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    hall = frames(tmp_path / "hall", ["1.png", "2.png"])
    first = mot(tmp_path / "first.txt", [f"{i},{t},101,17,32,64,1" for i in (1, 2) for t in (1, 2, 3)])
    better = mot(tmp_path / "better.txt", [f"{i},9,101,17,32,64,1" for i in (1, 2)])
    command = ("--gallery", tmp_path / "people", "--device", "cpu")
    assert "3 tracks added, 3 items." in run("tracks", tiny_run, hall, first, *command)[1]
    text = run("tracks", tiny_run, hall, better, *command)[1]
    assert "1 tracks added, 1 item." in text
    assert "3 former tracks of this video were removed." in text


def test_times_of_a_folder(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    hall = frames(tmp_path / "hall", ["1.png", "1500.png"])
    table = mot(tmp_path / "b.txt", ["1,1,101,17,32,64,1", "1500,2,101,17,32,64,1"])
    start = ("--gallery", tmp_path / "people", "--start", "2026-11-29T10:00+00:00", "--device", "cpu")
    status, text = run("tracks", tiny_run, hall, table, *start)
    assert (status, "Give --fps" in text) == (2, True)
    status, text = run("tracks", tiny_run, hall, table, *start, "--fps", "25")
    assert status == 0, text
    assert "1498 of 1500 frames are missing" in text
    with Gallery.open(tmp_path / "people", create=False) as gallery:
        late = gallery.get(["hall/2"]).items[0]
    assert late.time == datetime(2026, 11, 29, 10, 0, 59, 960_000, tzinfo=UTC)
    status, text = run("tracks", tiny_run, tmp_path / "b.mp4", table, "--fps", "25")
    assert (status, "folders of images" in text) == (2, True)


def test_what_is_left_out_is_told(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    hall = frames(tmp_path / "hall", [f"{i}.png" for i in range(1, 5)])
    rows = ["1,1,101,17,32,64,1,1,1", "1,2,101,17,32,64,1,3,1", "2,3,101,17,32,64,1,1,1", "2,-1,101,17,32,64,1,1,1"]
    rows += ["3,1,101,17,32,64,1,1,0", "3,4,101,17,32,64,0,1,1", "4,5,101,17,0,64,1,1,1", "3,6,900,17,32,64,1,1,1"]
    table, out = mot(tmp_path / "gt.txt", rows), tmp_path / "a.safetensors"
    status, text = run("tracks", tiny_run, hall, table, "-o", out, "--device", "cpu")
    assert (status, "line 4: the box belongs to no track" in text) == (2, True)
    assert not out.exists()
    command = ("tracks", tiny_run, hall, table, "-o", out, "--device", "cpu", "--skip-damaged")
    status, text = run(*command)
    assert status == 0, text
    for said in ("1 box of confidence 0", "of other classes than a person (3: 1; persons: 1)", "1 box of visibility 0",
                 "no box is left of 2 tracks (2, 4)", "left out: " + str(table) + ", line 4", "line 7", "line 8",
                 "No box is left of 2 tracks (5, 6)"):  # fmt: skip
        assert said in text
    assert load_embeddings(out)[1] == ("hall/1", "hall/3")
    text = run(*command, "--every", "2")[1]
    assert "Left out 2 tracks (3, 5) without a box in frames 0, 2, 4, ..." in text
    status, text = run(*command[:-1], "--every", "9", "--person-class", "3", "--first-frame", "0")
    assert (status, "No box of" in text, "smaller --every" in text) == (2, True, True)


def test_boxes_that_were_left_out_count_for_nothing(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    """The item tells of the boxes that its embedding was made of."""
    hall = frames(tmp_path / "hall", [f"{i}.png" for i in range(1, 5)])
    table = mot(tmp_path / "b.txt", [f"{i},1,{900 if i in (1, 4) else 101},17,32,64,1" for i in range(1, 5)])
    status, text = run("tracks", tiny_run, hall, table, "--gallery", tmp_path / "people", "--fps", "2",
                       "--start", "@1795435200", "--device", "cpu", "--skip-damaged")  # fmt: skip
    assert status == 0, text
    with Gallery.open(tmp_path / "people", create=False) as gallery:
        item = gallery.get(["hall/1"]).items[0]
    assert {key: item.metadata[key] for key in ("boxes", "first_second", "last_second")} == {
        "boxes": 2, "first_second": 0.5, "last_second": 1.0}  # fmt: skip
    assert item.time is not None
    assert item.time.timestamp() == 1795435200.5


def test_boxes_may_be_said_to_be_corners(run: Run, tiny_run: Path, tmp_path: Path) -> None:
    hall = frames(tmp_path / "hall", ["1.png"])
    table = mot(tmp_path / "b.txt", ["1,1,101,17,133,81,1"])
    command = ("tracks", tiny_run, hall, table, "-o", tmp_path / "a.safetensors", "--device", "cpu")
    status, text = run(*command)
    assert (status, "--boxes xyxy" in text) == (2, True)
    assert run(*command, "--boxes", "xyxy")[0] == 0
    right = mot(tmp_path / "b.txt", ["1,1,101,17,32,64,1"])
    assert run(*command[:3], right, "-o", tmp_path / "b.safetensors", "--device", "cpu")[0] == 0
    same = [load_embeddings(tmp_path / f"{name}.safetensors")[0].vectors for name in "ab"]
    torch.testing.assert_close(*same)
