"""Filling a gallery with the tracks of videos: their names, their times, and the former tracks that they replace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from partreid.errors import ConfigError, DataError
from partreid.objects import Guided
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.tracking.frame_folder import video_name, video_path
from partreid.tracking.video_tracks import VideoTracks
from partreid.types import GalleryItem
from partreid.types.gallery import LONGEST_ID, GalleryRecords
from partreid.types.moments import as_time

_VIDEO, _NAME = "video", "video_name"  # keys of an item's metadata


@dataclass(frozen=True, repr=False)
class VideoNaming(Guided):
    """The common fields of all tracks of a video.

    Attributes:
        video: its file or folder. camera: its camera. start: the time of its start; a track's time is that of its first
            frame.
        name: the video's name in the gallery; "" = the name of its file or folder
            (:func:`~partreid.tracking.frame_folder.video_name`).
    """

    video: Path
    camera: str | None = None
    start: datetime | None = None
    name: str = ""

    def track_id(self, track: str) -> str:
        """The id of a track: the video's name and the track's.

        Raises:
            ConfigError: the name has a slash, so that the beginning of the track's name would be ambiguous.

        Example:
            >>> VideoNaming(Path("hall.mp4")).track_id("7"), VideoNaming(Path("hall.mp4"), name="north").track_id("7")
            ('hall/7', 'north/7')
        """
        name = self.name or video_name(self.video)
        if "/" in name:
            raise ConfigError(f"Expected a name of a video without a slash, got {name!r:.80}.")
        return f"{name}/{track}"

    def crops(self, folder: Path) -> Path:
        """The folder for images of this video's tracks, different from that of any other video of the same name."""
        return folder / f"{self.track_id('')[:-1]}-{sha256(str(video_path(self.video)).encode()).hexdigest()[:8]}"

    def item(
        self, track: str, first: int, last: int, boxes: int, *, seconds: Mapping[int, float], image: Path | None = None
    ) -> GalleryItem:
        """The item of a track: its id is the video's name and the track's.

        Args:
            track: its name. first, last: its frames. boxes: how many. seconds: of each frame since the video's start.
            image: of the track, a file.

        Raises:
            DataError: there is a start, and the time of the first frame is unknown.

        Example:
            >>> naming = VideoNaming(Path("hall.mp4"), camera="hall")
            >>> item = naming.item("7", 50, 99, 50, seconds={50: 2.0, 99: 3.96})
            >>> item.id, item.metadata["first_second"]
            ('hall/7', 2.0)
        """
        name = self.track_id(track)
        known = {"first_second": seconds.get(first), "last_second": seconds.get(last)}
        metadata = {"track": name, _VIDEO: str(video_path(self.video)), _NAME: self.track_id("")[:-1], "boxes": boxes}
        metadata |= {key: value for key, value in known.items() if value is not None}
        if image is not None:
            metadata["file"] = str(image.absolute())
        if self.start is None:
            return GalleryItem(name, self.camera, None, metadata)
        if first not in seconds:
            raise DataError(
                f"Track {name} was first seen in frame {first}, whose time is unknown, so {self.start} cannot be its "
                "time. Give the frames per second (--fps), or no start."
            )
        return GalleryItem(name, self.camera, as_time(self.start.timestamp() + seconds[first]), metadata)


def former_tracks(gallery: Gallery, tracks: Iterable[str], naming: VideoNaming) -> set[str]:
    """Ids of the items that were added from this video before.

    Args:
        gallery: in which to search. tracks: the tracks to add. naming: of the video.

    Raises:
        DataError: another video, or another camera, has items of this name; or this video has items under another name.
    """
    prefix, ids = naming.track_id(""), {naming.track_id(track) for track in tracks}
    name, where = prefix[:-1], str(video_path(naming.video))
    camera = GalleryItem(name, naming.camera).camera
    former = set()
    for item in _near(gallery, name, where, ids):
        called, of_video = item.metadata.get(_NAME), item.metadata.get(_VIDEO) == where
        if called == name or item.id in ids:
            if not of_video:
                there = item.metadata.get(_VIDEO) or item.metadata.get("file") or "no video"
                raise DataError(
                    f"{item.id!r} is in the gallery, of {there}; the new one is of {where}. To keep both, give this "
                    "video another name with --name (VideoNaming.name). Or delete the items of the other one first."
                )
            if item.camera != camera:
                raise DataError(
                    f"{item.id!r} is in the gallery, of the camera {item.camera or 'unknown'}; the new one is of "
                    f"{camera or 'an unknown one'}. Give this video another name with --name (VideoNaming.name); or, "
                    f"if the camera was wrong, delete its tracks first: --where {_VIDEO}={where}."
                )
            former.add(item.id)
        elif called is None and of_video and item.camera == camera:  # of a version that did not keep the name
            former.add(item.id)
        elif of_video and item.camera == camera and not naming.name:
            raise DataError(
                f"{where} is in the gallery under the name {called!r:.80}. Give --name {called} (VideoNaming.name) to "
                f"replace these tracks, or --name {name} to add others."
            )
    return former


def add_tracks(gallery: Gallery, tracks: VideoTracks, naming: VideoNaming) -> int:
    """Add the tracks of a video, and replace those that were added from it before. If the process is killed, the
    gallery has either the former tracks, or all of the new tracks and perhaps some former ones, which the next call
    removes.

    Args:
        gallery: of the model that embedded the tracks.
        tracks: as :func:`~partreid.tracking.video_tracks.embed_video` gives them. naming: their common fields.

    Returns:
        The number of removed former tracks that have no new track with the same id.

    Raises:
        DataError: the gallery cannot be written, there is no track, a track has no boxes, or an item cannot contain a
            value; or another video has the same name (:func:`former_tracks`).
        ShapeError: the gallery belongs to another model.
    """
    names = tracks.names
    spans = dict(zip(tracks.boxes.names, tracks.boxes.spans().tolist(), strict=True))
    if not names:
        raise DataError("There is no track to add; the former ones of the video stay.")
    if strange := [name for name in names if name not in spans]:
        raise DataError(f"No boxes of the tracks {', '.join(map(repr, strange[:5]))}. Give those they were made of.")
    items = tuple(
        naming.item(name, *spans[name], seconds=tracks.seconds, image=tracks.images.get(name)) for name in names
    )
    former = former_tracks(gallery, names, naming) - {item.id for item in items}
    gallery.add_records(GalleryRecords(items, tracks.embeddings), replace=True)
    return gallery.delete(former) if former else 0


def _near(gallery: Gallery, name: str, where: str, ids: set[str]) -> Iterator[GalleryItem]:
    """Items that have the name, the video or an id in common with what is to be added; each at least once."""
    conditions: list[dict[str, Any]] = [{"metadata": {_NAME: name}}, {"ids": sorted(ids)}]
    if len(where) <= LONGEST_ID:  # no filter takes a longer one
        conditions.append({"metadata": {_VIDEO: where}})
    for some in conditions:
        for page in gallery.records(Filter.parse(some)):
            yield from page.items
