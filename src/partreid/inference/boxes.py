"""Boxes of tracked persons from a table: CSV with a header, or the text files of MOTChallenge and most trackers."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError

COLUMNS = ("frame", "track", "x1", "y1", "x2", "y2")
"""Columns of a CSV file; others are ignored."""

_MOT = "frame, id, left, top, width, height[, confidence, ...]"
_NO_TRACK = -1  # a detection that belongs to no track


@dataclass(frozen=True, eq=False)
class TrackBoxes:
    """Boxes in the order of their frames.

    Attributes:
        frames: [N] numbers of frames, from 0, ascending. tracks: [N] positions in ``names``.
        corners: [N, 4] x1, y1, x2, y2 in pixels, as :func:`~partreid.inference.video.crop_boxes` takes them.
        names: the T tracks, in the order of their first boxes.
    """

    frames: NDArray[np.int64]
    tracks: NDArray[np.int64]
    corners: NDArray[np.float64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def rows(self, frame: int) -> range:
        """Rows of the boxes in a frame."""
        first, end = np.searchsorted(self.frames, [frame, frame + 1])
        return range(int(first), int(end))

    def spans(self) -> NDArray[np.int64]:
        """[T, 3] first frame, last frame, and number of boxes of each track."""
        last = np.zeros(len(self.names), np.int64)
        last[self.tracks] = self.frames  # ascending: the last one stays
        _, first = np.unique(self.tracks, return_index=True)
        return np.stack([self.frames[first], last, np.bincount(self.tracks, minlength=len(self.names))], axis=1)

    def every(self, step: int) -> Self:
        """The boxes in frames 0, step, 2·step, ..., and the tracks that are left.

        Raises:
            DataError: ``step`` is no whole number of at least 1.
        """
        if not isinstance(step, int | np.integer) or step < 1:
            raise DataError(f"Expected every n-th frame with a whole n of at least 1, got {step!r:.80}.")
        kept = self.frames % step == 0
        return self._ordered(self.frames[kept], [self.names[i] for i in self.tracks[kept]], self.corners[kept])

    @classmethod
    def _ordered(cls, frames: NDArray[np.int64], tracks: Sequence[str], corners: NDArray[np.float64]) -> Self:
        order = np.argsort(frames, kind="stable")
        numbers: dict[str, int] = {}
        codes = np.array([numbers.setdefault(tracks[i], len(numbers)) for i in order], dtype=np.int64)
        return cls(frames[order], codes, corners[order], tuple(numbers))


def read_boxes(path: str | Path) -> TrackBoxes:
    """Read boxes of tracks.

    Two formats: CSV whose first line names the columns :data:`COLUMNS` in any order, frames and pixels counted from 0,
    tracks any names; or MOTChallenge's ``frame, id, left, top, width, height, confidence, ...`` without a header,
    frames and pixels counted from 1. There a confidence of 0 marks boxes to be ignored, which are left out.

    Raises:
        DataError: the file is missing or of neither format, a value is no number, a frame is below the first, boxes
            belong to no track, a track is twice in a frame, or there is no box. The message tells the line.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")
    frames, corners, tracks = array("q"), array("d"), list[str]()
    known: dict[str, str] = {}
    for frame, track, box in _rows(path):
        frames.append(frame)
        tracks.append(known.setdefault(track, track))  # one string per track, not per box
        corners.extend(box)
    if not tracks:
        raise DataError(f"{path} holds no box. Expected a row for each: {', '.join(COLUMNS)}, or {_MOT}.")
    boxes = TrackBoxes._ordered(np.array(frames), tracks, np.array(corners).reshape(-1, 4))
    _check_single(path, boxes)
    return boxes


def _check_single(path: Path, boxes: TrackBoxes) -> None:
    order = np.lexsort((boxes.tracks, boxes.frames))
    pairs = np.stack([boxes.frames, boxes.tracks])[:, order]
    twice = (pairs[:, 1:] == pairs[:, :-1]).all(axis=0)
    if twice.any():
        frame, track = pairs[:, int(twice.argmax())]
        raise DataError(
            f"{path}: track {boxes.names[track]} has two boxes in frame {frame} (counted from 0). Keep one."
        )


Row = tuple[int, str, tuple[float, float, float, float]]
"""(frame, track, corners)."""


def _rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            first = next(lines, [])
            header = [cell.strip().lower() for cell in first]
            if set(COLUMNS) <= set(header):
                yield from _named(path, lines, [header.index(name) for name in COLUMNS])
            elif len(first) >= len(COLUMNS) and all(_is_number(cell) for cell in first[: len(COLUMNS)]):
                file.seek(0)
                yield from _mot(path, csv.reader(file, strict=True))
            else:
                found = ", ".join(first) or "an empty line"
                raise DataError(
                    f"{path}: expected a first line that names {', '.join(COLUMNS)}, or rows of MOTChallenge ({_MOT}); "
                    f"found {found[:80]}."
                )
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}. Save it anew.") from None


def _named(path: Path, lines: Iterator[list[str]], columns: list[int]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        where = f"{path}, line {number}"
        if len(line) <= max(columns):
            raise DataError(f"{where}: expected {max(columns) + 1} values or more, got {len(line)}.")
        frame, track, *box = (line[i].strip() for i in columns)
        if not track:
            raise DataError(f"{where}: the track has no name. Name it, or leave the row out.")
        x1, y1, x2, y2 = (_number(value, where) for value in box)
        yield _frame(frame, where, first=0), track, (x1, y1, x2, y2)


def _mot(path: Path, lines: Iterator[list[str]]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        where = f"{path}, line {number}"
        if len(line) < len(COLUMNS):
            raise DataError(f"{where}: expected {_MOT}, got {len(line)} values.")
        if len(line) > len(COLUMNS) and _number(line[6], where) == 0:
            continue
        frame, number_of_track = _frame(line[0], where, first=1) - 1, _number(line[1], where)
        if number_of_track == _NO_TRACK:
            raise DataError(f"{where}: the box belongs to no track (id -1). Run a tracker on the detections first.")
        track = f"{number_of_track:.0f}" if number_of_track.is_integer() else line[1].strip()  # "3.0" is 3
        left, top, width, height = (_number(value, where) for value in line[2:6])
        yield frame, track, (left - 1, top - 1, left - 1 + width, top - 1 + height)


def _frame(text: str, where: str, *, first: int) -> int:
    value = _number(text, where)
    if not value.is_integer() or not first <= value < 2**53:
        raise DataError(
            f"{where}: expected the number of a frame from {first}, got {text}. MOTChallenge counts from 1; a table "
            "with a header line counts from 0."
        )
    return int(value)


def _number(text: str, where: str) -> float:
    if not _is_number(text):
        raise DataError(f"{where}: expected a finite number, got {text.strip()[:40]!r}.")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
