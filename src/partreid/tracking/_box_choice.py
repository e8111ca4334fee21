"""Which rows of a table of boxes show a person of a track, and what is said of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.tracking._box_rows import BoxRows
from partreid.tracking._track_names import track_key

_PERSON = "1"  # of MOTChallenge's classes; 2 to 13 are vehicles, occluders, reflections and the like
_PERSONS = frozenset(("person", "persons", "people", "pedestrian", "pedestrians", "human", "person_sitting"))
_LABELS = "labels.txt"  # CVAT writes the classes' names beside gt.txt, a line for each

_SHOWN = 5


def chosen_rows(
    path: Path, rows: BoxRows, person_classes: Collection[object] | None
) -> tuple[NDArray[np.bool_], list[str]]:
    """[N] which rows count, and a sentence for everything that was left out or assumed.

    These boxes are left out: of confidence 0, which in MOTChallenge means "ignore"; marked as a group or to be ignored;
    of another class than a person; and of visibility 0, because they do not show the person of the track. If every
    confidence is 0, the column is not used. If ``person_classes`` is None, persons are class 1 in MOTChallenge's text,
    and classes whose name means a person.
    """
    kinds, notes = _classes(path, rows, person_classes)
    persons, more = _persons(path, rows, kinds, person_classes)
    notes += more
    confidences, visible = np.array(rows.confidences), np.array(rows.visible)
    ignored = confidences == 0
    if ignored.all() and len(ignored):
        notes.append(
            f"{path}: every confidence is 0, so the column is not used; if only some were 0, 0 would mean ignore"
        )
        ignored[:] = False
    groups = np.zeros(len(rows), dtype=np.bool_)
    groups[sorted(rows.ignored)] = True
    ignored &= ~groups
    others = ~np.isin(kinds, ["", *persons]) & ~ignored & ~groups
    hidden = (visible == 0) & ~ignored & ~groups & ~others
    kept = ~(ignored | groups | others | hidden)
    reasons = [
        _count(groups, "of a group, or marked to be ignored"),
        _count(ignored, "of confidence 0 (to be ignored)"),
        _count(others, f"of other classes than a person ({_tally(kinds[others])}; persons: {_list(sorted(persons))})"),
        _count(hidden, "of visibility 0 (the person is hidden)"),
    ]
    reasons = [reason for reason in reasons if reason]
    if not kept.any() and len(kept):
        raise DataError(
            f"{path} holds no box that shows a person: {', '.join(reasons)}. If one of the classes is a person, say so "
            "with --person-class (person_classes=)."
        )
    if reasons:
        gone = _tracks(rows, ~kept) - _tracks(rows, kept)
        lost = f"; no box is left of {named(gone, 'track')}" if gone else ""
        notes.append(f"{path}: left out {', '.join(reasons)}{lost}")
    return kept, notes


def _tracks(rows: BoxRows, which: NDArray[np.bool_]) -> set[str]:
    return {str(rows.tracks[i]) for i in np.flatnonzero(which) if rows.tracks[i] is not None}


def named(names: Iterable[str], what: str) -> str:
    """How many, and some of them: "7 tracks (1, 2, 3, 4, 5 and 2 more)"."""
    ordered = sorted(names, key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name))
    return f"{len(ordered)} {what}{'s' * (len(ordered) != 1)} ({_list(ordered)})"


def _list(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(list(names)[:_SHOWN]) + more


def _count(which: NDArray[np.bool_], what: str) -> str:
    count = int(which.sum())
    return f"{count} box{'es' * (count != 1)} {what}" if count else ""


def _tally(kinds: NDArray[np.str_]) -> str:
    return _list([f"{kind}: {count}" for kind, count in Counter(kinds.tolist()).most_common()])


def _classes(path: Path, rows: BoxRows, given: Collection[object] | None) -> tuple[NDArray[np.str_], list[str]]:
    """[N] the class of each row, "" where it is not known. Long rows of MOTChallenge's text have it, or x in the world,
    in the eighth column."""
    kinds, world = np.array(rows.kinds, dtype=np.str_), np.array(rows.world, dtype=np.str_)
    said = world != ""
    if not said.any():
        return kinds, []
    if given is not None:
        note = "in rows of 10 columns or more the eighth is taken for the class, and the columns after it are not used"
        return np.where(said, world, kinds), [f"{path}: {note}"]
    if all(text.isdecimal() for text in world[said]) and (world[said] != "0").any():
        raise DataError(
            f"{rows.where(int(said.argmax()))}: expected -1 in the eighth of 10 columns or more, or a "
            f"position in the world, got {world[said][0]}, which looks like a class. Say which classes are persons "
            "with --person-class (person_classes=), or write -1 there."
        )
    return kinds, [f"{path}: columns 8 to 10 are taken for positions in the world, and are not used"]


def _persons(
    path: Path, rows: BoxRows, kinds: NDArray[np.str_], given: Collection[object] | None
) -> tuple[set[str], list[str]]:
    """The classes that are persons, and what is to be said of that."""
    present = sorted(set(kinds.tolist()) - {""})
    if given is not None and not present:
        raise DataError(f"{path} has no column of classes, so --person-class (person_classes=) changes nothing.")
    if given is not None:
        several = given if isinstance(given, Collection) and not isinstance(given, str) else [given]
        persons = {str(track_key(kind)) for kind in several}
        unused = sorted(persons - set(present))
        note = f"{path} has no box of the class {_list(unused)}; there are {_list(present)}"
        return persons, [note] if unused else []
    if not present:
        return set(), []
    words = {kind for kind in present if kind.casefold() in _PERSONS}
    if rows.mot_classes and not words:  # MOTChallenge's, with its own names or without
        if labels := _labels(path):
            persons = {number for number, label in labels.items() if label.casefold() in _PERSONS}
            if not persons:
                raise _unknown(path, present, f"none of the classes in {path.with_name(_LABELS)} is called a person")
            return persons, [f"{path}: {path.with_name(_LABELS)} says that {_list(sorted(persons))} is a person"]
        if "0" in present:
            raise _unknown(path, present, "MOTChallenge has no class 0")
        return {_PERSON}, []
    if words:
        return words, []
    if len(present) == 1 and present[0].isdecimal():
        return {present[0]}, [f"{path}: class {present[0]} is the only one, so it is taken for persons"]
    raise _unknown(path, present, "it is not known which is a person")


def _labels(path: Path) -> dict[str, str]:
    try:
        lines = path.with_name(_LABELS).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {str(number): line.strip() for number, line in enumerate(lines, start=1) if line.strip()}


def _unknown(path: Path, present: list[str], why: str) -> DataError:
    return DataError(
        f"{path} has boxes of the class {_list(present)}, and {why}. Say which classes are persons: --person-class "
        f"{present[0]} (person_classes=[{present[0]!r}]), more than once for several."
    )
