"""Corrections by people: two tracks are one person, or two. They are stored in a file, and every linking obeys them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from partreid.errors import DataError
from partreid.files import atomic_file, hold_work
from partreid.json_files import read_json
from partreid.linking.clocks import Clocks
from partreid.linking.tracks import LinkTracks
from partreid.objects import Guided
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.stores.memory import MemoryStore
from partreid.types.gallery import check_text
from partreid.types.moments import written_time

CORRECTIONS_FILE = "corrections.json"
"""Name of the file in a gallery's folder."""

_FORMAT, _VERSION = "partreid-corrections", 1
Result = TypeVar("Result")


@dataclass(frozen=True, repr=False)
class Correction(Guided):
    """A correction of two tracks.

    Attributes:
        first, second: their ids. same: whether they are one person.
        time: when it was made, in ISO 8601 and UTC; "" = unknown. who: its author; "" = unknown.

    Raises:
        DataError: both tracks are the same, or a value is not text.
    """

    first: str
    second: str
    same: bool
    time: str = ""
    who: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.same, bool) or not all(isinstance(word, str) for word in (self.time, self.who)):
            raise DataError(f"Expected same as true or false, time and who as texts, got {self.same!r:.80}.")
        if self.time:
            written_time(self.time, local=False)
        if check_text(self.first, "A track") == check_text(self.second, "A track"):
            raise DataError(f"Expected two tracks, got {self.first!r:.80} twice.")
        if self.first > self.second:
            first, second = self.second, self.first
            object.__setattr__(self, "first", first)
            object.__setattr__(self, "second", second)

    @property
    def pair(self) -> tuple[str, str]:
        """Both tracks, in the order of their ids."""
        return self.first, self.second

    def __str__(self) -> str:
        return f"{self.first} {'=' if self.same else '≠'} {self.second}"


@dataclass(frozen=True, repr=False)
class Corrections(Guided):
    """All corrections, at most one for each pair.

    Attributes:
        said: the corrections in the order in which they were made.

    Raises:
        DataError: they contradict each other; the message names those that do.
    """

    said: tuple[Correction, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "said", tuple({one.pair: one for one in self.said}.values()))
        group = {track: chain for chain in self.same_persons() for track in chain}
        for one in self.said:
            chain = group.get(one.first, ())
            if not one.same and one.second in chain:
                way = " and ".join(str(step) for step in self._way(one.first, one.second))
                raise DataError(f"These corrections contradict each other: {one}, but {way}. Take one of them back.")

    def __len__(self) -> int:
        return len(self.said)

    def same_persons(self) -> list[tuple[str, ...]]:
        """Groups of two or more tracks that are one person by the corrections; all in the order of ids."""
        near = self._near()
        groups, seen = [], set[str]()
        for start in sorted(near):
            if start in seen:
                continue
            chain, waiting = {start}, [start]
            while waiting:
                fresh = near[waiting.pop()] - chain
                chain |= fresh
                waiting += fresh
            seen |= chain
            groups.append(tuple(sorted(chain)))
        return groups

    def different(self) -> list[tuple[str, str]]:
        """Pairs of tracks that are two persons by the corrections."""
        return sorted(one.pair for one in self.said if not one.same)

    def with_said(
        self, same: Iterable[Sequence[str]] = (), different: Iterable[Sequence[str]] = (), *, who: str = ""
    ) -> Self:
        """These and new corrections, made now. A new correction of a pair replaces the former one.

        Raises:
            DataError: they contradict each other, or a pair is not valid.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        more = []
        for pairs, is_same in ((same, True), (different, False)):
            for pair in pairs:
                if isinstance(pair, str) or len(pair) != 2:
                    raise DataError(f"Expected pairs of tracks, got {pair!r:.80}.")
                more.append(Correction(pair[0], pair[1], is_same, now, who))
        pairs_said = [one.pair for one in more]
        if twice := {one.pair for one in more if pairs_said.count(one.pair) > 1}:
            raise DataError(f"{' and '.join(min(twice))} are corrected twice in one call. Correct them once.")
        return type(self)((*self.said, *more))

    def without(self, pairs: Iterable[Sequence[str]]) -> Self:
        """These without the corrections of some pairs.

        Raises:
            DataError: a pair has no correction.
        """
        gone = {tuple(sorted(pair)) for pair in pairs}
        if unknown := gone - {one.pair for one in self.said}:
            raise DataError(f"Nothing was said of {' and '.join(map(str, min(unknown)))}, so it cannot be taken back.")
        return type(self)(tuple(one for one in self.said if one.pair not in gone))

    def without_between(self, some: Iterable[str], others: Iterable[str], *, same: bool) -> Self:
        """These without the ones of ``some`` with ``others`` that say ``same`` (True: one person, False: two)."""
        one_side, other_side = {*some}, {*others}
        return type(self)(tuple(
            one for one in self.said
            if one.same != same or not ((one.first in one_side and one.second in other_side)
                                        or (one.second in one_side and one.first in other_side))
        ))  # fmt: skip

    def without_tracks(self, gone: Collection[str]) -> Self:
        """These without some tracks. What follows for other tracks stays: a = b and b = c without b give a = c.

        Example:
            >>> said = Corrections().with_said(same=[("a", "b"), ("b", "c")], different=[("b", "d")])
            >>> [str(one) for one in said.without_tracks({"b"}).said]
            ['a = c', 'a ≠ d']
        """
        away, made, others = {*gone}, list[Correction](), dict[str, str]()
        for chain in self.same_persons():
            rest = [track for track in chain if track not in away]
            if rest and len(rest) < len(chain):
                others |= {track: rest[0] for track in chain if track in away}
                made += [Correction(rest[0], track, True) for track in rest[1:]]
        for one in self.said:
            first, second = (others.get(track, track) for track in one.pair)
            if not (one.same or away.isdisjoint(one.pair)) and away.isdisjoint((first, second)):
                made.append(Correction(first, second, False))
        # A person's own statement comes last. It wins over derived ones, and keeps its time and name.
        return type(self)((*made, *(one for one in self.said if away.isdisjoint(one.pair))))

    def check(self, tracks: LinkTracks) -> None:
        """Check that tracks can obey: no tracks of one person were seen at the same time by one camera, or have two
        given names.

        Raises:
            DataError: some do; the message names two of them.
        """
        clocks = Clocks(tracks.tracks)
        for chain in self.same_persons():
            there = [place for track in chain if (place := tracks.position(track)) is not None]
            for k, a in enumerate(there):
                for b in there[k + 1 :]:
                    self._check_pair(tracks, clocks, a, b)

    def _check_pair(self, tracks: LinkTracks, clocks: Clocks, a: int, b: int) -> None:
        one, other = tracks.tracks[a], tracks.tracks[b]
        way = " and ".join(str(step) for step in self._way(one.id, other.id))
        if clocks.overlap(*([at] for at in (a, b)))[0]:  # type: ignore[arg-type]
            raise DataError(
                f"{way} cannot be: {one.id} and {other.id} were seen at the same time by one camera, so they are two "
                "persons. If a tracker drew two boxes around one person, delete one of the tracks."
            )
        if one.known and other.known and one.person and other.person and one.person != other.person:
            raise DataError(
                f"{way} cannot be: somebody named {one.id} {one.person!r:.80} and {other.id} {other.person!r:.80}. "
                "Change one of these names first."
            )

    def _near(self) -> dict[str, set[str]]:
        near: dict[str, set[str]] = {}
        for one in self.said:
            if one.same:
                near.setdefault(one.first, set()).add(one.second)
                near.setdefault(one.second, set()).add(one.first)
        return near

    def _way(self, start: str, end: str) -> list[Correction]:
        """The corrections that make two tracks one person, along the shortest way."""
        near, came, waiting = self._near(), {start: start}, [start]
        for track in waiting:
            for other in sorted(near.get(track, set()) - set(came)):
                came[other] = track
                waiting.append(other)
        said = {one.pair: one for one in self.said}
        way, track = [], end
        while track != start:
            way.append(said[min(track, came[track]), max(track, came[track])])
            track = came[track]
        return way[::-1]

    def save(self, path: str | Path) -> Path:
        """Write them as JSON, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        content = {"format": _FORMAT, "version": _VERSION, "said": [asdict(one) for one in self.said]}
        with atomic_file(path, error=DataError) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read them; none where there is no file.

        Raises:
            DataError: the file is damaged, of another kind, or contradicts itself.
        """
        if not Path(path).exists():
            return cls()
        content = read_json(path, error=DataError)
        try:
            if (content["format"], content["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"format {content['format']!r:.40}, version {content['version']!r:.40}")
            return cls(tuple(Correction(**one) for one in content["said"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} holds no corrections that this version can read: {error}") from None

    @classmethod
    def change(cls, path: str | Path, how: Callable[[Self], tuple[Self, Result]]) -> Result:
        """Read, change and write them, with the file locked.

        Args:
            path: the file. how: maps the corrections to those to write and to the return value of this call.

        Raises:
            DataError: as :meth:`load` and :meth:`save`, or another process is changing them.
        """
        path = Path(path)
        with hold_work(path.with_name(f".{path.name}.lock"), f"changing {path}", error=DataError):
            before = cls.load(path)
            after, result = how(before)
            if after != before:
                after.save(path)
        return result


def corrections_of(gallery: Gallery) -> Path | None:
    """The file of a gallery's corrections in its folder; None for a gallery in memory or on a server.

    Example:
        >>> corrections_of(Gallery()) is None
        True
    """
    location = gallery.store.location
    kept_elsewhere = isinstance(gallery.store, MemoryStore) or "://" in location or not Path(location).is_dir()
    return None if kept_elsewhere else Path(location) / CORRECTIONS_FILE
