"""The output of linking: a table, MOTChallenge files with one number per person, and names in a gallery."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.linking.linked import Linked
from partreid.linking.names import person_numbers
from partreid.linking.tracks import LINK, NAMED_BY, PERSON
from partreid.objects import guided
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.tracking.boxes import TrackBoxes
from partreid.types.gallery import GalleryRecords

PROBABILITY = "person_probability"
"""Key of an item's metadata: how sure its link is."""

_COLUMNS = ("track", "camera", "start", "end", "person", "number", "probability", "links")


@guided
def save_links(path: str | Path, linked: Linked) -> Path:
    """Write a CSV table with a row for each track, completely or not at all.

    ``number`` is the person's in MOT files. ``links`` is the number of other tracks of the person. Unknown values are
    empty.

    Args:
        path: the file. linked: as :func:`~partreid.linking.linked.link` gives it.

    Raises:
        DataError: the file cannot be written.
    """
    numbers, sizes = person_numbers(linked.persons), linked.sizes
    with atomic_file(path, error=DataError) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for track, person, chance in zip(linked.tracks, linked.persons, linked.probabilities, strict=True):
            times = [None if time is None else time.isoformat() for time in (track.start, track.end)]
            known = None if chance is None else f"{chance:.4f}"
            links = sizes[person] - 1 if person else 0
            table.writerow([track.id, track.camera, *times, person, numbers.get(person), known, links])
    return Path(path)


@guided
def save_mot(folder: str | Path, linked: Linked, boxes: Mapping[str, TrackBoxes]) -> list[Path]:
    """Write the boxes of videos in MOTChallenge's format, with the persons' numbers instead of the tracks'.

    Args:
        folder: where ``VIDEO.txt`` is written for each. linked: as :func:`~partreid.linking.linked.link` gives it.
        boxes: of each video, by its name. Tracks that were not linked, or have no person, are left out.

    Returns:
        The files.

    Raises:
        DataError: no track of a video was linked, or a file cannot be written.
    """
    numbers = person_numbers(linked.persons)
    person = {track.id: numbers.get(name) for track, name in zip(linked.tracks, linked.persons, strict=True)}
    found = []
    for video, table in boxes.items():
        if not isinstance(table, TrackBoxes) or "/" in video:
            raise DataError(
                f"Expected boxes as read_boxes gives them, by names of videos without a slash, got {video!r:.80}."
            )
        known = [person.get(f"{video}/{name}") for name in table.names]
        if not any(known):
            raise DataError(f"No track of the boxes of {video!r:.80} ({table.table.path}) was linked.")
        sides = np.concatenate([table.corners[:, :2] + 1, table.corners[:, 2:] - table.corners[:, :2]], axis=1)
        path = Path(folder) / f"{video}.txt"
        with atomic_file(path, error=DataError) as temporary, temporary.open("w", encoding="utf-8") as file:
            for frame, track, box in zip(table.frames.tolist(), table.tracks.tolist(), sides.tolist(), strict=True):
                if known[track] is not None:
                    file.write(f"{frame + 1},{known[track]},{','.join(f'{side:g}' for side in box)},1,-1,-1,-1\n")
        found.append(path)
    return found


@guided
def save_persons(gallery: Gallery, linked: Linked) -> int:
    """Write the person of each track into the gallery's items, in one step. 'gallery search --where person=p7' finds
    them.

    Names that people gave are not changed, and items that were deleted meanwhile are ignored.

    Args:
        gallery: that the tracks came from. linked: as :func:`~partreid.linking.linked.link` gives it.

    Returns:
        How many items changed.

    Raises:
        DataError: the gallery cannot be written.
    """
    rows = zip(linked.tracks, linked.persons, linked.probabilities, strict=True)
    names = {track.id: (name, chance) for track, name, chance in rows if not (track.known and track.person)}
    with recorded(gallery, "link", {"tracks": len(linked), "persons": len(linked.sizes)}, changes=True) as event:
        event.changed = rename(gallery, names)
    return event.changed


def rename(gallery: Gallery, persons: Mapping[str, tuple[str, float | None]]) -> int:
    """Set the persons of items ("" = none) and their probabilities; returns the number of changed items.

    Args:
        gallery: of the items; items that it does not have are ignored.
        persons: by the items' ids.
    """

    def changed() -> GalleryRecords | None:
        there = sorted(gallery.known(persons)) if persons else []
        if not there:
            return None
        records = gallery.get(there)
        items = []
        for item in records.items:
            name, chance = persons[item.id]
            kept = {key: value for key, value in item.metadata.items() if key not in (PERSON, NAMED_BY, PROBABILITY)}
            said = {PERSON: name, NAMED_BY: LINK} if name else {}
            sure = {PROBABILITY: round(chance, 4)} if name and chance is not None else {}
            items.append(replace(item, metadata=kept | said | sure))
        some = [i for i, item in enumerate(items) if item != records.items[i]]
        return GalleryRecords(tuple(items[i] for i in some), records.embeddings[some]) if some else None

    records = gallery.read(changed)
    if records is None:
        return 0
    gallery.add_records(records, replace=True)
    return len(records)
