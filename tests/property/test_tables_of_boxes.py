"""Tables of boxes and folders of frames of whatever content: what can be read is sound, all else a typed error."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
