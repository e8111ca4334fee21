"""What the page says of a gallery and its items, in texts and plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from partreid.app.messages import Found
from partreid.app.pictures import TRACK
from partreid.types.gallery import GalleryItem


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
