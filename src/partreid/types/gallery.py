"""The items of a gallery."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from partreid.errors import DataError
from partreid.lazy import is_tensor
from partreid.objects import Guided
from partreid.types import _id_values as id_values
from partreid.types.moments import Time as Time
from partreid.types.moments import as_time
from partreid.types.tensors import PartEmbeddings

if TYPE_CHECKING:
    pass

LONGEST_ID = 500
"""Characters of an id, a camera's name or a filter's value."""

_MOST_METADATA = 2**20
_MOST_BITS = 14_000  # of a whole number that Python writes in digits
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")  # how a whole number looks that went through floats


@dataclass(frozen=True, repr=False)
class GalleryItem(Guided):
    """One image, or one track, in a gallery.

    Attributes:
        id: its name, unique in the gallery.
        camera: the camera's name; a number is converted to text (3, 3.0 and "3" are the same). None = unknown, and so
            are NaN, pandas' NA, and "".
        time: when it was seen, in UTC; a number means seconds since 1970. None = unknown, as above.
        metadata: anything else that JSON can represent: ``{"track": 17, "file": "a.jpg"}``; NaN is null.

    Raises:
        DataError: a value of another kind, an empty or very long text, or a time without a time zone.

    Example:
        >>> GalleryItem("a.jpg", camera=3, time=1795435200).time.isoformat()
        '2026-11-23T12:00:00+00:00'
    """

    id: str
    camera: str | None = None
    time: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str):
            raise DataError(f"An id is text, got {self.id!r:.80} of type {type(self.id).__name__}.")
        object.__setattr__(self, "id", check_text(str(self.id), "An id"))
        object.__setattr__(self, "camera", None if is_unknown(self.camera) else as_text(self.camera, "A camera"))
        object.__setattr__(self, "time", None if is_unknown(self.time) else as_time(self.time))  # type: ignore[arg-type]
        object.__setattr__(self, "metadata", _checked(self.metadata))


@dataclass(frozen=True, repr=False)
class CameraSummary(Guided):
    """The items of one camera.

    Attributes:
        camera: its name; None = unknown. count: number of items.
        first, last: their earliest and latest time, in UTC; None if no time is known.
    """

    camera: str | None
    count: int
    first: datetime | None
    last: datetime | None

    def __or__(self, other: CameraSummary) -> CameraSummary:
        """Both together, under this one's name."""
        first = min((time for time in (self.first, other.first) if time), default=None)
        last = max((time for time in (self.last, other.last) if time), default=None)
        return CameraSummary(self.camera, self.count + other.count, first, last)


@dataclass(frozen=True, eq=False, repr=False)
class GalleryRecords(Guided):
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


def is_unknown(value: object) -> bool:
    """Whether a value means unknown: None, NaN, NaT and NA of numpy and pandas, and an empty text.

    Example:
        >>> [is_unknown(value) for value in (None, float("nan"), "", 0, "nan")]
        [True, True, True, False, False]
    """
    value = scalar(value)
    return not value if isinstance(value, str) else id_values.is_unknown(value)


def scalar(value: object) -> object:
    """A number or text of numpy or PyTorch as Python's own; anything else as it is."""
    alone = (isinstance(value, np.generic | np.ndarray) or is_tensor(value)) and not value.ndim
    return value if not alone or isinstance(value, np.datetime64 | np.timedelta64) else value.item()  # type: ignore[attr-defined]


def as_text(value: object, what: str) -> str:
    """A text or number as the text that names cameras and that filters compare: 17, 17.0, "17" and "17.0" as "17".

    Raises:
        DataError: something else (true, false and unknown values too), or a text that :func:`check_text` refuses.
    """
    text = plain_text(value)
    if text is None:
        got = "a number of thousands of digits" if isinstance(value, int) and value not in (0, 1) else f"{value!r:.80}"
        raise DataError(f"{what} is a text or a number, got {got} of type {type(value).__name__}.")
    return check_text(text, what)


def id_text(value: object) -> str:
    """An id as text: a number as its digits, and a text unchanged. So, unlike for cameras, "3.0" is not "3".

    Raises:
        DataError: something else, or a text that :func:`check_text` refuses.
    """
    return check_text(str(value), "An id") if isinstance(value, str) else as_text(value, "An id")


def plain_text(value: object) -> str | None:
    """Like :func:`as_text`, for any length; None where that raises an error."""
    value = scalar(value)
    if isinstance(value, float) and math.isfinite(value):
        value = int(value) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < _MOST_BITS:
        value = str(value)
    if not isinstance(value, str):
        return None
    whole = _WHOLE.fullmatch(value)
    return str(value) if whole is None else "0" if whole[1] == "-0" else whole[1]


def spellings(text: str) -> tuple[str, ...]:
    """A text of :func:`as_text`, and the forms in which former versions stored the same number.

    Example:
        >>> spellings("17"), spellings("a")
        (('17', '17.0'), ('a',))
    """
    if not re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
        return (text,)
    as_float = repr(float(text))
    return (text, f"{text}.0", *((as_float,) if "e" in as_float and int(float(text)) == int(text) else ()))


def check_text(text: str, what: str) -> str:
    """The text, if every store can keep and compare it.

    Raises:
        DataError: it is empty, longer than :data:`LONGEST_ID`, or contains a NUL or half a surrogate pair.
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
            plain = {key: _known(value) for key, value in metadata.items()}
            text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
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
    try:
        got = f"{metadata!r:.80}"
    except (ValueError, RecursionError):  # of numbers of very many digits, and of lists in very many lists
        got = f"a {type(metadata).__name__}"
    raise DataError(f"The gallery's metadata must be what JSON can hold: {problem}. Got {got}.")


def _known(value: object) -> object:
    return None if not isinstance(value, str) and is_unknown(value) else scalar(value)


def _text_keys(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _text_keys(inner) for key, inner in value.items())
    return not isinstance(value, list | tuple) or all(map(_text_keys, value))
