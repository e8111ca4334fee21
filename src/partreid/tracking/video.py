"""Frames of video files, and of folders of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.images import read_image
from partreid.errors import DataError, ShapeError, needs_extra
from partreid.objects import guided
from partreid.tracking.frame_folder import SEQINFO, FrameFolder

OnError = Callable[[str], None]
"""Called with a message for everything that is left out. If it is None, the first such case is an error."""


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: from 0. seconds: since the video's start, None where it has no times (a folder of unknown rate).
        pixels: uint8 RGB [H, W, 3], upright.
    """

    number: int
    seconds: float | None
    pixels: NDArray[np.uint8]


@guided
def iter_frames(
    path: str | Path | FrameFolder, *, every: int = 1, on_error: OnError | None = None
) -> Iterator[VideoFrame]:
    """Frames of a video file, one at a time, or of a folder of images, by the numbers in their names.

    Files are read with PyAV (extra ``video``). Frames are upright, as players and OpenCV show them: turned as the file
    says, which those of telephones do.

    Args:
        path: the file or folder; a :class:`~partreid.tracking.frame_folder.FrameFolder` says how a folder is read.
        every: gives the frames 0, every, 2·every, ...; all must be decoded.
        on_error: told of each damaged frame, which is then left out. Later frames of a file keep their numbers, which
            then follow from their times: exact at a constant frame rate.

    Raises:
        DataError: there is no such file, it is no video, or a frame is damaged or of another size than the first and
            there is no ``on_error``; or the names in a folder do not say which frame is which. A file that was cut
            off may just end early.
        ShapeError: ``every`` is no whole number of at least 1.
        MissingDependencyError: PyAV is not installed.

    Example:
        >>> for number, seconds, pixels in iter_frames("camera1.mp4", every=5):  # doctest: +SKIP
        ...     embeddings = extractor.embed_boxes(pixels, detect(pixels))
    """
    if not isinstance(every, int | np.integer) or isinstance(every, bool) or every < 1:
        raise ShapeError(f"every is a whole number of at least 1, got {every!r:.80}.")
    if isinstance(path, FrameFolder):
        return _images(path, every, on_error)
    path = Path(path)
    if path.is_dir():
        return _images(FrameFolder.open(path), every, on_error)
    return _decoded(path, every, on_error)


def _images(folder: FrameFolder, every: int, on_error: OnError | None) -> Iterator[VideoFrame]:
    size, source = folder.size, f"{SEQINFO} says"
    for number, path in zip(folder.numbers, folder.files, strict=True):
        if number % every == 0:
            try:
                pixels = read_image(path)
                if size not in (None, pixels.shape[1::-1]):
                    raise DataError(
                        f"{path} has {pixels.shape[1]}×{pixels.shape[0]} pixels, but {source} {size[0]}×{size[1]}. "
                        "Boxes of one size do not fit the other. Give the frames that the boxes were found in."
                    )
            except DataError as error:
                leave_out(str(error), on_error)
                continue
            if size is None:
                size, source = (pixels.shape[1], pixels.shape[0]), f"{path.name} has"
            yield VideoFrame(number, folder.seconds(number), pixels)


def _decoded(path: Path, every: int, on_error: OnError | None) -> Iterator[VideoFrame]:
    with needs_extra("video", f"Reading {path}"):
        import av
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path} holds no video.")
            yield from _numbered(av, container, every, path, on_error)
    except av.FFmpegError as error:
        raise DataError(f"{path} cannot be read as a video: {error.strerror}. Fetch or make the file again.") from None


def _numbered(
    av: ModuleType, container: object, every: int, path: Path, on_error: OnError | None
) -> Iterator[VideoFrame]:
    """Decode packet by packet: a damaged one must not end the video."""

    def damaged(seconds: float | None) -> bool:
        where = "" if seconds is None else f" near {seconds:.2f} s"
        leave_out(f"{path}: a frame{where} is damaged. Fetch the file again, or leave such frames out.", on_error)
        return True

    stream = container.streams.video[0]  # type: ignore[attr-defined]
    stream.thread_type = "AUTO"
    # Without it, most decoders paint over what is damaged and say nothing.
    stream.codec_context.options = {"err_detect": "explode"}
    rate, unit = float(stream.average_rate or 0), float(stream.time_base or 0)
    start = None if stream.start_time is None else stream.start_time * unit
    number, gap = -1, False
    for packet in container.demux(stream):  # type: ignore[attr-defined]
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            gap = damaged(None if packet.pts is None else packet.pts * unit - (start or 0))
            continue
        for frame in decoded:
            if start is None and frame.time is not None:
                start = frame.time
            seconds = None if frame.time is None else frame.time - (start or 0)
            # Behind a damaged frame some are missing and others come in another order: the times tell which.
            place = round(seconds * rate) if gap and seconds is not None and rate else number + 1
            bad, number = frame.is_corrupt or place <= number, max(place, number)
            if bad:
                gap = damaged(seconds)
            elif number % every == 0:
                pixels = frame.to_ndarray(format="rgb24")
                yield VideoFrame(number, seconds, _upright(pixels, frame.side_data.get("DISPLAYMATRIX"), path))


def _upright(pixels: NDArray[np.uint8], matrix: bytes | None, path: Path) -> NDArray[np.uint8]:
    """A frame as it is to be shown: the file's matrix turns (x, y) into (a·x + c·y, b·x + d·y)."""
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if (a or d) and (b or c):
        raise DataError(f"{path} asks for a rotation that is no multiple of 90°. Turn it with FFmpeg first.")
    if b or c:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def leave_out(message: str, on_error: OnError | None) -> None:
    """Report what is left out and why; an error if there is no ``on_error``."""
    if on_error is None:
        raise DataError(message)
    on_error(message)
