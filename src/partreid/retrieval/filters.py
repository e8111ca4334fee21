"""Which items of a gallery to search: by camera, time, metadata and id, the same for every store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeAlias, TypedDict

from pydantic import BeforeValidator, Field, StrictBool

from partreid.base_config import ConfigModel
from partreid.errors import ConfigError, WrongTypeError
from partreid.other_words import meant
from partreid.types.gallery import GalleryItem, Time, as_text, id_text, plain_text, scalar, spellings
from partreid.types.moments import as_time, written_time


def is_several(values: object) -> bool:
    """Whether these are several values, not one."""
    several = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    return several and getattr(values, "ndim", None) != 0


def _several(values: Any) -> Iterable[Any]:
    return values if is_several(values) else [values]


def _cameras(values: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(as_text(value, "A filter's camera") for value in _several(values)))


def _ids(values: Any) -> tuple[str, ...]:
    """Ids are compared exactly: the ids "3.0" and "3" differ, although such cameras are the same."""
    return tuple(dict.fromkeys(map(id_text, _several(values))))


def _by_key(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {key: tuple(dict.fromkeys(map(_word, _several(some)))) for key, some in values.items()}


def _word(value: object) -> str:
    value = scalar(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return as_text(value, "A filter's value")


def _moment(value: Any) -> datetime | None:
    """A time; also as a text with a zone, as JSON writes it."""
    if value is None:
        return None
    return written_time(value, local=False) if isinstance(value, str) else as_time(value)


_Word: TypeAlias = str | float
_Value: TypeAlias = str | float | bool | None
# The types after json_schema_input_type are what a JSON schema says may come.
_Cameras = Annotated[tuple[str, ...], BeforeValidator(_cameras, json_schema_input_type=_Word | tuple[_Word, ...])]
_Ids = Annotated[tuple[str, ...], BeforeValidator(_ids, json_schema_input_type=_Word | tuple[_Word, ...])]
_ByKey = Annotated[
    dict[str, tuple[str, ...]],
    BeforeValidator(_by_key, json_schema_input_type=dict[str, _Value | tuple[_Value, ...]]),
]
Moment = Annotated[datetime | None, BeforeValidator(_moment, json_schema_input_type=_Word | None)]
"""A time in JSON: seconds since 1970, or an ISO 8601 text with a zone. None = not given."""


class Filter(ConfigModel):
    """Conditions on items. An item must meet all conditions; the values of one condition are alternatives.

    Values are compared as text, so that 3, 3.0 and "3" are the same camera. Conditions on metadata apply to texts,
    numbers, true, false and null at the top level. An item without the requested field does not meet a condition, but
    it meets every ``not_`` condition.

    Raises:
        ConfigError: there is no such condition, or a value is neither text nor number, or a moment is not a time.

    Example:
        >>> where = Filter(cameras=3, not_metadata={"track": 17})  # camera 3, not this track
        >>> where.keeps(GalleryItem("a", camera=3, metadata={"track": 5}))
        True
        >>> where.keeps(GalleryItem("b", camera=3, metadata={"track": "17"}))
        False
    """

    cameras: _Cameras | None = None
    """Only items of these cameras; None = of all, and of unknown ones."""
    not_cameras: _Cameras = ()
    """No items of these cameras."""
    since: Moment = None
    """Only items seen at this moment or later; a datetime with a time zone, or seconds since 1970 (a time from 1990 to
    2099). Items whose time is unknown are left out."""
    until: Moment = None
    """Only items seen before this moment."""
    undated: StrictBool = False
    """Whether items whose time is unknown meet ``since`` and ``until``."""
    metadata: _ByKey = Field(default={})
    """Only items whose metadata has one of these values under each key."""
    not_metadata: _ByKey = Field(default={})
    """No items whose metadata has one of these values under such a key."""
    ids: _Ids | None = None
    """Only these items."""
    not_ids: _Ids = ()
    """Not these items."""

    @classmethod
    def of(cls, where: Where, conditions: Conditions | None = None) -> Filter:
        """A filter made from an object, a mapping, keywords or several of them together.

        Args:
            where: a filter, a mapping of its fields (``{"cameras": [3]}``), or None for all items.
            conditions: further fields.

        Raises:
            ConfigError: there is no such condition, one is given twice, or its value does not fit.
            WrongTypeError: ``where`` is something else, or an empty mapping.

        Example:
            >>> Filter.of({"cameras": [3]}, {"ids": ["a"]}) == Filter(cameras="3", ids=("a",))
            True
        """
        if not isinstance(where, Filter | Mapping | None) or where == {}:  # {} does not say what is wanted
            raise WrongTypeError(f'Expected where={{"cameras": [3]}}, Filter(cameras=[3]) or None, got {where!r:.80}.')
        if not isinstance(conditions, Mapping | None):
            raise WrongTypeError(f"Expected conditions as a mapping or None, got {conditions!r:.80}.")
        known = (
            dict(where) if isinstance(where, Mapping) else {} if where is None else where.model_dump(exclude_unset=True)
        )
        wanted = dict(conditions or {})
        if unknown := wanted.keys() - cls.model_fields:
            raise TypeError(f"unknown keyword {min(unknown)!r}")  # the caller explains the error
        for name in known:
            if name not in cls.model_fields:
                close = " or ".join(meant(str(name), cls.model_fields)) or f"one of {', '.join(cls.model_fields)}"
                raise ConfigError(
                    f"Unknown condition {name!r:.80}. Did you mean {close}? What items' metadata hold is asked for by "
                    f"metadata={{{name!r:.80}: ...}}."
                )
        if twice := known.keys() & wanted.keys():
            raise ConfigError(f"Given twice, in where and by keyword: {', '.join(sorted(twice))}. Give each once.")
        return where if isinstance(where, Filter) and not wanted else cls.parse(known | wanted, source="filter")

    @property
    def wanted_tags(self) -> list[list[str]]:
        """Groups of :func:`tags`; an item needs one tag of each group."""
        return [_tags_of(key, values) for key, values in self.metadata.items()]

    @property
    def unwanted_tags(self) -> list[str]:
        """:func:`tags` that an item must not have."""
        return [tag for key, values in self.not_metadata.items() for tag in _tags_of(key, values)]

    @property
    def wanted_cameras(self) -> list[str] | None:
        """``cameras`` in the forms in which stores may contain them."""
        return None if self.cameras is None else _spelt(self.cameras)

    @property
    def unwanted_cameras(self) -> list[str]:
        """``not_cameras`` in the forms in which stores may contain them."""
        return _spelt(self.not_cameras)

    def keeps(self, item: GalleryItem) -> bool:
        """Whether an item meets all conditions. Every store must agree with this function."""
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


class Conditions(TypedDict, total=False):
    """The fields of :class:`Filter`, as keywords."""

    cameras: Iterable[str | int] | str | int | None
    not_cameras: Iterable[str | int] | str | int
    since: Time | str | None
    until: Time | str | None
    undated: bool
    metadata: Mapping[str, Any]
    not_metadata: Mapping[str, Any]
    ids: Iterable[str | int] | str | int | None
    not_ids: Iterable[str | int] | str | int


Where: TypeAlias = Filter | Mapping[str, Any] | None
"""Which items are asked for: a filter, a mapping of its fields, or None for all."""


def undated_left_out(where: Filter, count: Callable[[Filter], int]) -> int:
    """The number of items that a filter excludes only because their time is unknown.

    Args:
        where: the filter. count: counts the items that meet a filter (``Gallery.count``).
    """
    if where.undated or (where.since is None and where.until is None):
        return 0
    return count(where.model_copy(update={"undated": True})) - count(where)


def tags(metadata: Mapping[str, Any]) -> list[str]:
    """One text for each value that a filter can ask for. Stores keep these texts in a column and search it."""
    return [_tag(key, as_tag) for key, value in metadata.items() if (as_tag := _plain(value)) is not None]


def _plain(value: object) -> str | None:
    return json.dumps(value) if value is None or isinstance(value, bool) else plain_text(value)


def _spelt(texts: Iterable[str]) -> list[str]:
    return [spelling for text in texts for spelling in spellings(text)]


def _tags_of(key: str, values: Iterable[str]) -> list[str]:
    return [_tag(key, spelling) for spelling in _spelt(values)]


def _tag(key: str, text: str) -> str:
    return json.dumps([key, text], ensure_ascii=False, separators=(",", ":"))
