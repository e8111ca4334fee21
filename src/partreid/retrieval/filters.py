"""Which items of a gallery to search: by camera, time, metadata and id, the same for every store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from partreid.config import ConfigModel
from partreid.types.gallery import GalleryItem, as_text, as_time


def _texts(values: Any) -> Any:
    """One or several values as texts."""
    several = values if isinstance(values, Iterable) and not isinstance(values, str | Mapping) else [values]
    return tuple(dict.fromkeys(as_text(value, "A filter's value") for value in several))


def _texts_by_key(values: Any) -> Any:
    return {key: _texts(some) for key, some in values.items()} if isinstance(values, Mapping) else values


def _moment(value: Any) -> datetime | None:
    """A time; as ISO text too, which is how JSON has it."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    return None if value is None else as_time(value)


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
OptionalTexts = Annotated[tuple[str, ...] | None, BeforeValidator(lambda v: None if v is None else _texts(v))]
ByKey = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_texts_by_key)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class Filter(ConfigModel):
    """Which items count. All conditions hold together; values of one condition are alternatives.

    Values are compared as text, so that 3 and "3" are the same camera. Conditions on metadata look at its texts,
    numbers, true, false and null at the top level. An item that lacks what a condition asks for does not meet it; it
    does meet every ``not_`` condition.

    Raises:
        ConfigError: there is no such condition, or a value is neither text nor number, nor, for a moment, a time.

    Example:
        >>> where = Filter(cameras=3, not_metadata={"track": 17})  # camera 3, not this track
        >>> where.keeps(GalleryItem("a", camera=3, metadata={"track": 5}))
        True
        >>> where.keeps(GalleryItem("b", camera=3, metadata={"track": "17"}))
        False
    """

    cameras: OptionalTexts = None
    """Only items of these cameras; None = of all, and of unknown ones."""
    not_cameras: Texts = ()
    """No items of these cameras."""
    since: Moment = None
    """Only items seen at this moment or later; a datetime with a time zone, or seconds since 1970."""
    until: Moment = None
    """Only items seen before this moment."""
    undated: bool = False
    """Whether items whose time is unknown meet ``since`` and ``until``."""
    metadata: ByKey = Field(default={})
    """Only items whose metadata has one of these values under each key."""
    not_metadata: ByKey = Field(default={})
    """No items whose metadata has one of these values under such a key."""
    ids: OptionalTexts = None
    """Only these items."""
    not_ids: Texts = ()
    """Not these items."""

    @property
    def wanted_tags(self) -> list[list[str]]:
        """Groups of :func:`tags`; an item needs one of each group."""
        return [[_tag(key, value) for value in values] for key, values in self.metadata.items()]

    @property
    def unwanted_tags(self) -> list[str]:
        """:func:`tags` of which an item may have none."""
        return [_tag(key, value) for key, values in self.not_metadata.items() for value in values]

    def keeps(self, item: GalleryItem) -> bool:
        """Whether an item meets all conditions: what every store must agree with."""
        return (
            (self.cameras is None or item.camera in self.cameras)
            and item.camera not in self.not_cameras
            and (self.since is None or (self.undated if item.time is None else item.time >= self.since))
            and (self.until is None or (self.undated if item.time is None else item.time < self.until))
            and (self.ids is None or item.id in self.ids)
            and item.id not in self.not_ids
            and (not (self.metadata or self.not_metadata) or self._keeps_tags(set(tags(item.metadata))))
        )

    def _keeps_tags(self, has: set[str]) -> bool:
        return has.isdisjoint(self.unwanted_tags) and all(not has.isdisjoint(group) for group in self.wanted_tags)


def tags(metadata: Mapping[str, Any]) -> list[str]:
    """One text for each value that a filter can ask for: stores keep them in a column and look for them there."""
    return [_tag(key, as_tag) for key, value in metadata.items() if (as_tag := _plain(value)) is not None]


def _plain(value: object) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else None


def _tag(key: str, text: str) -> str:
    return json.dumps([key, text], ensure_ascii=False, separators=(",", ":"))
