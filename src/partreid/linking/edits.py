"""Merging and splitting persons by hand. The change is stored as a correction, and written to the gallery at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from partreid.errors import DataError
from partreid.linking.clocks import Clocks
from partreid.linking.corrections import Corrections
from partreid.linking.names import next_number
from partreid.linking.output import PROBABILITY, rename
from partreid.linking.tracks import PERSON, LinkTrack
from partreid.objects import guided
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.types import GalleryItem


def items_of_person(gallery: Gallery, person: str) -> list[GalleryItem]:
    """The items of a person, in the order of their ids.

    Raises:
        DataError: there is no such person.
    """
    found = [item for page in gallery.records(Filter(metadata={PERSON: (person,)})) for item in page.items]
    if not found:
        raise DataError(f"The gallery knows no person {person!r:.80}. Was it linked again meanwhile?")
    return found


@guided
def merge_persons(gallery: Gallery, file: str | Path, person: str, other: str, *, who: str = "") -> str:
    """Merge two persons of a gallery.

    Args:
        gallery: that was linked. file: of its corrections. person, other: their names. who: the author.

    Returns:
        The common name: the one that people gave, or the first one's.

    Raises:
        DataError: there is no such person; one camera saw tracks of the two at the same time; people named both; or it
            contradicts earlier corrections.
    """
    if person == other:
        raise DataError(f"Expected two persons, got {person!r:.80} twice.")
    sides = [items_of_person(gallery, name) for name in (person, other)]
    tracks = [[LinkTrack.of_item(item) for item in side] for side in sides]
    given = [name for name, side in zip((person, other), tracks, strict=True) if any(track.known for track in side)]
    if len(given) == 2:
        raise DataError(
            f"People named both, {person!r:.80} and {other!r:.80}: give their items one name first "
            "(partreid gallery add --replace --metadata person=NAME)."
        )
    _check_times(tracks[0], tracks[1])
    name = given[0] if given else person
    ids = [[item.id for item in side] for side in sides]
    pair = [max(side, key=lambda item: (_sure(item), item.id)).id for side in sides]

    def say(said: Corrections) -> tuple[Corrections, None]:
        return said.without_between(*ids, same=False).with_said(same=[pair], who=who), None

    Corrections.change(file, say)
    rename(gallery, {t.id: (name, None) for side in tracks for t in side if t.person != name and not t.known})
    return name


@guided
def split_tracks(gallery: Gallery, file: str | Path, tracks: Sequence[str], *, who: str = "") -> str:
    """Split off some tracks of a person, which become another person.

    Args:
        gallery: that was linked. file: of its corrections. tracks: ids of some, but not all, tracks of one person. who:
            the author.

    Returns:
        The name of the other person, with the next free number.

    Raises:
        DataError: they do not exist, belong to several persons, are all tracks of one, or people named them.
    """
    wanted = sorted({*tracks})
    if isinstance(tracks, str) or not wanted:
        raise DataError(f"Expected a list of tracks, got {tracks!r:.80}.")
    chosen = [LinkTrack.of_item(item) for item in gallery.get(wanted).items]
    persons = {track.person for track in chosen}
    if len(persons) != 1 or "" in persons:
        raise DataError(f"Expected tracks of one person, got tracks of {', '.join(sorted(persons)) or 'nobody'}.")
    if named := [track.id for track in chosen if track.known]:
        raise DataError(
            f"Somebody named {named[0]!r:.80} {chosen[0].person!r:.80}: change that name in the gallery instead."
        )
    rest = [item.id for item in items_of_person(gallery, chosen[0].person) if item.id not in {*wanted}]
    if not rest:
        raise DataError(f"These are all tracks of {chosen[0].person!r:.80}: there is nothing to split off.")
    names = {LinkTrack.of_item(item).person for page in gallery.records() for item in page.items}
    name = f"p{next_number(names)}"

    def say(said: Corrections) -> tuple[Corrections, None]:
        free = said.without_between(wanted, rest, same=True)
        together = [(wanted[0], other) for other in wanted[1:]]
        return free.with_said(same=together, different=[(a, b) for a in wanted for b in rest], who=who), None

    Corrections.change(file, say)
    rename(gallery, dict.fromkeys(wanted, (name, None)))
    return name


def _sure(item: GalleryItem) -> float:
    value = item.metadata.get(PROBABILITY)
    return float(value) if isinstance(value, int | float) else 0.0


def _check_times(some: Collection[LinkTrack], others: Collection[LinkTrack]) -> None:
    every = [*some, *others]
    at_once = Clocks(every).overlap(np.arange(len(some))[:, None], np.arange(len(some), len(every))[None])
    if at_once.any():
        a, b = (int(i) for i in np.argwhere(at_once)[0])
        raise DataError(
            f"They cannot be one person: {every[a].id} and {every[len(some) + b].id} were seen at the same time by one "
            "camera."
        )
