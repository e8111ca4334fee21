"""Boxes of tracked persons from a table, in the formats of trackers, detectors and annotation tools."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, DataError, warn
from partreid.objects import guided
from partreid.tracking._box_choice import chosen_rows
from partreid.tracking._box_rows import BoxForm, BoxRows
from partreid.tracking._box_units import check_fractions
from partreid.tracking.formats.in_frames import Frames, frame_sizes, named_frames, open_images
from partreid.tracking.formats.known import BoxFormat, read_rows
from partreid.tracking.formats.objects import rows_of
from partreid.tracking.formats.separated import COLUMNS, MOT
from partreid.tracking.frame_folder import FrameFolder
from partreid.tracking.track_boxes import BoxTable, TrackBoxes

__all__ = ["COLUMNS", "BoxForm", "BoxFormat", "BoxTable", "TrackBoxes", "boxes_of", "read_boxes"]


@guided
def read_boxes(
    path: str | Path,
    *,
    format: BoxFormat | None = None,
    frames: str | Path | FrameFolder | None = None,
    each: bool = False,
    form: BoxForm | None = None,
    first_frame: int | None = None,
    person_classes: Collection[object] | None = None,
    on_error: Callable[[str], None] | None = None,
) -> TrackBoxes:
    """Read boxes of tracks, or of detections.

    The format is recognised by its content: CSV whose first line names the columns :data:`COLUMNS` in any order, frames
    and pixels counted from 0, tracks with any names (column names of other tools work too); MOTChallenge's ``frame, id,
    left, top, width, height, confidence, ...`` without a header, frames and pixels counted from 1; KITTI's, YOLO's,
    COCO's, CVAT's, and lists of JSON objects with the names of columns. ``docs/tracklets.md`` lists what each tool
    writes.

    In every format, boxes with confidence 0 (to be ignored), of other classes than person, and with visibility 0 are
    left out with a warning. The names of tracks are explained at :func:`~partreid.tracking._track_names.track_key`.

    Args:
        path: the file, or for YOLO and KITTI's images the folder of files. format: None = recognise it.
        frames: video file or folder of images of the boxes; needed if the table names images or contains fractions of
            them.
        each: make every box its own track, as :func:`~partreid.tracking.detections.embed_detections` needs them, even
            if the table has no tracks. The name consists of the frame (in a folder, the image's name) and the box's
            number in this frame, from 0: "12/0".
        form: how boxes are written, if the table says it wrongly.
        first_frame: the number of the first frame, 0 or 1; None = that of the format.
        person_classes: the classes of persons, if there is a column of classes; None = MOTChallenge's 1, and classes
            with the name of a person.
        on_error: called with a message for each box without a track or image, which is then left out.

    Raises:
        DataError: the file is missing or has an unknown or wrong format, a value is not a number, a frame is below the
            first, boxes belong to no track, a track occurs twice in a frame, or there is no box; or the first frame,
            the classes of persons or the frame of an image are unknown, or the boxes are fractions of the frame. The
            message names the line.
        ConfigError: ``format``, ``form`` or ``first_frame`` is another value.
    """
    path = Path(path)
    if form not in (None, "xyxy", "xywh"):
        raise ConfigError(f"Boxes are written as xyxy or xywh, got {form!r:.80}.")
    if first_frame not in (None, 0, 1) or isinstance(first_frame, bool | float):
        raise ConfigError(f"The first frame is number 0 or 1, got {first_frame!r:.80}.")
    rows = read_rows(path, format)
    if rows.fractions and form is not None:
        raise ConfigError(f"YOLO's boxes have one form, so --boxes (form=) changes nothing for {path}.")
    if not len(rows):
        raise DataError(f"{path} holds no box. Expected a row for each: {', '.join(COLUMNS)}, or {MOT}.")
    if not isinstance(frames, FrameFolder | None):
        frames = Path(frames)
        if frames.is_dir():
            frames = open_images(frames, rows, first_frame, loose=each) if rows.images or rows.fractions else None
    return _boxes(rows, frames, form, first_frame, person_classes, on_error, each=each)


@guided
def boxes_of(
    results: Iterable[object],
    *,
    each: bool = False,
    person_classes: Collection[object] | None = None,
    on_error: Callable[[str], None] | None = None,
) -> TrackBoxes:
    """Boxes of live results, one result for each frame from 0: supervision's ``Detections``, ultralytics' ``Results``,
    or any objects with such fields (``xyxy`` and ``tracker_id``; ``boxes.xyxy`` and ``boxes.id``).

    Args:
        results: in the order of the frames; a generator is read to its end without keeping its images.
        each, person_classes, on_error: as in :func:`read_boxes`, whose rules hold here too.

    Raises:
        DataError: as ``read_boxes``, or an object has no boxes.

    Example:
        >>> from types import SimpleNamespace
        >>> frame = SimpleNamespace(xyxy=[[10, 20, 40, 80]], tracker_id=[7], confidence=[0.9], class_id=[0])
        >>> boxes_of([frame, frame]).spans().tolist()
        [[0, 1, 2]]
    """
    rows = rows_of(results)
    if not len(rows):
        raise DataError("The results hold no box.")
    return _boxes(rows, None, None, None, person_classes, on_error, each=each)


def _boxes(
    rows: BoxRows,
    frames: Frames,
    form: BoxForm | None,
    first_frame: int | None,
    person_classes: Collection[object] | None,
    on_error: Callable[[str], None] | None,
    *,
    each: bool,
) -> TrackBoxes:
    kept, notes = chosen_rows(rows.path, rows, person_classes)
    by_image, read = False, rows.note
    if rows.images:
        numbers, first, note, by_image = named_frames(rows, frames, first_frame)
        notes.insert(0, note)
    else:
        first = _first_frame(rows, first_frame)
        numbers = np.array(rows.frames, dtype=np.int64) - first
        read = f"{read}; frames are counted from {first}" if read else ""
    notes.insert(0, read)
    used = _with_image(rows, np.flatnonzero(kept), numbers, frames, on_error)
    names = _each(rows, numbers, frames) if each else [str(track) for track in rows.tracks]
    if not each:
        used = _with_track(rows, used, on_error)
    corners, pixel = _corners(rows, form or rows.form, first)
    if rows.fractions:
        sizes = frame_sizes(rows, numbers[used], frames, each=each)
        corners[used] *= np.array([sizes[number] * 2 for number in numbers[used].tolist()])
    files = dict(zip(numbers.tolist(), rows.files, strict=True)) if rows.files else {}
    table = BoxTable(
        str(rows.path),
        None if form else rows.form,
        first,
        pixel,
        rows.word,
        files,
        _sizes(rows, numbers),
        frames if isinstance(frames, FrameFolder) else None,
        by_image and each,
        each,
    )
    lines = np.array(rows.lines, dtype=np.int64)[used]
    boxes = TrackBoxes._ordered(numbers[used], [names[i] for i in used], corners[used], lines, table)
    for note in filter(None, notes):
        warn(f"{note}.")
    if not rows.fractions:
        check_fractions(boxes)
    return boxes


def _first_frame(rows: BoxRows, first_frame: int | None) -> int:
    lowest = min(rows.frames)
    first = rows.first_frame if first_frame is None else first_frame
    if first is None and lowest == 0:
        first = 0
    if first is None:
        raise DataError(
            f"{rows.note}; whether frames are counted from 0 or from 1 is not known: the lowest is {lowest}. "
            "Give --first-frame 0 or 1 (first_frame=)."
        )
    if lowest < first:
        raise DataError(
            f"{rows.where(rows.frames.index(lowest))}: expected the number of a frame from {first}, got "
            f"{lowest}. MOTChallenge counts from 1; a table with a header line counts from 0. If this table "
            "counts from 0, give --first-frame 0 (first_frame=0)."
        )
    return first


def _corners(rows: BoxRows, form: BoxForm, first_frame: int) -> tuple[NDArray[np.float64], int]:
    """[N, 4] x1, y1, x2, y2 in pixels from 0, and the number of the first pixel. MOTChallenge counts frames and pixels
    from 1. Tables that count frames from 0, have corners, or name images have a detector's pixels, which are from 0."""
    pixel = first_frame if rows.form == "xywh" and not rows.images else 0
    boxes = np.array(rows.boxes).reshape(-1, 4)
    boxes[:, :2] -= pixel
    boxes[:, 2:] += boxes[:, :2] if form == "xywh" else -pixel
    return boxes, pixel


def _sizes(rows: BoxRows, numbers: NDArray[np.int64]) -> dict[int, tuple[float, float]]:
    """What the table says of the sizes of its frames."""
    if not rows.sizes:
        return {}
    images = rows.images or [""] * len(rows)
    found = (
        (number, rows.sizes.get(image, rows.sizes.get("")))
        for number, image in zip(numbers.tolist(), images, strict=True)
    )
    return {number: size for number, size in found if size is not None}


def _with_image(
    rows: BoxRows, chosen: NDArray[np.int64], numbers: NDArray[np.int64], frames: Frames,
    on_error: Callable[[str], None] | None,
) -> list[int]:  # fmt: skip
    """The rows whose image is there."""
    used = []
    for row in chosen.tolist():
        if numbers[row] >= 0:
            used.append(row)
            continue
        folder = frames.folder if isinstance(frames, FrameFolder) else frames
        message = f"{rows.where(row)}: the box is of the image {rows.images[row]!r:.80}, which is not in {folder}."
        if on_error is None:
            raise DataError(f"{message} Give all images, or leave such boxes out: --skip-damaged (on_error=).")
        on_error(message)
    return used


def _with_track(rows: BoxRows, chosen: Sequence[int], on_error: Callable[[str], None] | None) -> list[int]:
    """The rows that name a track."""
    used = [row for row in chosen if rows.tracks[row] is not None]
    none = (
        "This table has no tracks: run a tracker on it, or embed each box alone with partreid embed-boxes (each=True)."
    )
    for row in chosen:
        if rows.tracks[row] is not None:
            continue
        message = f"{rows.where(row)}: the box belongs to no track: {rows.names[row]!r:.40} is no track's name."
        if on_error is None:
            hint = "Run a tracker on the detections, or leave such boxes out: --skip-damaged (on_error=)."
            raise DataError(f"{message} {hint if used else none}")
        on_error(message)
    if not used:
        raise DataError(f"{rows.path} holds no box of a track. {none}")
    return used


def _each(rows: BoxRows, numbers: NDArray[np.int64], frames: Frames) -> list[str]:
    """A name for every row: its frame, and how many rows of the frame the table has before it."""
    labels: dict[int, str] = {}
    if isinstance(frames, FrameFolder):
        labels = {number: file.name for number, file in zip(frames.numbers, frames.files, strict=True)}
    count: dict[int, int] = {}
    names = []
    for number in numbers.tolist():
        place = count[number] = count.get(number, -1) + 1
        names.append(f"{labels.get(number, number)}/{place}")
    return names
