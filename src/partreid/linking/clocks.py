"""Finding tracks that cannot show one person: one camera saw them at the same time, or another camera too soon or too
late.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, DataError
from partreid.linking.tracks import LinkTrack
from partreid.objects import Guided
from partreid.types.gallery import as_text

_COLUMNS = ("from", "to", "least", "most")


@dataclass(frozen=True, repr=False)
class TravelTime(Guided):
    """The time that a person needs from the view of one camera to that of another.

    It also holds for the way back, unless that has its own rule.

    Attributes:
        origin, target: cameras. least, most: seconds; ``most`` is infinite without a limit.

    Raises:
        ConfigError: not two cameras, or not 0 <= least <= most.

    Example:
        >>> TravelTime.parse("hall, yard, 20, 90").most
        90.0
    """

    origin: str
    target: str
    least: float = 0.0
    most: float = math.inf

    def __post_init__(self) -> None:
        try:
            for name in ("origin", "target"):
                object.__setattr__(self, name, as_text(getattr(self, name), "A camera"))
            for name in ("least", "most"):
                object.__setattr__(self, name, float(getattr(self, name)))
        except (DataError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"A travel time is FROM,TO,LEAST,MOST with seconds: {error}") from None
        if self.origin == self.target or not 0 <= self.least <= self.most or math.isinf(self.least):
            raise ConfigError(
                f"Expected two cameras and 0 <= least <= most seconds, got {self.origin!r:.80}, {self.target!r:.80}, "
                f"{self.least:g}, {self.most:g}."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """``FROM,TO,LEAST`` or ``FROM,TO,LEAST,MOST``.

        Raises:
            ConfigError: it is something else.
        """
        words = [word.strip() for word in str(text).split(",")]
        if len(words) not in (3, 4):
            raise ConfigError(f"Expected FROM,TO,LEAST,MOST: two cameras and seconds, got {text!r:.80}.")
        return cls(*words)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: str | Path) -> list[Self]:
        """All of a CSV table with the columns from, to, least, most; an empty ``most`` is no limit.

        Raises:
            DataError: it cannot be read. ConfigError: a line is no travel time; the message says which.
        """
        try:
            with Path(path).open(newline="", encoding="utf-8-sig") as file:
                table = csv.DictReader(file)
                if set(table.fieldnames or ()) != set(_COLUMNS):
                    raise DataError(f"{path}: expected the columns {', '.join(_COLUMNS)}, got {table.fieldnames}.")
                rows = list(table)
        except (OSError, ValueError, csv.Error) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} cannot be read: {error}.") from None
        found = []
        for line, row in enumerate(rows, start=2):
            try:
                found.append(cls(row["from"], row["to"], row["least"], row["most"] or math.inf))  # type: ignore[arg-type]
            except (ConfigError, TypeError) as error:
                raise ConfigError(f"{path}, line {line}: {error}") from None
        return found


class Clocks:
    """Where and when N tracks were seen, as numbers.

    Args:
        tracks: N of them. travel: between cameras. different: pairs of positions that people declared to be two
            persons.

    Raises:
        ConfigError: two travel times for one way.
    """

    def __init__(
        self, tracks: Sequence[LinkTrack], travel: Iterable[TravelTime] = (), different: Iterable[tuple[int, int]] = ()
    ) -> None:
        self.camera = _codes([track.camera for track in tracks])
        self.video = _codes([track.video or None for track in tracks])
        self._known = _codes([track.person if track.known and track.person else None for track in tracks])
        self._first = _numbers(track.first for track in tracks)
        self._last = _numbers(track.last for track in tracks)
        times = ((track.start, track.end) for track in tracks)
        spans = [(None, None) if a is None or b is None else (a.timestamp(), b.timestamp()) for a, b in times]
        self._start, self._end = (_numbers(span[i] for span in spans) for i in (0, 1))
        self._different = np.array(sorted({(a, b) for pair in different for a, b in (pair, pair[::-1])}), np.int64)
        self._least, self._most = _ways(tracks, travel)

    def one_camera(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether one camera, or one video, saw both. ``i`` and ``j`` are positions of equal shape."""
        place = (self.camera[i] == self.camera[j]) & (self.camera[i] >= 0)
        found: NDArray[np.bool_] = place | ((self.video[i] == self.video[j]) & (self.video[i] >= 0))
        return found

    def overlap(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether one camera saw two tracks at the same time. ``i`` and ``j`` are positions of equal shape.

        Tracks of one video are compared on its clock, where one common frame is enough. Tracks of two videos are
        compared by their times, which must really overlap, because clocks are not set to the frame.
        """
        film = (self.video[i] == self.video[j]) & (self.video[i] >= 0)
        at_once = (self._first[i] <= self._last[j]) & (self._first[j] <= self._last[i])  # NaN: never
        place = (self.camera[i] == self.camera[j]) & (self.camera[i] >= 0)
        truly = (self._start[i] < self._end[j]) & (self._start[j] < self._end[i])
        timed = ~np.isnan(self._first[i]) & ~np.isnan(self._first[j])
        found: NDArray[np.bool_] = (film & at_once) | (place & truly & ~(film & timed))
        return found

    def impossible(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether clocks, travel times, or given names exclude that two tracks show one person."""
        two_names = (self._known[i] != self._known[j]) & (self._known[i] >= 0) & (self._known[j] >= 0)
        found: NDArray[np.bool_] = self.overlap(i, j) | two_names
        if self._least is not None and self._most is not None:
            for a, b in ((i, j), (j, i)):  # one before the other; tracks that overlap are 0 seconds apart
                gap = np.maximum(self._start[b] - self._end[a], 0)
                before = self._start[a] <= self._start[b]
                least, most = self._least[self.camera[a], self.camera[b]], self._most[self.camera[a], self.camera[b]]
                found |= before & ((gap < least) | (gap > most))
        return found

    def apart(self, some: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
        """[len(some), count] bool: :meth:`impossible` for some tracks and the first ``count``, with corrections."""
        found = self.impossible(some[:, None], np.arange(count)[None])
        if len(self._different):
            row = {int(position): k for k, position in enumerate(some)}
            for a, b in self._different:
                if int(a) in row and b < count:
                    found[row[int(a)], b] = True
        return found


def _ways(
    tracks: Sequence[LinkTrack], travel: Iterable[TravelTime]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """[C + 1, C + 1] least and most seconds by camera; the last row and column are of unknown ones. None without any
    rule."""
    cameras = {name: code for code, name in enumerate(sorted({t.camera for t in tracks if t.camera is not None}))}
    rules: dict[tuple[str, str], TravelTime] = {}
    for one in travel:
        if not isinstance(one, TravelTime):
            raise ConfigError(f"Expected a TravelTime, got {one!r:.80}. Write TravelTime(origin, target, least, most).")
        if (one.origin, one.target) in rules:
            raise ConfigError(f"The way from {one.origin!r:.80} to {one.target!r:.80} has two travel times. Give one.")
        rules[one.origin, one.target] = one
    if not rules:
        return None, None
    least = np.zeros((len(cameras) + 1, len(cameras) + 1))
    most = np.full_like(least, np.inf)
    for (origin, target), one in rules.items():
        ways = [(origin, target)] + ([] if (target, origin) in rules else [(target, origin)])
        for a, b in ways:
            if a in cameras and b in cameras:
                least[cameras[a], cameras[b]], most[cameras[a], cameras[b]] = one.least, one.most
    return least, most


def _codes(names: Sequence[Any]) -> NDArray[np.int64]:
    """[N] a number for each name, -1 where there is none."""
    known = {name: code for code, name in enumerate(sorted({name for name in names if name is not None}))}
    return np.array([-1 if name is None else known[name] for name in names], np.int64)


def _numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
