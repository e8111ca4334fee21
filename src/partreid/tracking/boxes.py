"""Boxes of tracked persons from a table: CSV with a header, or the text files of MOTChallenge and most trackers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, DataError, warn
from partreid.objects import Guided, guided
from partreid.tracking._box_choice import chosen_rows, named
from partreid.tracking._box_rows import COLUMNS, MOT, BoxForm, BoxRows, read_rows
from partreid.tracking._box_units import check_fractions
from partreid.tracking._track_names import track_key

__all__ = ["COLUMNS", "BoxForm", "BoxTable", "TrackBoxes", "read_boxes"]


@dataclass(frozen=True, repr=False)
class BoxTable(Guided):
    """The table that boxes come from.

    Attributes:
        path: its file. form: how it writes a box, None where the user said how.
        first_frame: the number that it gives the first frame. first_pixel: and the first pixel, 0 or 1.
    """

    path: str = ""
    form: BoxForm | None = "xyxy"
    first_frame: int = 0
    first_pixel: int = 0


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
        return name if self.lines is None else f"{name} ({self.table.path}, line {self.lines[row]})"

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
    form: BoxForm | None = None,
    first_frame: int | None = None,
    person_classes: Collection[object] | None = None,
    on_error: Callable[[str], None] | None = None,
) -> TrackBoxes:
    """Read boxes of tracks.

    Two formats: CSV whose first line names the columns :data:`COLUMNS` in any order, frames and pixels counted from 0,
    tracks any names; or MOTChallenge's ``frame, id, left, top, width, height, confidence, ...`` without a header,
    frames and pixels counted from 1. Commas, semicolons, tabs or spaces stand between the values. Names of other tools
    are known too (``frame_index, tracker_id, x_min, ...``; ``frame, id, bb_left, ...``).

    Left out, with a warning, are boxes of confidence 0 (to be ignored), of other classes than a person,
    and of visibility 0, in either format. What names a track is told at
    :func:`~partreid.tracking._track_names.track_key`.

    Args:
        path: the file. form: how boxes are written, where the table says it wrongly.
        first_frame: the number of the first frame, 0 or 1; None takes the format's.
        person_classes: classes that are persons, where there is a column of classes; None takes MOTChallenge's 1, and
            those that are called a person.
        on_error: told of each box of no track, which is then left out.

    Raises:
        DataError: the file is missing or of neither format, a value is no number, a frame is below the first, boxes
            belong to no track, a track is twice in a frame, or there is no box; or it is not known where frames are
            counted from, which classes are persons, or the boxes are fractions of the frame. The message names
            the line.
        ConfigError: ``form`` or ``first_frame`` is another value.
    """
    path = Path(path)
    if form not in (None, "xyxy", "xywh"):
        raise ConfigError(f"Boxes are written as xyxy or xywh, got {form!r:.80}.")
    if first_frame not in (None, 0, 1) or isinstance(first_frame, bool | float):
        raise ConfigError(f"The first frame is number 0 or 1, got {first_frame!r:.80}.")
    rows = read_rows(path)
    if not rows.lines:
        raise DataError(f"{path} holds no box. Expected a row for each: {', '.join(COLUMNS)}, or {MOT}.")
    kept, notes = chosen_rows(path, rows, person_classes)
    first = _first_frame(path, rows, first_frame)
    if rows.columns.note:
        notes.insert(0, f"{rows.columns.note}; frames are counted from {first}")
    used = _with_track(path, rows, np.flatnonzero(kept), on_error)
    corners, pixel = _corners(rows, form or rows.columns.form, first)
    table = BoxTable(str(path), None if form else rows.columns.form, first, pixel)
    frames, lines = np.array(rows.frames)[used] - first, np.array(rows.lines)[used]
    boxes = TrackBoxes._ordered(frames, [str(rows.tracks[i]) for i in used], corners[used], lines, table)
    check_fractions(boxes)
    for note in notes:
        warn(f"{note}.")
    return boxes


def _first_frame(path: Path, rows: BoxRows, given: int | None) -> int:
    lowest = min(rows.frames)
    first = rows.columns.first_frame if given is None else given
    if first is None and lowest == 0:
        return 0
    if first is None:
        raise DataError(
            f"{rows.columns.note}; whether frames are counted from 0 or from 1 is not known: the lowest is {lowest}. "
            "Say it with --first-frame 0 or 1 (first_frame=)."
        )
    if lowest < first:
        raise DataError(
            f"{path}, line {rows.lines[rows.frames.index(lowest)]}: expected the number of a frame from {first}, got "
            f"{lowest}. MOTChallenge counts from 1; a table with a header line counts from 0. Say it with "
            "--first-frame 0 (first_frame=0)."
        )
    return first


def _corners(rows: BoxRows, form: BoxForm, first_frame: int) -> tuple[NDArray[np.float64], int]:
    """[N, 4] x1, y1, x2, y2 in pixels from 0, and the number of the first pixel. MOTChallenge counts frames and pixels
    from 1; who counts frames from 0 has the pixels of a detector, and so has who writes corners."""
    pixel = first_frame if rows.columns.form == "xywh" else 0
    boxes = np.array(rows.boxes).reshape(-1, 4)
    boxes[:, :2] -= pixel
    boxes[:, 2:] += boxes[:, :2] if form == "xywh" else -pixel
    return boxes, pixel


def _with_track(
    path: Path, rows: BoxRows, chosen: NDArray[np.int64], on_error: Callable[[str], None] | None
) -> list[int]:
    """The rows that name a track."""
    used = []
    for row in chosen.tolist():
        if rows.tracks[row] is not None:
            used.append(row)
            continue
        message = (
            f"{path}, line {rows.lines[row]}: the box belongs to no track: {rows.names[row]!r:.40} is no name of one."
        )
        if on_error is None:
            raise DataError(
                f"{message} Run a tracker on the detections, or leave such boxes out: --skip-damaged (on_error=)."
            )
        on_error(message)
    if not used:
        raise DataError(f"{path} holds no box of a track. Run a tracker on the detections first.")
    return used


def _check_single(boxes: TrackBoxes) -> None:
    order = np.lexsort((boxes.tracks, boxes.frames))
    pairs = np.stack([boxes.frames, boxes.tracks])[:, order]
    twice = (pairs[:, 1:] == pairs[:, :-1]).all(axis=0)
    if twice.any():
        first, second = order[int(twice.argmax()) :][:2]
        frame, track = boxes.frames[first], boxes.names[boxes.tracks[first]]
        source, lines = "", ""
        if boxes.lines is not None:
            source = f"{boxes.table.path}: "
            lines = f", in lines {boxes.lines[first]} and {boxes.lines[second]}"
        raise DataError(f"{source}track {track} has two boxes in frame {frame} (counted from 0){lines}. Keep one.")


def _array(name: str, values: object) -> NDArray[Any]:
    if np.ma.is_masked(values):
        raise DataError(f"{name}: some values are masked. Leave those boxes out.")
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} must be an array of numbers: {error}") from None
