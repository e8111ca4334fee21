"""Tracks for linking, with the place, the time and the name of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from partreid.errors import DataError, ShapeError
from partreid.inference.storage import load_embeddings
from partreid.objects import Guided
from partreid.retrieval.filters import Filter, Where
from partreid.retrieval.gallery import Gallery
from partreid.tracking.boxes import TrackBoxes
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import plain_text

PERSON, NAMED_BY, LINK = "person", "person_from", "link"
"""Keys of an item's metadata: the person's name, and the origin of the name; :data:`LINK` if linking gave it."""


@dataclass(frozen=True, repr=False)
class LinkTrack(Guided):
    """The facts about a track, or about a single image, without its embedding.

    Attributes:
        id: its name. camera: None = unknown. video: its video, "" = unknown.
        start, end: when it was first and last seen; None = unknown.
        first, last: the same on its video's clock, in seconds or in frames; None = unknown.
        person: its name, "" = none. known: whether people gave this name, rather than a linking.

    Raises:
        DataError: it ends before it begins, or a number is not finite.
    """

    id: str
    camera: str | None = None
    video: str = ""
    start: datetime | None = None
    end: datetime | None = None
    first: float | None = None
    last: float | None = None
    person: str = ""
    known: bool = False

    def __post_init__(self) -> None:
        checked = GalleryItem(self.id, self.camera, self.start)
        end = None if self.end is None else GalleryItem(self.id, None, self.end).time
        object.__setattr__(self, "camera", checked.camera)
        object.__setattr__(self, "start", checked.time)
        object.__setattr__(self, "end", end)
        for first, last in ((self.start, self.end), (self.first, self.last)):
            if (first is None) != (last is None):
                raise DataError(f"Track {self.id!r:.80}: expected both ends of its time, or none, got {first}, {last}.")
            if first is not None and not (_number(first) <= _number(last) < float("inf")):
                raise DataError(f"Track {self.id!r:.80} ends before it begins: from {first} to {last}.")

    @classmethod
    def of_item(cls, item: GalleryItem) -> Self:
        """The track of a gallery's item, in the form of :func:`~partreid.tracking.filling.add_tracks`.

        Raises:
            DataError: it ends before it begins, or its seconds are no numbers.
        """
        first, last = (_seconds(item, key) for key in ("first_second", "last_second"))
        if first is None or last is None:
            first = last = last if first is None else first
        length = timedelta(0) if first is None or last is None else timedelta(seconds=last - first)
        person = item.metadata.get(PERSON)
        return cls(
            item.id,
            item.camera,
            str(item.metadata.get("video") or item.metadata.get("video_name") or ""),
            item.time,
            None if item.time is None else item.time + length,
            first,
            last,
            (plain_text(person) or "") if person is not None else "",
            item.metadata.get(NAMED_BY) != LINK,
        )


@dataclass(frozen=True, eq=False, repr=False)
class LinkTracks(Guided):
    """N tracks and their embeddings, in the order of their ids.

    Attributes:
        tracks: N of them. embeddings: [N, S, D] on the CPU.
        taken: names of other persons, which must not be used again.

    Raises:
        DataError: an id is there twice. ShapeError: not as many embeddings, or a number in them is not finite.
    """

    tracks: tuple[LinkTrack, ...]
    embeddings: PartEmbeddings
    taken: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.tracks) != len(self.embeddings):
            raise ShapeError(f"Expected {len(self.tracks)} embeddings, one of each track, got {len(self.embeddings)}.")
        order = sorted(range(len(self.tracks)), key=lambda i: self.tracks[i].id)
        object.__setattr__(self, "tracks", tuple(self.tracks[i] for i in order))
        for one, other in zip(self.tracks, self.tracks[1:], strict=False):
            if one.id == other.id:
                raise DataError(
                    f"Two tracks are called {one.id!r:.80}. Embed one of the videos again under another name: "
                    "`partreid tracks --name`."
                )
        object.__setattr__(self, "embeddings", self.embeddings[order].to("cpu").validate())

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def ids(self) -> list[str]:
        """The tracks' names."""
        return [track.id for track in self.tracks]

    def position(self, track: str) -> int | None:
        """The position of a track; None if there is no such track."""
        return self._places.get(track)

    @property
    def _places(self) -> Mapping[str, int]:
        if "_found" not in vars(self):
            object.__setattr__(self, "_found", {track.id: i for i, track in enumerate(self.tracks)})
        return vars(self)["_found"]  # type: ignore[no-any-return]

    @classmethod
    def of_gallery(cls, gallery: Gallery, where: Where = None) -> Self:
        """The items of a gallery that meet a filter.

        Raises:
            DataError: none does, or an item ends before it begins.
        """
        chosen, pages, taken = Filter.of(where), [], set()
        for page in gallery.records():
            keep = [i for i, item in enumerate(page.items) if chosen.keeps(item)]
            if keep:
                pages.append(page[keep])
            others = set(range(len(page))) - set(keep)
            taken |= {LinkTrack.of_item(page.items[i]).person for i in others}
        if not pages:
            raise DataError(
                "The gallery holds no item to link"
                + (
                    " that meets the filter."
                    if len(gallery)
                    else ". Add tracks with `partreid tracks VIDEO BOXES --gallery GALLERY`."
                )
            )
        tracks = tuple(LinkTrack.of_item(item) for page in pages for item in page.items)
        return cls(tracks, PartEmbeddings.cat(page.embeddings for page in pages), frozenset(taken - {""}))

    @classmethod
    def of_files(cls, files: Sequence[str | Path], boxes: Mapping[str, TrackBoxes] | None = None) -> Self:
        """The tracks of files that ``partreid tracks`` wrote. A track is called by its video and itself: ``hall/7``.

        Args:
            files: one or many. boxes: the tables of some videos, by the video's name; they give the times of tracks.

        Raises:
            DataError: a file cannot be read, a name is there twice, or a table fits no track.
            ShapeError: the files are of different models.
        """
        if isinstance(files, str | Path) or not files:
            raise DataError(f"Expected a list of files, got {files!r:.80}.")
        read = [load_embeddings(file) for file in files]
        spans = {f"{video}/{track}": span for video, table in (boxes or {}).items() for track, span in _spans(table)}
        tracks = []
        for name in (name for _, names in read for name in names):
            video = name.partition("/")[0] if "/" in name else ""
            first, last = spans.get(name, (None, None))
            tracks.append(LinkTrack(name, None, video, None, None, first, last))
        for video in boxes or {}:
            if not any(track.video == video and track.first is not None for track in tracks):
                known = ", ".join(sorted({track.video for track in tracks} - {""})[:5]) or "none"
                raise DataError(f"The boxes of {video!r:.80} belong to no track here. The videos here are: {known}.")
        return cls(tuple(tracks), PartEmbeddings.cat(embeddings for embeddings, _ in read))

    def with_known(self, others: LinkTracks) -> Self:
        """These tracks, and those of the others that have a name given by people; tracks in both count once.

        Raises:
            ShapeError: another model made the others.
        """
        keep = [i for i, one in enumerate(others.tracks) if one.person and one.known and self.position(one.id) is None]
        return replace(
            self,
            tracks=(*self.tracks, *(others.tracks[i] for i in keep)),
            embeddings=PartEmbeddings.cat([self.embeddings, others.embeddings[keep].to(dtype=self.embeddings.dtype)]),
        )


def _number(value: Any) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _seconds(item: GalleryItem, key: str) -> float | None:
    value = item.metadata.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"Item {item.id!r:.80}: expected {key} to be seconds, got {value!r:.80}.")
    return float(value)


def _spans(table: TrackBoxes) -> Iterable[tuple[str, tuple[float, float]]]:
    for name, (first, last, _) in zip(table.names, table.spans().tolist(), strict=True):
        yield name, (float(first), float(last))
