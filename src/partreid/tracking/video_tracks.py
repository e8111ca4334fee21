"""From a video and the boxes of tracks to one embedding per track, with bounded memory."""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import ConfigError, DataError
from partreid.files import replace_file
from partreid.inference.cameras import Camera
from partreid.inference.crops import check_corners, crop_boxes
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ImageLike, load_image
from partreid.objects import Guided
from partreid.progress import Advance
from partreid.tracking._box_units import check_size, check_units
from partreid.tracking.frame_folder import FrameFolder, video_path
from partreid.tracking.track_boxes import TrackBoxes
from partreid.tracking.tracklets import Tracklet
from partreid.tracking.video import OnError, VideoFrame, iter_frames, leave_out
from partreid.types import PartEmbeddings

OnCrop: TypeAlias = Callable[[int, NDArray[np.uint8], PartEmbeddings], None]
"""Called for each crop with its row among the boxes, its pixels [H, W, 3], and its embeddings [1, S, D]."""


class BestCrops:
    """Keeps, of each track, the image that shows the most: the largest sum of visibilities, then the most pixels.

    Args:
        folder: where a JPEG file of each track is written; made if missing.

    Attributes:
        files: the file of each track so far.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, Path] = {}
        self._folder = folder
        self._best: dict[str, tuple[float, int]] = {}

    def add(self, track: str, pixels: NDArray[np.uint8], embeddings: PartEmbeddings) -> None:
        """Write a crop if it shows more than those of the track before it.

        Raises:
            DataError: the file cannot be written, or it is no image.
        """
        if not load_image(pixels).size:
            raise DataError(f"Track {track}: expected an image, got one without pixels.")
        shows = (float(embeddings.visibility.sum()), pixels.size)
        if shows > self._best.get(track, (-1.0, 0)):
            self._best[track] = shows
            self.files[track] = self._folder / _file_name(track)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, format="JPEG", quality=90)
            replace_file(self.files[track], buffer.getvalue(), error=DataError)


def _file_name(track: str) -> str:
    """A file name that is valid on any disk, and differs from other tracks' names even if case is ignored."""
    plain = re.sub(r"[^a-z0-9_-]", "_", track.lower())[:80]
    if plain != track:
        plain += "-" + sha256(track.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{plain}.jpg"


def embed_tracks(
    extractor: PartExtractor,
    frames: Iterable[VideoFrame],
    boxes: TrackBoxes,
    *,
    advance: Advance = lambda count: None,
    on_error: OnError | None = None,
    on_crop: OnCrop | None = None,
    camera: Camera | None = None,
) -> tuple[PartEmbeddings, tuple[str, ...]]:
    """Embed every box and merge those of a track (:class:`~partreid.tracking.tracklets.Tracklet`).

    Holds one frame, a few batches of crops, the sums of the tracks that are not over yet, and the results.

    Args:
        extractor: the model. frames: such as :func:`~partreid.tracking.video.iter_frames` gives, in order; not read
            beyond the last box.
        boxes: of the tracks. advance: told how many boxes were embedded, after each batch.
        on_error: told of each box that is left out, as it cannot be cut out of its frame or its frame never came.
        on_crop: told of each crop that was embedded. camera: of all frames, for an adapted model.

    Returns:
        [T, S, D] and the names of the T tracks, in the order of their first boxes. A track all of whose boxes were
        left out is missing.

    Raises:
        DataError: a box is wrong or its frame never came, and there is no ``on_error``; or nothing is left at all; or
            frames are in no order or of several sizes, or boxes in no pixels of them
            (:func:`~partreid.tracking._box_units.check_units`).
    """
    if not isinstance(boxes, TrackBoxes):
        raise DataError(f"Expected the boxes that read_boxes gives, got {type(boxes).__name__}.")
    tracks, rows = _OpenTracks(boxes), array("q")  # the row of each crop
    waiting: dict[int, NDArray[np.uint8]] = {}  # crops that somebody wants to see, until they are embedded

    def crops() -> Iterator[ImageLike]:
        for row, pixels in in_frames(frames, boxes, on_error):
            if pixels is None:
                tracks.one_less(row)
            else:
                if on_crop is not None:
                    waiting[row] = pixels
                rows.append(row)
                yield pixels

    with extractor.stream(crops(), cameras=camera) as stream:
        for batch in stream:
            for position, one in zip(batch.positions, batch.embeddings, strict=True):
                tracks.add(rows[position], one)
                if on_crop is not None:
                    on_crop(rows[position], waiting.pop(rows[position]), one)
            advance(len(batch.positions))
    return tracks.finish()


@dataclass(frozen=True, eq=False, repr=False)
class VideoTracks(Guided):
    """The tracks of a video.

    Attributes:
        embeddings: [T, S, D]. names: of the T tracks. boxes: that were embedded.
        seconds: when each frame was shown since the video's start, where that is known. images: a file of each track.
    """

    embeddings: PartEmbeddings
    names: tuple[str, ...]
    boxes: TrackBoxes
    seconds: Mapping[int, float] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)


def open_frames(
    video: str | Path, boxes: TrackBoxes, *, fps: float | None = None, in_order: bool = False
) -> Path | FrameFolder:
    """The frames that a table of boxes belongs to: of a video file, or of a folder of images.

    Args:
        video: the file or folder. boxes: of its tracks. fps, in_order: of a folder, as :meth:`FrameFolder.open`.

    Raises:
        DataError: there is no box, the boxes were read with the images of another folder, or the folder's images are no
            frames. ConfigError: a file needs no ``fps``.
    """
    if not len(boxes):
        raise DataError(f"No box of {boxes.table.path} is left. Use more of the frames: a smaller --every.")
    path, known = Path(video), boxes.table.folder
    if known is not None and video_path(path) != video_path(known.folder):
        raise DataError(f"The boxes of {boxes.table.path} were read with the images of {known.folder}, not of {path}.")
    if known is not None and fps is None:
        return known
    if path.is_dir():
        folder = FrameFolder.open(path, fps=fps, first=boxes.table.first_frame, in_order=in_order)
        if known is not None and folder.numbers != known.numbers:
            raise DataError(f"The boxes of {boxes.table.path} were read with other numbers of the images in {path}.")
        return folder
    if fps is not None or in_order:
        raise ConfigError(f"--fps and --in-order are for folders of images; {video} is none.")
    return path


def embed_video(
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
    """Embed the tracks of a video file or of a folder of frames: :func:`embed_tracks`, and what is known of them.

    Args:
        extractor: the model. frames: as :func:`open_frames` gives them. boxes: of the tracks.
        every: only every n-th frame and its boxes. crops: folder for an image of each track, the one that shows the
            most. advance: told how many boxes were embedded. on_error: told of each frame and box that is left out.
        camera: that took the video, for an adapted model.

    Raises:
        DataError: as ``embed_tracks``, and where a frame cannot be read or an image cannot be written.
    """
    boxes = boxes.every(every)
    best = None if crops is None else BestCrops(crops)
    seconds: dict[int, float] = {}
    used: list[int] = []

    def noted() -> Iterator[VideoFrame]:
        for frame in iter_frames(frames, every=every, on_error=on_error):
            if frame.seconds is not None:
                seconds[frame.number] = frame.seconds
            yield frame

    def note(row: int, pixels: NDArray[np.uint8], one: PartEmbeddings) -> None:
        used.append(row)
        if best is not None:
            best.add(boxes.names[boxes.tracks[row]], pixels, one)

    embeddings, names = embed_tracks(
        extractor, noted(), boxes, advance=advance, on_error=on_error, on_crop=note, camera=camera
    )
    return VideoTracks(embeddings, names, boxes.only(used), seconds, best.files if best else {})


def in_frames(
    frames: Iterable[VideoFrame], boxes: TrackBoxes, on_error: OnError | None
) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    """Every box's row with its crop, None where it is left out; by frame."""
    used, before, size = 0, -1, (0, 0)
    for came in frames:
        if not isinstance(came, tuple) or len(came) != 3 or np.ndim(came[2]) < 2:
            what = f"(number, seconds, pixels), got {type(came).__name__}"
            raise DataError(f"Expected frames as iter_frames gives them, {what}.")
        frame = VideoFrame(*came)
        height, width = frame.pixels.shape[:2]
        check_size(boxes, frame.number, width, height)
        if before == -1 and not boxes.table.by_image:
            size = width, height
            check_units(boxes, width, height)
        if frame.number <= before:
            raise DataError(f"Expected frames in the order of their numbers, got {frame.number} after {before}.")
        before = frame.number
        rows = boxes.rows(frame.number)
        for row in range(used, rows.start):
            leave_out(f"{boxes.where(row)}: there is no such frame, or it is damaged.", on_error)
            yield row, None
        for row in rows:
            crop = None
            try:
                if boxes.table.by_image:
                    check_corners(boxes.corners[rows.start : rows.stop], width, height)
                elif (width, height) != size:
                    raise DataError(
                        f"its frame has {width}×{height} pixels, but the first one has {size[0]}×{size[1]}. Boxes of "
                        "one size do not fit the other."
                    )
                crop = crop_boxes(frame.pixels, boxes.corners[row : row + 1])[0]
            except DataError as error:
                leave_out(f"{boxes.where(row)}: {error}", on_error)
            yield row, crop
        used = rows.stop
        if used == len(boxes):
            return
    for row in range(used, len(boxes)):
        leave_out(
            f"{boxes.where(row)}: the video ends before this frame. Does the table belong to this video, and count "
            f"frames from {boxes.table.first_frame} (--first-frame)?",
            on_error,
        )
        yield row, None


class _OpenTracks:
    """Tracks that still have boxes to come, and finished ones."""

    def __init__(self, boxes: TrackBoxes) -> None:
        self._boxes = boxes
        self._to_come = np.bincount(boxes.tracks, minlength=len(boxes.names))
        self._open: dict[int, Tracklet] = {}
        self._done: dict[int, PartEmbeddings] = {}

    def add(self, row: int, embeddings: PartEmbeddings) -> None:
        self._open.setdefault(int(self._boxes.tracks[row]), Tracklet()).add(embeddings)
        self.one_less(row)

    def one_less(self, row: int) -> None:
        """To be called once for each box. After its last box a track is finished, and its sums are freed."""
        track = int(self._boxes.tracks[row])
        self._to_come[track] -= 1
        if self._to_come[track] == 0 and track in self._open:
            self._done[track] = self._open.pop(track).embeddings

    def finish(self) -> tuple[PartEmbeddings, tuple[str, ...]]:
        if not self._done:
            raise DataError("No box could be embedded. Do the video and the boxes belong together?")
        order = sorted(self._done)
        return PartEmbeddings.cat(self._done[i] for i in order), tuple(self._boxes.names[i] for i in order)
