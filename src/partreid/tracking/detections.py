"""From a video or images, and boxes without tracks, to one embedding per box."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.images import read_image
from partreid.errors import DataError
from partreid.inference.cameras import Camera
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ImageLike
from partreid.progress import Advance
from partreid.tracking.frame_folder import FrameFolder
from partreid.tracking.track_boxes import TrackBoxes
from partreid.tracking.video import OnError, VideoFrame, iter_frames, leave_out
from partreid.tracking.video_tracks import BestCrops, VideoTracks, in_frames
from partreid.types import PartEmbeddings


def embed_detections(
    extractor: PartExtractor,
    frames: str | Path | FrameFolder,
    boxes: TrackBoxes,
    *,
    every: int = 1,
    crops: Path | None = None,
    advance: Advance = lambda count: None,
    on_error: OnError | None = None,
    camera: Camera | None = None,
) -> VideoTracks:
    """Embed each box of a video, of a folder of frames, or of a folder of any images that the table names.

    Memory holds one frame, a few batches of crops, and the results.

    Args:
        extractor: the model. frames: as :func:`~partreid.tracking.video_tracks.open_frames` gives them.
        boxes: from ``read_boxes(..., each=True)``, which makes each box its own track.
        every, crops, advance, on_error, camera: as in :func:`~partreid.tracking.video_tracks.embed_video`.

    Returns:
        Embeddings [N, S, D] and names such as "12/0" of N boxes, in the order of their frames, without those left out.

    Raises:
        DataError: as ``embed_video``; or a track has several boxes.
    """
    if not isinstance(boxes, TrackBoxes):
        raise DataError(f"Expected the boxes that read_boxes gives, got {type(boxes).__name__}.")
    if len(boxes.names) < len(boxes):
        raise DataError("Expected boxes that are a track each, got tracks of several. Read them with each=True.")
    boxes = boxes.every(every)
    best = None if crops is None else BestCrops(crops)
    seconds: dict[int, float] = {}
    rows = array("q")
    waiting: dict[int, NDArray[np.uint8]] = {}

    def shown() -> Iterator[VideoFrame]:
        for frame in _frames(frames, boxes, every, on_error):
            if frame.seconds is not None:
                seconds[frame.number] = frame.seconds
            yield frame

    def pixels() -> Iterator[ImageLike]:
        for row, crop in in_frames(shown(), boxes, on_error):
            if crop is not None:
                if best is not None:
                    waiting[len(rows)] = crop
                rows.append(row)
                yield crop

    batches: list[PartEmbeddings] = []
    with extractor.stream(pixels(), cameras=camera) as stream:
        for batch in stream:
            batches.append(batch.embeddings)
            for position, one in zip(batch.positions.tolist(), batch.embeddings if best else (), strict=False):
                best.add(_name(boxes, rows[position]), waiting.pop(position), one)  # type: ignore[union-attr]
            advance(len(batch.positions))
    if not batches:
        raise DataError("No box could be embedded. Do the frames and the boxes belong together?")
    names = tuple(_name(boxes, row) for row in rows)
    used = boxes if len(rows) == len(boxes) else boxes.only(list(rows))
    return VideoTracks(PartEmbeddings.cat(batches), names, used, seconds, best.files if best else {})


def _name(boxes: TrackBoxes, row: int) -> str:
    return boxes.names[int(boxes.tracks[row])]


def _frames(
    frames: str | Path | FrameFolder, boxes: TrackBoxes, every: int, on_error: OnError | None
) -> Iterator[VideoFrame]:
    """The frames; of a folder whose images the table names, only those of boxes, and of any sizes."""
    if not (isinstance(frames, FrameFolder) and boxes.table.by_image):
        yield from iter_frames(frames, every=every, on_error=on_error)
        return
    wanted = set(boxes.frames.tolist())
    for number, path in zip(frames.numbers, frames.files, strict=True):
        if number in wanted:
            try:
                pixels = read_image(path)
            except DataError as error:
                leave_out(str(error), on_error)
                continue
            yield VideoFrame(number, frames.seconds(number), pixels)
