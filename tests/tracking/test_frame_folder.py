"""Which image of a folder is which frame, and when it was taken."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.errors import ConfigError, DataError
from partreid.tracking.frame_folder import FrameFolder, video_name, video_path
from partreid.tracking.video import iter_frames

INFO = "[Sequence]\nname=MOT17-02\nimDir=img1\nframeRate=30\nseqLength={}\nimWidth=8\nimHeight=6\nimExt=.jpg\n"


def folder(path: Path, names: Iterable[str], size: tuple[int, int] = (8, 6)) -> Path:
    """Images whose grey level tells their place in ``names``."""
    path.mkdir(parents=True)
    for level, name in enumerate(names):
        Image.fromarray(np.full((size[1], size[0], 3), 10 * level, np.uint8)).save(path / name, quality=100)
    return path


def seen(path: Path | FrameFolder, every: int = 1) -> list[tuple[int, int]]:
    """(number, place in the list that the folder was made of) of each frame."""
    return [(frame.number, round(float(frame.pixels.mean()) / 10)) for frame in iter_frames(path, every=every)]


@pytest.mark.parametrize(
    "name",
    [
        "{:06d}.png",
        "{}.png",
        "frame_{:d}.jpg",
        "MOT17-02_{:04d}.png",
        "cam2.{}.png",
        "{:03d}_cam2.bmp",
        "2026-11-29 {}.png",
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_in_names(name: str, first: int, tmp_path: Path) -> None:
    path = folder(tmp_path / "a", [name.format(first + i) for i in range(12)])
    assert seen(path) == [(i, i) for i in range(12)]
    assert seen(path, every=5) == [(i, i) for i in (0, 5, 10)]


def test_frames_that_are_missing_keep_the_others_at_their_numbers(tmp_path: Path) -> None:
    numbers = [1, 6, 7, 8, 10]
    path = folder(tmp_path / "a", [f"{i}.png" for i in numbers])
    with pytest.warns(UserWarning, match=r"5 of 10 frames are missing, the first is frame 1 "):
        assert seen(path) == [(number - 1, i) for i, number in enumerate(numbers)]
    with pytest.warns(UserWarning, match="in the order of their names"):
        assert seen(FrameFolder.open(path, in_order=True)) == [(i, i) for i in range(5)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "2.png", "1.jpg"], r"1\.jpg and 1\.png are the same frame"),
        (["1.png", "01.png"], "are the same frame"),
        (["a.png", "b.png"], "not named alike"),
        (["1.png", "2.png", "mask_2.png"], r"mask_2\.png and 1\.png are not named alike"),
        (["a1.png", "b1.png"], "not named alike"),  # of two videos
        (["hall.png"], "no number in its name"),
        (["c1_1.png", "c2_2.png"], "more than one number differs"),
        (["10-00-59.png", "10-01-00.png"], "more than one number differs"),  # times
        (["500.png", "501.png"], r"begins with 500\.png"),
    ],
)
def test_names_that_do_not_tell(names: list[str], message: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "a", names)
    with pytest.raises(DataError, match=message):
        FrameFolder.open(path)


def test_the_order_of_names_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    for i, names in enumerate(
        (["a.png", "b.png"], ["10-00-59.png", "10-01-00.png"], ["t9.png", "t10.png", "t100.png"])
    ):
        with pytest.warns(UserWarning, match="in the order of their names"):
            assert seen(FrameFolder.open(folder(tmp_path / str(i), names), in_order=True)) == [
                (place, place) for place in range(len(names))
            ]
    with pytest.raises(DataError, match="the same frame"):
        FrameFolder.open(folder(tmp_path / "twice", ["a1.png", "a1.jpg"]), in_order=True)


def test_a_folder_that_begins_later(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", ["500.png", "501.png"])
    for first in (0, 1):
        with pytest.warns(UserWarning, match="missing"):
            assert FrameFolder.open(path, first=first).numbers == (500 - first, 501 - first)
    with pytest.raises(DataError, match="below the number of the first frame"):
        FrameFolder.open(path, first=900)


@pytest.mark.parametrize("given", ["img1", "."])
def test_a_sequence_of_motchallenge(given: str, tmp_path: Path) -> None:
    sequence = tmp_path / "MOT17-02"
    path = folder(sequence / "img1", [f"{i:06d}.jpg" for i in (1, 2, 3)])
    (sequence / "seqinfo.ini").write_text(INFO.format(3))
    Image.new("RGB", (8, 6)).save(path / "000002.png")  # a mask beside a frame: imExt says which is which
    with pytest.warns(UserWarning, match="other files are no frames: 1 .png"):
        frames = FrameFolder.open(sequence / given)
    assert seen(frames) == [(0, 0), (1, 1), (2, 2)]
    assert [frame.seconds for frame in iter_frames(frames)] == pytest.approx([0, 1 / 30, 2 / 30])
    assert video_name(sequence / given) == "MOT17-02"
    assert video_path(sequence / given) == path.resolve()
    (path / "000002.png").unlink()
    with pytest.warns(UserWarning, match="15 frames a second as asked for, though seqinfo.ini says 30"):
        assert FrameFolder.open(sequence, fps=15).seconds(3) == pytest.approx(0.2)
    (sequence / "seqinfo.ini").write_text(INFO.format(5))
    with pytest.warns(UserWarning, match="2 of 5 frames are missing, the first is frame 3"):
        FrameFolder.open(sequence)


def test_frames_of_another_size(tmp_path: Path) -> None:
    path = folder(tmp_path / "a" / "img1", ["1.png", "2.png"])
    Image.new("RGB", (4, 3)).save(path / "2.png")
    with pytest.raises(DataError, match=r"2\.png has 4×3 pixels, but 1\.png has 8×6"):
        seen(path)
    told: list[str] = []
    assert [frame.number for frame in iter_frames(path, on_error=told.append)] == [0]
    assert len(told) == 1
    (path.parent / "seqinfo.ini").write_text(INFO.format(2).replace("imWidth=8", "imWidth=1920"))
    with pytest.raises(DataError, match=r"1\.png has 8×6 pixels, but seqinfo.ini says 1920×6"):
        seen(path)


@pytest.mark.parametrize(
    "text", ["", "[Other]\n", "no ini", "[Sequence]\nframeRate=fast\n", "[Sequence]\nframeRate=0\n"]
)
def test_a_wrong_account_of_a_sequence(text: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "a" / "img1", ["1.jpg"])
    (path.parent / "seqinfo.ini").write_text(text)
    with pytest.raises(DataError, match=r"seqinfo\.ini"):
        FrameFolder.open(path)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "25"])
def test_wrong_rates(fps: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="number above 0"):
        FrameFolder.open(folder(tmp_path / "a", ["1.png"]), fps=fps)  # type: ignore[arg-type]


def test_times_of_a_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", ["1.png", "2.png"])
    assert [frame.seconds for frame in iter_frames(path)] == [None, None]
    assert [frame.seconds for frame in iter_frames(FrameFolder.open(path, fps=4))] == [0, 0.25]


def test_files_that_are_no_frames_are_told(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", ["1.png"])
    for name in ("2.raw", "3.raw", "boxes.csv", ".hidden"):
        (path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match="other files are no frames: 2 .raw, 1 .csv"):
        FrameFolder.open(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FrameFolder.open(folder(tmp_path / "b", ["1.png", "2.png"]))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["A/img1", "B/img1"], ["A", "B"]),
        (["A/frames", "B/images"], ["A", "B"]),
        (["cam.1", "cam.2"], ["cam.1", "cam.2"]),
        (["hall"], ["hall"]),
    ],
)
def test_names_of_folders(paths: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in paths:
        (tmp_path / path).mkdir(parents=True)
    assert [video_name(tmp_path / path) for path in paths] == names
    monkeypatch.chdir(tmp_path / paths[0])
    assert video_name(".") == names[0]
    assert video_path(".") == video_path(tmp_path / paths[0]) == video_path(f"../{Path(paths[0]).name}")
    (tmp_path / "link").symlink_to(tmp_path / paths[0])
    assert video_path(tmp_path / "link") == video_path(".")


def test_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.b.mp4").write_bytes(b"")
    assert video_name(tmp_path / "a.b.mp4") == "a.b"


@pytest.mark.parametrize("first", [True, "0", 1.5, -1])
def test_a_first_number_is_a_whole_one(first: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whole number of at least 0"):
        FrameFolder.open(folder(tmp_path / "a", ["5.png"]), first=first)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="above 0, got True"):
        FrameFolder.open(tmp_path / "a", fps=True, first=5)


def test_more_frames_than_seqinfo_says(tmp_path: Path) -> None:
    path = folder(tmp_path / "s" / "img1", ["000001.jpg", "000002.jpg", "000003.jpg"])
    (path.parent / "seqinfo.ini").write_text(INFO.format(2))
    with pytest.warns(UserWarning, match=r"says that there are 2 frames, but they go on to 000003\.jpg"):
        FrameFolder.open(path)


def test_an_extension_without_its_point(tmp_path: Path) -> None:
    path = folder(tmp_path / "s" / "img1", ["000001.jpg", "000001.png", "000002.jpg"])
    (path.parent / "seqinfo.ini").write_text(INFO.format(2).replace("imExt=.jpg", "imExt=jpg"))
    assert [file.suffix for file in FrameFolder.open(path).files] == [".jpg", ".jpg"]
