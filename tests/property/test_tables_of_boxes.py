"""Tables of boxes and folders of frames of whatever content: what can be read is sound, all else a typed error."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partreid.errors import PartReIDError
from partreid.inference.crops import crop_boxes
from partreid.tracking._track_names import track_key
from partreid.tracking.boxes import read_boxes
from partreid.tracking.frame_folder import FrameFolder
from partreid.tracking.tracklets import merge_tracklets
from tests.property.fuzz_inference import CELLS, FIRST_LINES, NAMES, frame_folders
from tests.property.fuzz_types import folder
from tests.property.fuzzing import embeddings


@given(
    st.sampled_from(FIRST_LINES),
    st.lists(st.lists(CELLS, min_size=5, max_size=11), max_size=4),
    st.sampled_from(",;\t "),
)
def test_any_table(first: str, rows: list[list[str]], between: str) -> None:
    path = folder() / "any.txt"
    text = "\n".join([first.replace(",", between), *(between.join(row) for row in rows)])
    path.write_text(text, encoding="utf-8", errors="replace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            boxes = read_boxes(path, on_error=lambda message: None)
        except PartReIDError:
            return
    assert len(boxes)
    assert np.isfinite(boxes.corners).all()
    assert (boxes.frames >= 0).all()
    assert all(track_key(name) == name for name in boxes.names)
    assert boxes.spans()[:, 2].sum() == len(boxes)
    for corners in boxes.corners:
        try:
            crop = crop_boxes(np.zeros((40, 60, 3), np.uint8), [corners])[0]
        except PartReIDError:
            continue
        assert crop.size


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 40), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
KEYS = st.sampled_from(["image_id", "bbox", "category_id", "score", "iscrowd", "track_id", "attributes", "file_name",
                        "frame", "image", "box", "name", "x1", "y1", "x2", "y2", "id", "width", "height"])  # fmt: skip
NUMBERS = st.lists(st.integers(0, 40), min_size=4, max_size=4)
ENTRIES = st.lists(st.dictionaries(KEYS, st.one_of(JSON, NUMBERS), max_size=9), max_size=3)
WORDS = st.sampled_from(
    ["0", "1", "0.2", "0.5", "7", "-1", "nan", "Pedestrian", "DontCare", "1e400", "x", "0.5 0.5", "-10"]
)


def any_file(content: str, name: str) -> Path:
    path = folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8", errors="replace")
    return path


def read_any(path: Path) -> None:
    """Sound boxes, or a typed error."""
    for each in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                boxes = read_boxes(path, frames=FRAMES[0], each=each, on_error=lambda message: None)
            except PartReIDError:
                continue
        assert len(boxes)
        assert np.isfinite(boxes.corners).all()
        assert (boxes.frames >= 0).all()


FRAMES: list[Path] = []


@pytest.fixture(autouse=True, scope="module")
def _frames(tmp_path_factory: pytest.TempPathFactory) -> None:
    images = tmp_path_factory.mktemp("frames")
    for number in range(2):
        Image.new("RGB", (60, 40)).save(images / f"{number}.png")
    FRAMES[:] = [images]


@given(ENTRIES, ENTRIES, st.sampled_from(["results", "coco", "frames"]))
def test_any_json(entries: list[object], images: list[object], kind: str) -> None:
    content: object = entries
    if kind != "results":
        content = {"annotations": entries, "images": images, "categories": images} if kind == "coco" else [entries]
    read_any(any_file(json.dumps(content), "any.json"))


@given(st.lists(st.lists(WORDS, min_size=5, max_size=18), min_size=1, max_size=3))
def test_any_rows(rows: list[list[str]]) -> None:
    text = "\n".join(" ".join(row) for row in rows)
    read_any(any_file(text, "any.txt"))
    read_any(any_file(text, "labels/1.txt").parent)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS, WORDS, WORDS), max_size=3), st.booleans())
def test_any_xml(boxes: list[tuple[str, ...]], of_images: bool) -> None:
    names = ("frame", "outside", "xtl", "ytl", "xbr", "ybr")
    inner = "".join(
        f"<box label='person' {' '.join(f'{name}={value!r}' for name, value in zip(names, row, strict=True))}/>"
        for row in boxes
    )
    tag = "image id='0' name='1.png' width='60'" if of_images else "track id='7' label='person'"
    read_any(any_file(f"<annotations><{tag}>{inner}</{tag.split()[0]}></annotations>", "any.xml"))


@given(st.lists(NAMES, min_size=3, max_size=3), embeddings(n=3))
def test_any_tracks(tracks: list[object], made: object) -> None:
    keys = [track_key(track) for track in tracks]
    try:
        merged, left = merge_tracklets(made, tracks)  # type: ignore[arg-type, type-var]
    except PartReIDError:
        assert None in keys
        return
    assert None not in keys
    assert [track_key(track) for track in left] == list(dict.fromkeys(keys))
    assert len(merged) == len(left)


@pytest.mark.parametrize("in_order", [False, True])
@given(path=frame_folders())
def test_any_folder_of_frames(in_order: bool, path: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frames = FrameFolder.open(path, in_order=in_order)  # type: ignore[arg-type]
        except PartReIDError:
            return
    assert len(set(frames.numbers)) == len(frames.files)
    assert list(frames.numbers) == sorted(frames.numbers)
    assert frames.numbers[0] == 0
