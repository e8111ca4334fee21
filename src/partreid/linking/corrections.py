"""What people said of tracks: these two are one person, these two are not. Kept in a file, obeyed by every linking."""

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
    """What somebody said of two tracks.

    Attributes:
        first, second: their ids. same: whether they are one person.
        time: when it was said, as ISO 8601 writes it in UTC; "" = unknown. who: said it; "" = unknown.

    Raises:
        DataError: it is one track twice, or no text.
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
    """All that was said, one correction for a pair.

    Attributes:
        said: in the order in which it was said.

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
        """Tracks that are one person by what was said, two or more each; tracks and groups in the order of ids."""
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
        """Pairs of tracks that are two persons by what was said."""
        return sorted(one.pair for one in self.said if not one.same)

    def with_said(
        self, same: Iterable[Sequence[str]] = (), different: Iterable[Sequence[str]] = (), *, who: str = ""
    ) -> Self:
        """These and more, said now. What is said of a pair replaces what was said of it before.

        Raises:
            DataError: they contradict each other, or a pair is none.
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
            raise DataError(f"{' and '.join(min(twice))} are corrected twice in one call. Say it once.")
        return type(self)((*self.said, *more))

    def without(self, pairs: Iterable[Sequence[str]]) -> Self:
        """These, but what was said of some pairs.

        Raises:
            DataError: nothing was said of one.
        """
        gone = {tuple(sorted(pair)) for pair in pairs}
        if unknown := gone - {one.pair for one in self.said}:
            raise DataError(f"Nothing was said of {' and '.join(map(str, min(unknown)))}, so it cannot be taken back.")
        return type(self)(tuple(one for one in self.said if one.pair not in gone))

    def without_between(self, some: Iterable[str], others: Iterable[str], *, same: bool) -> Self:
        """These, but what was said of pairs of a track of ``some`` and one of ``others``: ``same``, or not the same."""
        one_side, other_side = {*some}, {*others}
        return type(self)(tuple(
            one for one in self.said
            if one.same != same or not ((one.first in one_side and one.second in other_side)
                                        or (one.second in one_side and one.first in other_side))
        ))  # fmt: skip

    def without_tracks(self, gone: Collection[str]) -> Self:
        """These without a word of some tracks. What was said of others by way of them stays: of a = b and b = c,
        without b, a = c.

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
        # What somebody said in these words comes last, and counts, with its time and name.
        return type(self)((*made, *(one for one in self.said if away.isdisjoint(one.pair))))

    def check(self, tracks: LinkTracks) -> None:
        """Whether tracks can obey: none that are to be one person were seen at once, or have two given names.

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
            raise DataError(f"{path} holds no corrections as this version writes them: {error}") from None

    @classmethod
    def change(cls, path: str | Path, how: Callable[[Self], tuple[Self, Result]]) -> Result:
        """Read them, change them, and write them; nobody else does meanwhile.

        Args:
            path: the file. how: takes what was said, and gives what is to be written and what this call returns.

        Raises:
            DataError: as :meth:`load` and :meth:`save`, or another process changes them just now.
        """
        path = Path(path)
        with hold_work(path.with_name(f".{path.name}.lock"), f"changing {path}", error=DataError):
            before = cls.load(path)
            after, result = how(before)
            if after != before:
                after.save(path)
        return result


def corrections_of(gallery: Gallery) -> Path | None:
    """Where the corrections of a gallery are kept: in its folder; None for one in memory or on a server.

    Example:
        >>> corrections_of(Gallery()) is None
        True
    """
    location = gallery.store.location
    kept_elsewhere = isinstance(gallery.store, MemoryStore) or "://" in location or not Path(location).is_dir()
    return None if kept_elsewhere else Path(location) / CORRECTIONS_FILE
