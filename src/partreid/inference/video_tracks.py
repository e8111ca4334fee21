"""From a video and the boxes of tracks to one embedding per track, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.inference.boxes import TrackBoxes
from partreid.inference.extractor import PartExtractor
from partreid.inference.tracklets import Tracklet
from partreid.inference.video import OnError, VideoFrame, crop_boxes
from partreid.types import PartEmbeddings


def embed_tracks(
    extractor: PartExtractor,
    frames: Iterable[VideoFrame],
    boxes: TrackBoxes,
    *,
    advance: Callable[[int], None] = lambda count: None,
    on_error: OnError | None = None,
) -> tuple[PartEmbeddings, tuple[str, ...]]:
    """Embed every box and merge those of a track (:class:`~partreid.inference.tracklets.Tracklet`).

    Holds one frame, one batch of crops, the sums of the tracks that are not over yet, and the results.

    Args:
        extractor: the model. frames: such as :func:`~partreid.inference.video.iter_frames` gives, in order; not read
            beyond the last box.
        boxes: of the tracks. advance: told how many boxes were embedded, after each batch.
        on_error: told of each box that is left out, as it cannot be cut out of its frame or its frame never came.

    Returns:
        [T, S, D] and the names of the T tracks, in the order of their first boxes. A track all of whose boxes were
        left out is missing.

    Raises:
        DataError: a box is wrong or its frame never came, and there is no ``on_error``; or nothing is left at all.
    """
    tracks = _OpenTracks(extractor, boxes, advance)
    used = 0
    for frame in frames:
        rows = boxes.rows(frame.number)
        for row in range(used, rows.start):
            _leave_out(f"{_name(boxes, row)}: there is no such frame, or it is damaged.", on_error)
            tracks.skip(row)
        for row in rows:
            try:
                tracks.add(row, crop_boxes(frame.pixels, boxes.corners[row : row + 1])[0])
            except DataError as error:
                _leave_out(f"{_name(boxes, row)}: {error}", on_error)
                tracks.skip(row)
        used = rows.stop
        if used == len(boxes):
            break
    for row in range(used, len(boxes)):
        _leave_out(f"{_name(boxes, row)}: the video ends before it. Does the table belong to it?", on_error)
    return tracks.finish()


class _OpenTracks:
    """Crops that wait for a whole batch, and tracks that wait for more boxes."""

    def __init__(self, extractor: PartExtractor, boxes: TrackBoxes, advance: Callable[[int], None]) -> None:
        self._extractor, self._boxes, self._advance = extractor, boxes, advance
        self._batch = extractor.runtime.batch_size
        self._to_come = np.bincount(boxes.tracks, minlength=len(boxes.names))
        self._crops: list[NDArray[np.uint8]] = []
        self._rows: list[int] = []
        self._open: dict[int, Tracklet] = {}
        self._done: dict[int, PartEmbeddings] = {}

    def add(self, row: int, crop: NDArray[np.uint8]) -> None:
        self._rows.append(row)
        self._crops.append(crop)
        if len(self._crops) >= self._batch:
            self._embed()

    def skip(self, row: int) -> None:
        track = int(self._boxes.tracks[row])
        self._to_come[track] -= 1
        if self._to_come[track] == 0 and track in self._open:
            self._done[track] = self._open.pop(track).embeddings

    def finish(self) -> tuple[PartEmbeddings, tuple[str, ...]]:
        if self._crops:
            self._embed()
        self._done |= {track: tracklet.embeddings for track, tracklet in self._open.items()}
        if not self._done:
            raise DataError("No box could be embedded. Do the video and the boxes belong together?")
        order = sorted(self._done)
        return PartEmbeddings.cat(self._done[i] for i in order), tuple(self._boxes.names[i] for i in order)

    def _embed(self) -> None:
        embeddings = self._extractor.embed(list(self._crops))
        for row, one in zip(self._rows, embeddings, strict=True):
            self._open.setdefault(int(self._boxes.tracks[row]), Tracklet()).add(one)
            self.skip(row)  # one box less to come
        self._advance(len(self._rows))
        self._crops, self._rows = [], []


def _leave_out(message: str, on_error: OnError | None) -> None:
    if on_error is None:
        raise DataError(message)
    on_error(message)


def _name(boxes: TrackBoxes, row: int) -> str:
    return f"Frame {boxes.frames[row]} (counted from 0), track {boxes.names[boxes.tracks[row]]}"
