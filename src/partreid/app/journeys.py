"""Linked persons for the page: the list of persons, their journeys, and merging and splitting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

from partreid.app.messages import Edited, Journey, MergeQuestion, Person, Persons, SplitQuestion, Step
from partreid.base_config import ConfigModel
from partreid.errors import ConfigError
from partreid.linking.edits import items_of_person, merge_persons, split_tracks
from partreid.linking.names import in_time
from partreid.linking.output import PROBABILITY
from partreid.linking.tracks import PERSON, LinkTrack
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import actor, recorded
from partreid.types import GalleryItem

MOST_PERSONS, MOST_STEPS = 1000, 500
"""Most persons in the page's list, and most tracks that it shows of one person."""

_READ_ONLY = "This page changes nothing. Start it with --edit to merge and split persons."
_NO_FILE = (
    "There is no folder for corrections, because the gallery is in memory or on a server. Start the page with "
    "--corrections FILE."
)


class Journeys:
    """Persons of a gallery. Its methods may be called from several threads.

    Args:
        gallery: that was linked. lock: held while it is used. corrections: the file of people's corrections.
        edits: whether the page may merge and split persons.
    """

    def __init__(self, gallery: Gallery, lock: Lock, *, corrections: Path | None, edits: bool) -> None:
        self._gallery, self._lock, self._file, self._edits = gallery, lock, corrections, edits

    def persons(self) -> Persons:
        """The list of persons. Those seen by most cameras come first, then those with most tracks."""
        found: dict[str, list[GalleryItem]] = {}
        unlinked = 0
        with self._lock, recorded(self._gallery, "persons") as event:
            for item in self._gallery:
                name = LinkTrack.of_item(item).person
                if name:
                    found.setdefault(name, []).append(item)
                else:
                    unlinked += 1
            event.results = len(found)
        every = [_person(name, items) for name, items in found.items()]
        every.sort(key=lambda one: (-len(one.cameras), -one.tracks, one.name))
        problem = "" if self._edits and self._file else _NO_FILE if self._edits else _READ_ONLY
        return Persons(tuple(every[:MOST_PERSONS]), len(every), unlinked, not problem, problem)

    def journey(self, name: str) -> Journey:
        """The journey of a person, in the order of time.

        Raises:
            DataError: there is no such person.
        """
        with self._lock, recorded(self._gallery, "journey", {"person": name}) as event:
            items = items_of_person(self._gallery, name)
            event.results = len(items)
        by_id = {item.id: item for item in items}
        tracks = in_time(LinkTrack.of_item(item) for item in items)
        steps = tuple(_step(track, by_id[track.id]) for track in tracks[:MOST_STEPS])
        return Journey(_person(name, items), steps)

    def merge(self, question: MergeQuestion) -> Edited:
        """Merge two persons.

        Raises:
            ConfigError: the page may change nothing. DataError: as :func:`~partreid.linking.edits.merge_persons`.
        """
        person, other = question.person, question.other
        return self._edit(
            "merge", question, lambda file: merge_persons(self._gallery, file, person, other, who=actor())
        )

    def split(self, question: SplitQuestion) -> Edited:
        """Split off tracks as another person.

        Raises:
            ConfigError: the page may change nothing. DataError: as :func:`~partreid.linking.edits.split_tracks`.
        """
        return self._edit(
            "split", question, lambda file: split_tracks(self._gallery, file, question.tracks, who=actor())
        )

    def _edit(self, action: str, question: ConfigModel, change: Callable[[Path], str]) -> Edited:
        with self._lock, recorded(self._gallery, action, question, changes=True):
            if not self._edits or self._file is None:
                raise ConfigError(_NO_FILE if self._edits else _READ_ONLY)
            return Edited(change(self._file))


def _person(name: str, items: Iterable[GalleryItem]) -> Person:
    tracks = [(LinkTrack.of_item(item), item) for item in items]
    cameras = sorted({track.camera for track, _ in tracks if track.camera is not None})
    starts, ends = ([t for one, _ in tracks if (t := getattr(one, end)) is not None] for end in ("start", "end"))
    best = max(tracks, key=lambda one: ("file" in one[1].metadata, _probability(one[1]) or 0.0, one[0].id))
    return Person(
        name=name,
        known=any(track.known for track, _ in tracks),
        tracks=len(tracks),
        cameras=tuple(cameras),
        first=min(starts).isoformat() if starts else None,
        last=max(ends).isoformat() if ends else None,
        best=best[0].id,
    )


def _step(track: LinkTrack, item: GalleryItem) -> Step:
    return Step(
        id=track.id,
        camera=track.camera,
        start=None if track.start is None else track.start.isoformat(),
        end=None if track.end is None else track.end.isoformat(),
        probability=_probability(item),
        known=track.known and bool(item.metadata.get(PERSON)),
    )


def _probability(item: GalleryItem) -> float | None:
    value = item.metadata.get(PROBABILITY)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 else None
