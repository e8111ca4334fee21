"""COCO's JSON: images with annotations, or a list of results, as ultralytics' predictions.json is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.tracking._box_rows import BoxRows, key_of

_TRACK = ("track_id", "instance_id")
_NAME = "file_name"


def is_coco(content: Any) -> bool:
    """Whether JSON is COCO's: an object with annotations, or a list of entries with ``image_id`` and ``bbox``."""
    if isinstance(content, dict):
        return isinstance(content.get("annotations"), list)
    return isinstance(content, list) and any(
        isinstance(one, dict) and {"image_id", "bbox"} <= set(one) for one in content
    )


def read_coco(path: Path, content: Any) -> BoxRows:
    """All boxes: x, y, width, height from pixel 0. Groups (``iscrowd``) and what is marked ``ignore`` are
    ignored. A track is ``track_id`` or ``instance_id``, also among the attributes, where CVAT writes it.

    Raises:
        DataError: an entry is no box of an image.
    """
    rows = BoxRows(path, "xywh", word="entry")
    entries = content["annotations"] if isinstance(content, dict) else content
    names = _names(content)
    images = _images(path, content, rows)
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: expected an annotation of COCO, got {entry!r:.40}.")
        attributes = entry.get("attributes")
        track = next(
            (one[key] for one in (entry, attributes) if isinstance(one, dict) for key in _TRACK if key in one), None
        )
        category = _plain(entry.get("category_id"))
        rows.add(
            number,
            _box(entry.get("bbox"), where),
            image=_image(entry, images, where),
            track=_plain(track),
            kind=names.get(category, category),
            confidence=_score(entry.get("score"), where),
            ignored=bool(entry.get("iscrowd") or entry.get("ignore")),
        )
    return rows


def _names(content: Any) -> dict[str, str]:
    listed = content.get("categories") if isinstance(content, dict) else None
    named = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {_plain(one.get("id")): str(one.get("name", "")).strip() for one in named}


def _images(path: Path, content: Any, rows: BoxRows) -> dict[str, str]:
    """The name of each image by its id; their sizes go into the rows."""
    listed = content.get("images") if isinstance(content, dict) else None
    videos = set()
    found: dict[str, str] = {}
    for image in listed if isinstance(listed, list) else ():
        key = _plain(image.get("id")) if isinstance(image, dict) else ""
        name = image.get(_NAME) if isinstance(image, dict) else None
        if not key or not isinstance(name, str) or not name:
            raise DataError(f"{path}: every entry of 'images' needs 'id' and '{_NAME}', got {image!r:.60}.")
        if found.setdefault(key, name) != name:
            raise DataError(f"{path}: 'images' has two images with id {key}: {found[key]} and {name}.")
        videos.add(_plain(image.get("video_id")))
        width, height = image.get("width"), image.get("height")
        if all(isinstance(side, int | float) and not isinstance(side, bool) and side > 0 for side in (width, height)):
            rows.sizes[name] = width, height
    if len(videos) > 1:
        raise DataError(f"{path}: the images are of {len(videos)} videos (video_id). Give a file for each.")
    return found


def _image(entry: Mapping[str, Any], images: Mapping[str, str], where: str) -> str:
    name, key = entry.get(_NAME), _plain(entry.get("image_id"))
    if isinstance(name, str) and name:
        return name
    if key in images:
        return images[key]
    if images or not key:
        raise DataError(f"{where}: expected the id of an image in 'images', got {entry.get('image_id')!r:.40}.")
    return key


def _box(box: object, where: str) -> list[float]:
    if not (
        isinstance(box, list)
        and len(box) == 4
        and all(
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in box
        )
    ):
        raise DataError(f"{where}: expected 'bbox' as x, y, width, height, got {box!r:.60}.")
    return [float(value) for value in box]


def _score(score: object, where: str) -> float:
    if score is None:
        return math.nan
    if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
        raise DataError(f"{where}: expected a number as 'score', got {score!r:.40}.")
    return float(score)


def _plain(value: object) -> str:
    """An id as text: 1 and 1.0 are one; "" = none."""
    key = key_of(value) if isinstance(value, int | float | str) else None
    return "" if key is None else str(key)
