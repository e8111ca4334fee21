"""What a gallery holds and what a search in it finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from partreid.config import ConfigModel
from partreid.errors import DataError
from partreid.types.tensors import PartEmbeddings

Time: TypeAlias = "datetime | int | float"
"""A moment: a datetime with a time zone, or seconds since 1970 in UTC."""

LONGEST_ID = 500
"""Characters of an id, a camera's name or a filter's value."""

_MOST_METADATA = 2**20


@dataclass(frozen=True)
class GalleryItem:
    """One picture, or one track, in a gallery.

    Attributes:
        id: its name, unique in the gallery.
        camera: the camera's name; a number is taken as its text. None = unknown.
        time: when it was seen, in UTC; a number is taken as seconds since 1970. None = unknown.
        metadata: anything else that JSON can hold: ``{"track": 17, "file": "a.jpg"}``.

    Raises:
        DataError: a value of another kind, an empty or very long text, or a time without a time zone.

    Example:
        >>> GalleryItem("a.jpg", camera=3, time=0).time.isoformat()
        '1970-01-01T00:00:00+00:00'
    """

    id: str
    camera: str | None = None
    time: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str):
            raise DataError(f"An id is text, got {self.id!r:.80} of type {type(self.id).__name__}.")
        check_text(self.id, "An id")
        object.__setattr__(self, "camera", None if self.camera is None else as_text(self.camera, "A camera"))
        object.__setattr__(self, "time", None if self.time is None else as_time(self.time))
        object.__setattr__(self, "metadata", _checked(self.metadata))


@dataclass(frozen=True)
class CameraSummary:
    """The items of one camera.

    Attributes:
        camera: its name; None = of items without one. count: items.
        first, last: their earliest and latest time, in UTC; None where no time is known.
    """

    camera: str | None
    count: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, eq=False)
class GalleryRecords:
    """Items and their embeddings.

    Attributes:
        items: N of them. embeddings: [N, S, D].
    """

    items: tuple[GalleryItem, ...]
    embeddings: PartEmbeddings

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, some: Sequence[int] | np.ndarray) -> GalleryRecords:
        """Chosen records, by index."""
        return GalleryRecords(tuple(self.items[int(i)] for i in some), self.embeddings[some])

    @property
    def ids(self) -> list[str]:
        """The items' ids."""
        return [item.id for item in self.items]

    @classmethod
    def cat(cls, several: Iterable[GalleryRecords]) -> GalleryRecords:
        """Several collections, at least one, as one."""
        several = list(several)
        items = tuple(item for records in several for item in records.items)
        return cls(items, PartEmbeddings.cat(records.embeddings for records in several))


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The nearest gallery items of each query, nearest first; equal distances in the order of their ids.

    Attributes:
        items: [Q][k] items found; k may be less than was asked for where the gallery holds fewer.
        distances: [Q, k], infinity where not comparable.
        comparable: [Q, k] bool, False where query and item share no visible slot; such items rank last.
        part_distances: [Q, k, S] distance per slot, NaN where the slot was not compared: not visible in both.
        slots: S names of the compared slots.
        matching: the ``MatchingConfig`` that they were compared by, with nothing left open; None = unknown.
        model: fingerprint of the extractor that made the gallery, "" = unknown.
    """

    items: tuple[tuple[GalleryItem, ...], ...]
    distances: Tensor
    comparable: Tensor
    part_distances: Tensor
    slots: tuple[str, ...]
    matching: ConfigModel | None = None
    model: str = ""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def ids(self) -> tuple[tuple[str, ...], ...]:
        """[Q][k] ids of the items found."""
        return tuple(tuple(item.id for item in row) for row in self.items)

    @property
    def compared(self) -> Tensor:
        """[Q, k] int64 number of slots that each distance was averaged over."""
        return self.part_distances.isfinite().sum(dim=2)


def as_time(value: Time) -> datetime:
    """A moment in UTC, to the microsecond.

    Raises:
        DataError: a datetime without a time zone, a number out of range, or something else.
    """
    try:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
    except (OverflowError, ValueError, OSError):
        pass
    raise DataError(
        f"Expected a time as a datetime with a time zone or as seconds since 1970 in UTC, got {value!r:.80}. "
        "For local time: datetime(...).astimezone()."
    )


def as_text(value: object, what: str) -> str:
    """A text or number as the text that filters compare: 17 as "17", True as "true".

    Raises:
        DataError: something else, or a text that :func:`check_text` refuses.
    """
    if isinstance(value, str):
        return check_text(value, what)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float):
        return check_text(json.dumps(value), what)
    raise DataError(f"{what} is a text or a number, got {value!r:.80} of type {type(value).__name__}.")


def check_text(text: str, what: str) -> str:
    """The text, if every store can keep and compare it.

    Raises:
        DataError: it is empty, longer than :data:`LONGEST_ID`, or holds a NUL or half a surrogate pair.
    """
    if not 0 < len(text) <= LONGEST_ID:
        raise DataError(f"{what} has 1 to {LONGEST_ID} characters, got {len(text)}: {text!r:.80}.")
    if not _storable(text):
        raise DataError(f"{what} may hold no NUL and no half of a surrogate pair, got {text!r:.80}.")
    return text


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _checked(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of metadata as JSON gives it back."""
    problem = "it is no mapping"
    if isinstance(metadata, Mapping):
        try:
            text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
            # JSON turns every key into text: one that was none would come back as another, or clash.
            if not _storable(text) or "\\u0000" in text:
                problem = "it holds a NUL or half of a surrogate pair"
            elif len(text) > _MOST_METADATA:
                problem = f"it has {len(text)} characters as JSON, of {_MOST_METADATA} allowed"
            elif not _text_keys(metadata):
                problem = "a key is not text"
            else:
                return json.loads(text)  # type: ignore[no-any-return]
        except (TypeError, ValueError, RecursionError) as error:
            problem = str(error)
    raise DataError(f"The gallery's metadata must be what JSON can hold: {problem}. Got {metadata!r:.80}.")


def _text_keys(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _text_keys(inner) for key, inner in value.items())
    return not isinstance(value, list | tuple) or all(map(_text_keys, value))
