"""Boxes cut out of frames, and frames out of videos made here."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.errors import DataError, MissingDependencyError, PartReIDError, ShapeError
from partreid.inference.crops import crop_boxes
from partreid.tracking.video import iter_frames

HEIGHT, WIDTH, FRAMES, RATE = 64, 96, 24, 8


def image(number: int) -> np.ndarray:
    """A frame whose grey level tells its number, with a bright square that moves."""
    frame = np.full((HEIGHT, WIDTH, 3), 4 * number + 40, np.uint8)
    frame[8:24, 2 * number : 2 * number + 16] = (250, 60, 10)
    return frame


def number_of(pixels: np.ndarray) -> int:
    return round((float(np.median(pixels)) - 40) / 4)


def write_video(path: Path, *, codec: str = "libx264") -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj444p" if codec == "mjpeg" else "yuv444p"
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image(number), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4")


def test_frames_of_a_file(video: Path) -> None:
    frames = list(iter_frames(video))
    assert [frame.number for frame in frames] == list(range(FRAMES))
    assert [number_of(frame.pixels) for frame in frames] == list(range(FRAMES))
    assert [frame.seconds for frame in frames] == pytest.approx([i / RATE for i in range(FRAMES)])
    frame = frames[3].pixels
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert frame.dtype == np.uint8
    assert frame[16, 14, 0] > 200 > 100 > frame[16, 14, 2]  # red, not blue


def test_every_nth_frame(video: Path) -> None:
    frames = list(iter_frames(video, every=5))
    assert [(f.number, number_of(f.pixels)) for f in frames] == [(i, i) for i in range(0, FRAMES, 5)]


def test_frames_of_a_folder(tmp_path: Path) -> None:
    for number in (2, 0, 1, 3):
        Image.fromarray(image(number)).save(tmp_path / f"{number:06d}.png")
    (tmp_path / "000001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"000001\.png"):
        list(iter_frames(tmp_path))
    told: list[str] = []
    frames = list(iter_frames(tmp_path, on_error=told.append))
    assert [(f.number, number_of(f.pixels), f.seconds) for f in frames] == [(0, 0, None), (2, 2, None), (3, 3, None)]
    assert len(told) == 1
    assert "000001.png" in told[0]


def test_damaged_frames_are_told_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", codec="mjpeg")
    data = bytearray(path.read_bytes())
    middle = data.index(b"\xff\xd8\xff", len(data) // 2) + 2  # behind the start of one frame
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        list(iter_frames(path))
    told: list[str] = []
    frames = list(iter_frames(path, on_error=told.append))
    assert told
    assert FRAMES - len(frames) in (1, 2)
    assert [number_of(f.pixels) for f in frames] == [f.number for f in frames]
    assert frames[-1].number == FRAMES - 1


MATRICES = {
    "as it is": (1, 0, 0, 1),
    "a quarter to the right": (0, 1, -1, 0),
    "a quarter to the left": (0, -1, 1, 0),
    "half a turn": (-1, 0, 0, -1),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "turned and mirrored": (0, 1, 1, 0),
}
"""(a, b, c, d) of a file: (x, y) is to be shown at (a·x + c·y, b·x + d·y)."""


@pytest.mark.parametrize("turned", list(MATRICES))
def test_frames_are_upright(turned: str, video: Path, tmp_path: Path) -> None:
    a, b, c, d = MATRICES[turned]
    data = bytearray(video.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(data)
    stored = [frame.pixels for frame in iter_frames(video)]
    frames = list(iter_frames(tmp_path / "a.mp4"))
    assert len(frames) == FRAMES
    for before, (_, _, after) in zip(stored, frames, strict=True):
        assert after.flags.c_contiguous
        assert after.shape == (before.shape if a else (WIDTH, HEIGHT, 3))
        for x, y in ((0, 0), (20, 16), (WIDTH - 1, 3), (5, HEIGHT - 1)):
            there = a * x + c * y, b * x + d * y  # negative: from the other side
            assert (after[there[1] - (b < 0 or d < 0), there[0] - (a < 0 or c < 0)] == before[y, x]).all()


def test_a_frame_that_is_turned_by_no_quarter(video: Path, tmp_path: Path) -> None:
    data = bytearray(video.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.mp4.*no multiple of 90"):
        next(iter_frames(tmp_path / "a.mp4"))


def test_files_that_are_no_videos(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("empty.mp4", b""), ("text.mp4", b"hello"), ("cut.mp4", video.read_bytes()[:700])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            list(iter_frames(tmp_path / name))
    with pytest.raises(DataError, match="no file"):
        list(iter_frames(tmp_path / "missing.mp4"))
    for every in (0, 1.5, None):
        with pytest.raises(ShapeError, match="every"):
            iter_frames(video, every=every)  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"partreid\[video\]"):
        list(iter_frames(video))


def test_crops_are_the_pixels_that_the_boxes_touch() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    boxes = [(0, 0, 60, 40), (10, 5, 30, 25), (10.2, 5.9, 29.1, 24.5), (-7, -3, 4, 50), (59.5, 39.5, 60.5, 99)]
    whole, plain, touched, cut, corner = crop_boxes(frame, boxes)
    np.testing.assert_array_equal(whole, frame)
    np.testing.assert_array_equal(plain, frame[5:25, 10:30])
    np.testing.assert_array_equal(touched, plain)
    np.testing.assert_array_equal(cut, frame[:, :4])
    np.testing.assert_array_equal(corner, frame[39:, 59:])
    assert not any(np.shares_memory(crop, frame) for crop in (whole, plain))
    assert crop_boxes(frame, []) == crop_boxes(frame, np.zeros((0, 4))) == []


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((5, 5, float("nan"), 9), "Box 1 .* is not finite"),
        ((5, 5, float("inf"), 9), "not finite"),
        ((5, 5, 5, 9), "empty or inverted"),
        ((30, 5, 10, 9), "is it x, y, width, height"),
        ((60, 0, 70, 10), "outside the frame of 60×40"),
        ((-9, 0, 0, 10), "outside"),
        ((0, 40, 9, 50), "outside"),
        ((0.1, 0.2, 0.4, 1), "fractions of the frame. Multiply x1 and x2 by the width of 60"),
        ((0, 0, 1, 1), "fractions of the frame"),
    ],
)
def test_wrong_boxes_are_told_by_number(box: tuple[float, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        crop_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 9, 9), box])


@pytest.mark.parametrize("frame", [np.zeros((40, 60)), np.zeros((40, 60, 3)), np.zeros((40, 60, 4), np.uint8), "a"])
def test_wrong_frames(frame: object) -> None:
    with pytest.raises(DataError, match="uint8"):
        crop_boxes(frame, [(0, 0, 9, 9)])  # type: ignore[arg-type]


@pytest.mark.parametrize("boxes", [[1, 2, 3, 4], [[1, 2, 3]], [[1, 2, 3, 4], [1]], "abc", [[1, 2, 3, "x"]], None])
def test_wrong_tables_of_boxes(boxes: object) -> None:
    with pytest.raises(PartReIDError):
        crop_boxes(np.zeros((40, 60, 3), np.uint8), boxes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "boxes", [np.ma.masked_array([[1.0, 2, 30, 40]], mask=[[0, 0, 1, 0]]), np.array([[1j, 2, 30, 40]])], ids=type
)
def test_boxes_in_part_unknown(boxes: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="boxes"):
        crop_boxes(np.zeros((48, 64, 3), np.uint8), boxes)
