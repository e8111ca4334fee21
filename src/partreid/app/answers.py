"""What the page says of a gallery and its items, in texts and plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from time import monotonic

from partreid.app.messages import Found
from partreid.app.pictures import TRACK
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.types.gallery import GalleryItem

_MOST_CAMERAS, _CAMERA_PAGE = 200, 1024
_PATIENCE = 2.0
"""Seconds to look for cameras: a page that opens at once is worth more than a whole list."""


def as_found(item: GalleryItem, distance: float, probability: float | None, parts: Mapping[str, float]) -> Found:
    """An item as the page shows it; numbers that are not finite are None."""
    known = {slot: value if math.isfinite(value) else None for slot, value in parts.items()}
    comparable = math.isfinite(distance)
    return Found(
        id=item.id,
        camera=item.camera,
        time=None if item.time is None else item.time.isoformat(),
        track=_text(item.metadata[TRACK]) if TRACK in item.metadata else None,
        metadata=tuple((key, _text(value)) for key, value in item.metadata.items()),
        distance=distance if comparable else None,
        probability=probability if comparable else None,
        compared=sum(value is not None for value in known.values()),
        parts=known,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_name(location: str) -> str:
    """A gallery's name without the folders, server, user and password that lead to it."""
    return location.partition("?")[0].rstrip("/").rpartition("/")[2].rpartition("@")[2] or location[:1]


def known_cameras(gallery: Gallery) -> tuple[tuple[str, ...], bool]:
    """The cameras of a gallery's items, sorted, and whether there may be more than were looked for.

    Asks for a page of items of none of the cameras known so far, as long as there are any: few requests, and no pass
    over the items, unless many of them have no camera.

    Example:
        >>> import torch
        >>> from partreid.types import PartEmbeddings
        >>> embeddings = PartEmbeddings(torch.ones(3, 1, 2), torch.ones(3, 1), ("foreground",))
        >>> gallery = Gallery()
        >>> gallery.add(embeddings, ["a", "b", "c"], cameras=[2, 10, None])
        >>> known_cameras(gallery)
        (('2', '10'), False)
    """
    cameras: set[str] = set()
    after, header = "", gallery.store.header()
    end = monotonic() + _PATIENCE
    while header is not None and len(cameras) < _MOST_CAMERAS and monotonic() < end:
        page = gallery.store.fetch(Filter(not_cameras=tuple(sorted(cameras))), limit=_CAMERA_PAGE, after=after)
        cameras |= {item.camera for item in page.items if item.camera is not None}
        if len(page) < _CAMERA_PAGE:
            return _in_order(cameras), False
        after = page.items[-1].id  # ids up to here have none of the cameras that are still unknown
    return _in_order(cameras), header is not None


def _in_order(cameras: set[str]) -> tuple[str, ...]:
    """Numbers by their value, then names."""
    return tuple(sorted(cameras, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))
