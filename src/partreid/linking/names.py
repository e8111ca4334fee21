"""The names of persons: given by people, kept from a former linking, or with the next free number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from partreid.linking.tracks import LinkTrack, LinkTracks

_NUMBERED = re.compile(r"p([1-9][0-9]{0,17})")


def in_time(tracks: Iterable[LinkTrack]) -> list[LinkTrack]:
    """Sort key of tracks: by time (without a time last), then by video, its clock, and id."""
    return sorted(
        tracks, key=lambda t: (t.start is None, t.start.timestamp() if t.start else 0.0, t.video, t.first or 0.0, t.id)
    )


def next_number(names: Iterable[str]) -> int:
    """The first number beyond those of all names p1, p2, ...

    Example:
        >>> next_number(["p1", "anna", "p7"]), next_number([])
        (8, 1)
    """
    return 1 + max((int(found[1]) for name in names if (found := _NUMBERED.fullmatch(name))), default=0)


def names_of(tracks: LinkTracks, label: NDArray[np.int64], *, only_known: bool = False) -> list[str]:
    """The name of each track's person.

    Args:
        tracks: N of them. label: [N] equal for the tracks of one person.
        only_known: whether persons without a given name get none.

    Returns:
        N names. A name that somebody gave stays; a name of a former linking goes to the person with most of its tracks;
        all others get the next number beyond those of all names.
    """
    called: dict[int, str] = {}
    former: Counter[tuple[int, str]] = Counter()
    for track, person in zip(tracks.tracks, label.tolist(), strict=True):
        if track.person and track.known:
            called[person] = track.person
        elif track.person:
            former[person, track.person] += 1
    used = set(called.values())
    if only_known:
        return [called.get(person, "") for person in label.tolist()]
    for (person, name), _ in sorted(former.items(), key=lambda one: (-one[1], _order(one[0][1]), one[0][0])):
        if person not in called and name not in used:
            called[person] = name
            used.add(name)
    number = next_number({*tracks.taken, *(track.person for track in tracks.tracks)})
    places = {track.id: person for track, person in zip(tracks.tracks, label.tolist(), strict=True)}
    for track in in_time(tracks.tracks):
        if places[track.id] not in called:
            called[places[track.id]] = f"p{number}"
            number += 1
    return [called[person] for person in label.tolist()]


def person_numbers(persons: Iterable[str]) -> dict[str, int]:
    """A whole number for each name, from 1: p7 has 7; other names have those beyond, in the order of the names.

    Example:
        >>> person_numbers(["p2", "anna", ""])
        {'p2': 2, 'anna': 3}
    """
    names = sorted({*persons} - {""}, key=_order)
    free, found = next_number(names), {}
    for name in names:
        numbered = _NUMBERED.fullmatch(name)
        found[name] = int(numbered[1]) if numbered else free
        free += not numbered
    return found


def _order(name: str) -> tuple[bool, int, str]:
    """p2 before p10 before anna."""
    numbered = _NUMBERED.fullmatch(name)
    return not numbered, int(numbered[1]) if numbered else 0, name
