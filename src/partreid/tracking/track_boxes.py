"""Boxes in the order of their frames, and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, warn
from partreid.objects import Guided
from partreid.tracking._box_choice import named
from partreid.tracking._box_rows import BoxForm
from partreid.tracking._track_names import track_key
from partreid.tracking.frame_folder import FrameFolder


@dataclass(frozen=True, repr=False)
class BoxTable(Guided):
    """The table of boxes.

    Attributes:
        path: its file. form: how it writes a box; None if the user said how.
        first_frame: number of the first frame. first_pixel: number of the first pixel, 0 or 1.
        word: the unit of ``TrackBoxes.lines``. files: for a folder of files, the file of each frame.
        sizes: (width, height) of frames, if the table gives it. folder: of the images with which it was read.
        by_image: whether it names these images, which may be of several videos and sizes.
        each: whether every box is its own track.
    """

    path: str = ""
    form: BoxForm | None = "xyxy"
    first_frame: int = 0
    first_pixel: int = 0
    word: str = "line"
    files: Mapping[int, str] = field(default_factory=dict)
    sizes: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    folder: FrameFolder | None = None
    by_image: bool = False
    each: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class TrackBoxes(Guided):
    """Boxes in the order of their frames.

    Attributes:
        frames: [N] numbers of frames, from 0, ascending. tracks: [N] positions in ``names``.
        corners: [N, 4] x1, y1, x2, y2 in pixels, as :func:`~partreid.inference.crops.crop_boxes` takes them.
        names: the T tracks, in the order of their first boxes.
        lines: [N] the line of each box in its table; None without a table. table: that table.

    Raises:
        DataError: the arrays do not fit together, frames do not ascend, a track is twice in a frame or has no box, or a
            name occurs twice or is not valid (:func:`~partreid.tracking._track_names.track_key`).
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
        """The place of a box, for messages."""
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
        """Some of the boxes, with their tracks.

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
        """The boxes in frames 0, step, 2·step, ..., with their tracks. A warning names tracks without such a box.

        Raises:
            DataError: ``step`` is not a whole number of at least 1.
        """
        if not isinstance(step, int | np.integer) or isinstance(step, bool) or step < 1:
            raise DataError(f"Expected every n-th frame with a whole n of at least 1, got {step!r:.80}.")
        # Beyond the last frame one step is like another, and NumPy knows no numbers without end.
        some = self.only(np.flatnonzero(self.frames % min(int(step), int(self.frames.max(initial=0)) + 1) == 0))
        if (gone := set(self.names) - set(some.names)) and not self.table.each:
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
