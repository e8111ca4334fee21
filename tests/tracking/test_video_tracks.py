"""Tables of boxes, and a video with boxes as one embedding per track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.datasets.images import read_image
from partreid.errors import DataError
from partreid.inference.crops import crop_boxes
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import RuntimeConfig
from partreid.tracking.boxes import TrackBoxes, read_boxes
from partreid.tracking.tracklets import merge_tracklets
from partreid.tracking.video import VideoFrame
from partreid.tracking.video_tracks import BestCrops, embed_tracks
from partreid.types import PartEmbeddings

CSV = """note,Track,frame,x1,y1,x2,y2
,bob,1,10,0,30,40
,ann,0,0,0,20,40
a b,bob,0,5,0,25,40.5

,7,3,30,2,50,44
"""
MOT = """2,2,11,1,20,40,1,-1,-1,-1
1,1,1,1,20,40,1,-1,-1,-1
1,2.0,6,1,20,40.5,0.9
1,9,6,1,20,40.5,0
4,7,31,3,20,42
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(("text", "names"), [(CSV, ("ann", "bob", "7")), (MOT, ("1", "2", "7"))], ids=["csv", "mot"])
def test_both_formats_say_the_same(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    boxes = read_boxes(write(tmp_path / "boxes.csv", text))
    assert boxes.names == names
    assert boxes.frames.tolist() == [0, 0, 1, 3]
    assert boxes.tracks.tolist() == [0, 1, 1, 2]
    assert boxes.corners.tolist() == [[0, 0, 20, 40], [5, 0, 25, 40.5], [10, 0, 30, 40], [30, 2, 50, 44]]
    assert [list(boxes.rows(frame)) for frame in range(5)] == [[0, 1], [2], [], [3], []]
    assert boxes.every(3).names == (names[0], names[1], names[2])
    assert boxes.every(3).frames.tolist() == [0, 0, 3]
    assert boxes.every(2).names == names[:2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a first line"),
        ("frame,track,x1,y1,x2,y2\n", "holds no box"),
        ("frame,track,x1,y1,x2\n0,1,2,3,4\n", "expected a first line that names"),
        ("frame,track,x1,y1,x2,y2\n0,a,1,2,3\n", "line 2: expected 6 values"),
        ("frame,track,x1,y1,x2,y2\n0,a,1,2,3,x\n", "line 2: expected a finite number, got 'x'"),
        ("frame,track,x1,y1,x2,y2\n0,a,1,2,3,nan\n", "finite"),
        ("frame,track,x1,y1,x2,y2\n-1,a,1,2,3,4\n", "number of a frame from 0"),
        ("frame,track,x1,y1,x2,y2\n0.5,a,1,2,3,4\n", "number of a frame"),
        ("frame,track,x1,y1,x2,y2\n0,,1,2,3,4\n", "is no track's name"),
        ("frame,track,x1,y1,x2,y2\n1,a,1,2,3,4\n0,b,1,2,3,4\n1,a,5,6,7,8\n", "track a has two boxes in frame 1"),
        ("0,1,1,1,20,40,1\n", "line 1: expected the number of a frame from 1"),
        ("1,-1,1,1,20,40,0.7\n", "belongs to no track"),
        ("1,1,1,1,20,40\n2,1,1\n", "line 2"),
        ('frame,track,x1,y1,x2,y2\n0,"a', "cannot be read as CSV"),
    ],
)
def test_wrong_tables(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path / "boxes.csv", text))


def test_missing_and_binary_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        read_boxes(tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00\x01" * 99)
    with pytest.raises(DataError, match="cannot be read"):
        read_boxes(tmp_path / "boxes.csv")


@pytest.fixture(scope="module")
def extractor() -> PartExtractor:
    torch.manual_seed(1)
    model = BPBReID(ModelConfig(backbone="resnet18", parts="five"), 3)
    torch.nn.init.normal_(model.part_classifier.classifier.weight, std=0.1)
    runtime = RuntimeConfig(device="cpu", batch_size=3)
    return PartExtractor(model, PreprocessConfig(height=64, width=32), runtime=runtime)


def scene(count: int = 6, seed: int = 0) -> tuple[list[VideoFrame], TrackBoxes]:
    """Frames of noise; track "b" leaves after frame 2, "c" comes in frame 3, "a" is seen throughout."""
    random = np.random.default_rng(seed)
    frames = [VideoFrame(i, i / 4, random.integers(0, 255, (50, 80, 3), dtype=np.uint8)) for i in range(count)]
    rows = [(i, name, i) for i in range(count) for name in ("a", "b" if i < 3 else "c")]
    corners = np.array([(3.0 * i, 0, 3.0 * i + 25, 50) if n == "a" else (40, 5, 70, 45) for i, n, _ in rows])
    names = ("a", "b", "c")
    codes = np.array([names.index(name) for _, name, _ in rows])
    return frames, TrackBoxes(np.array([i for i, *_ in rows]), codes, corners, names)


def test_equals_embedding_every_crop_and_merging(extractor: PartExtractor) -> None:
    frames, boxes = scene()
    counts: list[int] = []
    merged, names = embed_tracks(extractor, frames, boxes, advance=counts.append)
    crops = [crop for f in frames for crop in crop_boxes(f.pixels, boxes.corners[list(boxes.rows(f.number))])]
    expected, tracks = merge_tracklets(extractor.embed(list(crops)), [boxes.names[i] for i in boxes.tracks])
    assert names == tuple(tracks) == ("a", "b", "c")
    torch.testing.assert_close(merged.vectors, expected.vectors, rtol=1e-4, atol=1e-5)
    assert torch.equal(merged.visibility, expected.visibility)
    assert sum(counts) == len(boxes) == 12


def test_reads_no_further_than_the_last_box(extractor: PartExtractor) -> None:
    frames, boxes = scene(4)

    def endless():  # type: ignore[no-untyped-def]
        yield from frames
        raise AssertionError("read too far")

    assert embed_tracks(extractor, endless(), boxes)[1] == ("a", "b", "c")


def test_what_is_wrong_stops_or_is_left_out_when_asked(extractor: PartExtractor) -> None:
    frames, boxes = scene()
    boxes.corners[0] = (500, 0, 600, 50)  # track a in frame 0
    with pytest.raises(DataError, match="Frame 0.*track a: .*outside"):
        embed_tracks(extractor, frames, boxes)
    told: list[str] = []
    some = [frames[i] for i in (0, 1, 2, 4)]  # frame 3 is damaged, the video ends before 5
    merged, names = embed_tracks(extractor, some, boxes, on_error=told.append)
    assert names == ("a", "b", "c")
    assert [message.partition(":")[0] for message in told] == [
        "Frame 0 (counted from 0), track a",
        *(f"Frame {i} (counted from 0), track {name}" for i in (3, 5) for name in ("a", "c")),
    ]
    kept = [1, 2, 3, 4, 5, 8, 9]
    crops = [crop_boxes(frames[boxes.frames[i]].pixels, boxes.corners[[i]])[0] for i in kept]
    expected, tracks = merge_tracklets(extractor.embed(list(crops)), [boxes.names[boxes.tracks[i]] for i in kept])
    order = [tracks.index(name) for name in names]
    torch.testing.assert_close(merged.vectors, expected[order].vectors, rtol=1e-4, atol=1e-5)
    cases = ((frames[1:], "Frame 0.*no such frame"), (frames[:3], "Frame 3.*video ends before this frame"))
    for some, message in cases:
        with pytest.raises(DataError, match=message):
            embed_tracks(extractor, some, scene()[1])


def test_frames_in_no_order(extractor: PartExtractor) -> None:
    frames, boxes = scene()
    for order in ((0, 2, 1, 3, 4, 5), (0, 1, 1, 2)):
        with pytest.raises(DataError, match="Expected frames in the order of their numbers, got 1 after"):
            embed_tracks(extractor, [frames[i] for i in order], boxes, on_error=lambda message: None)


def test_frames_of_another_size_than_the_first(extractor: PartExtractor) -> None:
    frames, boxes = scene()
    small = [frame._replace(pixels=frame.pixels[::2, ::2]) if i else frame for i, frame in enumerate(frames)]
    with pytest.raises(DataError, match=r"Frame 1 .*its frame has \d+×\d+ pixels, but the first one"):
        embed_tracks(extractor, small, boxes)
    told: list[str] = []
    embed_tracks(extractor, small, boxes, on_error=told.append)
    assert len(told) == int((boxes.frames > 0).sum())


def test_what_is_no_frame_or_no_box(extractor: PartExtractor) -> None:
    frames, boxes = scene()
    expected, _ = embed_tracks(extractor, frames, boxes)
    plain, _ = embed_tracks(extractor, (tuple(frame) for frame in frames), boxes)  # type: ignore[misc]
    assert torch.equal(plain.vectors, expected.vectors)
    for wrong in ("v.mp4", [frame.pixels for frame in frames], [(0, frames[0].pixels)]):
        with pytest.raises(DataError, match="Expected frames as iter_frames"):
            embed_tracks(extractor, wrong, boxes)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="boxes that read_boxes gives, got str"):
        embed_tracks(extractor, frames, "boxes.csv")  # type: ignore[arg-type]


def test_crops_come_with_their_rows(extractor: PartExtractor) -> None:
    frames, boxes = scene()
    seen: dict[int, np.ndarray] = {}
    embed_tracks(extractor, frames, boxes, on_crop=lambda row, pixels, one: seen.update({row: pixels}))
    assert sorted(seen) == list(range(len(boxes)))
    for row, pixels in seen.items():
        expected = crop_boxes(frames[boxes.frames[row]].pixels, boxes.corners[[row]])[0]
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_boxes_in_other_units(share: float, extractor: PartExtractor) -> None:
    """As a table they are refused also where wrong boxes are left out one by one."""
    frames, boxes = scene()
    boxes.corners[: int(share * len(boxes))] /= (80, 50, 80, 50)
    with pytest.raises(DataError, match="fractions of the frame"):
        embed_tracks(extractor, frames, boxes, on_error=lambda message: None)


def test_nothing_left(extractor: PartExtractor) -> None:
    _, boxes = scene()
    with pytest.raises(DataError, match="No box could be embedded"):
        embed_tracks(extractor, [], boxes, on_error=lambda message: None)


def test_the_crop_that_shows_the_most_is_kept(tmp_path: Path) -> None:
    def seen(*visibility: float) -> PartEmbeddings:
        return PartEmbeddings(torch.zeros(1, 3, 2), torch.tensor([visibility]), ("foreground", "head", "legs"))

    def crop(height: int) -> np.ndarray:
        return np.full((height, 8, 3), height, np.uint8)

    best = BestCrops(tmp_path / "crops")
    for height, visibility in ((20, (1, 0, 0)), (16, (1, 1, 0)), (17, (1, 1, 0)), (16, (1, 1, 0)), (40, (1, 0, 0))):
        best.add("7", crop(height), seen(*visibility))
    assert best.files == {"7": tmp_path / "crops" / "7.jpg"}
    assert read_image(best.files["7"]).shape == (17, 8, 3)
    odd = ["../x", "..\\x", "a b", "A", "a", "ü", "x" * 500, ""]
    for track in odd:
        best.add(track, crop(12), seen(0, 0, 0))
    names = [best.files[track].name for track in odd]
    assert len({name.lower() for name in names}) == len(names)
    assert sorted(path.name for path in (tmp_path / "crops").iterdir()) == sorted([*names, "7.jpg"])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="Cannot write"):
        BestCrops(tmp_path / "file").add("1", crop(12), seen(1, 1, 1))


@pytest.mark.parametrize("step", [0, -1, 1.5, []])
def test_every_needs_a_whole_number(step: object) -> None:
    boxes = TrackBoxes(np.array([0]), np.array([0]), np.zeros((1, 4)), names=("ann",))
    with pytest.raises(DataError, match="whole n of at least 1"):
        boxes.every(step)  # type: ignore[arg-type]
