"""Boxes of tracked persons from a table, in the formats of trackers, detectors and annotation tools."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, DataError, warn
from partreid.objects import Guided, guided
from partreid.tracking._box_choice import chosen_rows, named
from partreid.tracking._box_rows import BoxForm, BoxRows
from partreid.tracking._box_units import check_fractions
from partreid.tracking._track_names import track_key
from partreid.tracking.formats.in_frames import Frames, frame_sizes, named_frames
from partreid.tracking.formats.known import BoxFormat, read_rows
from partreid.tracking.formats.objects import rows_of
from partreid.tracking.formats.separated import COLUMNS, MOT
from partreid.tracking.frame_folder import FrameFolder

__all__ = ["COLUMNS", "BoxForm", "BoxFormat", "BoxTable", "TrackBoxes", "boxes_of", "read_boxes"]


@dataclass(frozen=True, repr=False)
class BoxTable(Guided):
    """The table that boxes come from.

    Attributes:
        path: its file. form: how it writes a box, None where the user said how.
        first_frame: the number that it gives the first frame. first_pixel: and the first pixel, 0 or 1.
        word: what ``TrackBoxes.lines`` counts. files: of a folder of files, that of each frame.
        sizes: (width, height) of frames, where the table says it. by_image: whether boxes belong to images of a folder
            by their names; these may have several sizes.
    """

    path: str = ""
    form: BoxForm | None = "xyxy"
    first_frame: int = 0
    first_pixel: int = 0
    word: str = "line"
    files: Mapping[int, str] = field(default_factory=dict)
    sizes: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    by_image: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class TrackBoxes(Guided):
    """Boxes in the order of their frames.

    Attributes:
        frames: [N] numbers of frames, from 0, ascending. tracks: [N] positions in ``names``.
        corners: [N, 4] x1, y1, x2, y2 in pixels, as :func:`~partreid.inference.crops.crop_boxes` takes them.
        names: the T tracks, in the order of their first boxes.
        lines: [N] where each stands in its table; None where it has none. table: that table.

    Raises:
        DataError: the arrays do not fit together, frames do not ascend, a track is twice in a frame or has no box, or
            a name is twice there or is none (:func:`~partreid.tracking._track_names.track_key`).
    """

    frames: NDArray[np.int64]
    tracks: NDArray[np.int64]
    corners: NDArray[np.float64]
    names: tuple[str, ...]
    lines: NDArray[np.int64] | None = None
    table: BoxTable = field(default_factory=BoxTable)

    def __post_init__(self) -> None:
        for name in ("frames", "tracks", "corners") if self.lines is None else ("frames", "tracks", "corners", "lines"):
            object.__setattr__(self, name, _array(name, getattr(self, name)))
        count = self.frames.size
        whole = all(numbers.dtype.kind in "iu" for numbers in (self.frames, self.tracks) if count)
        alone = self.lines is None or self.lines.shape == (count,)
        if (
            not (whole and alone and self.frames.shape == self.tracks.shape == (count,))
            or self.corners.shape != (count, 4)
            or self.corners.dtype.kind not in "iuf"
        ):
            raise DataError(
                "Expected whole numbers frames [N] and tracks [N], numbers corners [N, 4], and lines [N] if any, got "
                f"shapes {self.frames.shape}, {self.tracks.shape} and {self.corners.shape}."
            )
        if count and (np.diff(self.frames) < 0).any():
            raise DataError("Expected the boxes in the order of their frames. Sort them: order = np.argsort(frames).")
        if count and self.frames[0] < 0:
            raise DataError(f"Frames are counted from 0, got {self.frames[0]}.")
        self._check_tracks()
        _check_single(self)

    def _check_tracks(self) -> None:
        names = [self.names] if isinstance(self.names, str) else list(self.names)
        if len(self) and not (np.min(self.tracks) >= 0 and np.max(self.tracks) < len(names)):
            raise DataError(f"Expected positions 0 to {len(names) - 1} in the names of the tracks.")
        keys = [track_key(name) for name in names]
        if None in keys or len(set(keys)) < len(keys):
            wrong = next(name for name, key in zip(names, keys, strict=True) if key is None or keys.count(key) > 1)
            raise DataError(f"Each track has a name of its own, got {wrong!r:.80}. Leave out boxes of no track.")
        if empty := set(range(len(names))) - set(self.tracks.tolist()):
            raise DataError(f"Each track has a box, but {names[min(empty)]!r:.80} has none. Leave its name out.")
        object.__setattr__(
            self, "names", tuple(n if isinstance(n, str) else str(key) for n, key in zip(names, keys, strict=True))
        )

    def __len__(self) -> int:
        return len(self.frames)

    def rows(self, frame: int) -> range:
        """Rows of the boxes in a frame."""
        first, end = np.searchsorted(self.frames, [frame, frame + 1])
        return range(int(first), int(end))

    def where(self, row: int) -> str:
        """Which box this is, for messages."""
        name = f"Frame {self.frames[row]} (counted from 0), track {self.names[self.tracks[row]]}"
        if self.lines is None:
            return name
        path = self.table.files.get(int(self.frames[row]), self.table.path)
        return f"{name} ({path}, {self.table.word} {self.lines[row]})"

    def spans(self) -> NDArray[np.int64]:
        """[T, 3] first frame, last frame, and number of boxes of each track."""
        last = np.zeros(len(self.names), np.int64)
        last[self.tracks] = self.frames  # ascending: the last one stays
        _, first = np.unique(self.tracks, return_index=True)
        return np.stack([self.frames[first], last, np.bincount(self.tracks, minlength=len(self.names))], axis=1)

    def only(self, rows: Sequence[int] | NDArray[np.int64]) -> Self:
        """Some of the boxes, and the tracks that are left.

        Raises:
            DataError: there is no such row.
        """
        try:
            chosen = np.sort(np.asarray(rows, dtype=np.int64).reshape(-1))
            if (chosen < 0).any():
                raise IndexError
            lines = None if self.lines is None else self.lines[chosen]
            names = [self.names[i] for i in self.tracks[chosen]]
            return self._ordered(self.frames[chosen], names, self.corners[chosen], lines, self.table)
        except (TypeError, ValueError, IndexError, OverflowError):
            raise DataError(f"Expected rows from 0 to {len(self) - 1}, got {rows!r:.80}.") from None

    def every(self, step: int) -> Self:
        """The boxes in frames 0, step, 2·step, ..., and the tracks that are left; a warning names others.

        Raises:
            DataError: ``step`` is no whole number of at least 1.
        """
        if not isinstance(step, int | np.integer) or isinstance(step, bool) or step < 1:
            raise DataError(f"Expected every n-th frame with a whole n of at least 1, got {step!r:.80}.")
        # Beyond the last frame one step is like another, and NumPy knows no numbers without end.
        some = self.only(np.flatnonzero(self.frames % min(int(step), int(self.frames.max(initial=0)) + 1) == 0))
        if gone := set(self.names) - set(some.names):
            frames = f"frames 0, {step}, {2 * step}, ..."
            warn(f"Left out {named(gone, 'track')} without a box in {frames}")
        return some

    @classmethod
    def _ordered(
        cls,
        frames: NDArray[np.int64],
        tracks: Sequence[str],
        corners: NDArray[np.float64],
        lines: NDArray[np.int64] | None,
        table: BoxTable,
    ) -> Self:
        order = np.argsort(frames, kind="stable")
        numbers: dict[str, int] = {}
        codes = np.array([numbers.setdefault(tracks[i], len(numbers)) for i in order], dtype=np.int64)
        lines = None if lines is None else lines[order]
        return cls(frames[order], codes, corners[order], tuple(numbers), lines, table)


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

    The formats are told by their content: CSV whose first line names the columns :data:`COLUMNS` in any order, frames
    and pixels counted from 0, tracks any names (names of other tools are known too); MOTChallenge's ``frame, id, left,
    top, width, height, confidence, ...`` without a header, frames and pixels counted from 1; KITTI's, YOLO's, COCO's,
    CVAT's, and lists of JSON objects with the names of columns. ``docs/tracklets.md`` lists what each tool writes.

    Left out, with a warning, are boxes of confidence 0 (to be ignored), of other classes than a person,
    and of visibility 0, in every format. What names a track is told at
    :func:`~partreid.tracking._track_names.track_key`.

    Args:
        path: the file; of YOLO and of KITTI's images the folder of files. format: None tells it by the content.
        frames: video file or folder of images that the boxes are of, where the table names images or holds fractions
            of them.
        each: make every box a track of its own, as :func:`~partreid.tracking.detections.embed_detections` takes them,
            also where the table has no tracks. Its name is the frame (the image's name in a folder) and its number among
            the boxes that the table has in the frame, from 0: "12/0".
        form: how boxes are written, where the table says it wrongly.
        first_frame: the number of the first frame, 0 or 1; None takes the format's.
        person_classes: classes that are persons, where there is a column of classes; None takes MOTChallenge's 1, and
            those that are called a person.
        on_error: told of each box of no track or of no image, which is then left out.

    Raises:
        DataError: the file is missing or of no known format or another one, a value is no number, a frame is below the
            first, boxes belong to no track, a track is twice in a frame, or there is no box; or it is not known where
            frames are counted from, which classes are persons, which frame an image is, or the boxes are fractions of
            the frame. The message names the line.
        ConfigError: ``format``, ``form`` or ``first_frame`` is another value.
    """
    path = Path(path)
    if form not in (None, "xyxy", "xywh"):
        raise ConfigError(f"Boxes are written as xyxy or xywh, got {form!r:.80}.")
    if first_frame not in (None, 0, 1) or isinstance(first_frame, bool | float):
        raise ConfigError(f"The first frame is number 0 or 1, got {first_frame!r:.80}.")
    rows = read_rows(path, format)
    if not len(rows):
        raise DataError(f"{path} holds no box. Expected a row for each: {', '.join(COLUMNS)}, or {MOT}.")
    if not isinstance(frames, FrameFolder | None):
        frames = Path(frames)
        if frames.is_dir():
            frames = FrameFolder.open(frames, first=first_frame) if rows.images or rows.fractions else None
    return _boxes(rows, frames, form, first_frame, person_classes, on_error, each=each)


@guided
def boxes_of(
    results: Iterable[object],
    *,
    each: bool = False,
    person_classes: Collection[object] | None = None,
    on_error: Callable[[str], None] | None = None,
) -> TrackBoxes:
    """Boxes of live results, one for each frame from 0: supervision's ``Detections``, ultralytics' ``Results``, or any
    objects with such fields (``xyxy`` and ``tracker_id``; ``boxes.xyxy`` and ``boxes.id``).

    Args:
        results: in the order of the frames; a generator is read to its end, and its images are not kept.
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
        str(rows.path), None if form else rows.form, first, pixel, rows.word, files, _sizes(rows, numbers), by_image
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
            "Say it with --first-frame 0 or 1 (first_frame=)."
        )
    if lowest < first:
        raise DataError(
            f"{rows.where(rows.frames.index(lowest))}: expected the number of a frame from {first}, got "
            f"{lowest}. MOTChallenge counts from 1; a table with a header line counts from 0. Say it with "
            "--first-frame 0 (first_frame=0)."
        )
    return first


def _corners(rows: BoxRows, form: BoxForm, first_frame: int) -> tuple[NDArray[np.float64], int]:
    """[N, 4] x1, y1, x2, y2 in pixels from 0, and the number of the first pixel. MOTChallenge counts frames and pixels
    from 1; who counts frames from 0 has the pixels of a detector, and so has who writes corners, or names of images."""
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
        name = f"{rows.names[row]!r:.40} is no name of one" if rows.names[row] else "its row names none"
        message = f"{rows.where(row)}: the box belongs to no track: {name}."
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


def _check_single(boxes: TrackBoxes) -> None:
    order = np.lexsort((boxes.tracks, boxes.frames))
    pairs = np.stack([boxes.frames, boxes.tracks])[:, order]
    twice = (pairs[:, 1:] == pairs[:, :-1]).all(axis=0)
    if twice.any():
        first, second = order[int(twice.argmax()) :][:2]
        frame, track = boxes.frames[first], boxes.names[boxes.tracks[first]]
        source, lines = "", ""
        if boxes.lines is not None:
            source = f"{boxes.table.files.get(int(frame), boxes.table.path)}: "
            lines = f", in {boxes.table.word}s {boxes.lines[first]} and {boxes.lines[second]}".replace("ys ", "ies ")
        raise DataError(f"{source}track {track} has two boxes in frame {frame} (counted from 0){lines}. Keep one.")


def _array(name: str, values: object) -> NDArray[Any]:
    if np.ma.is_masked(values):
        raise DataError(f"{name}: some values are masked. Leave those boxes out.")
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} must be an array of numbers: {error}") from None
