"""Converting ids of persons and cameras of any kind to numbers that can be compared.

Whole numbers are compared as numbers (1, 1.0 and ``np.int64(1)`` are the same). Text is compared as text ("1" and
"0001" are the same if all texts are whole numbers). If one side has text and the other numbers, they are refused,
because it is unclear which are the same. Unknown (None, NaN, NaT, pandas' NA, a masked or blank value) is not a value:
two unknown persons or cameras are not the same. Person -1 is junk, as in Market-1501: an image that is ignored, never a
person.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from partreid.errors import ShapeError
from partreid.types._id_values import Ids, items, read_ids

JUNK = -1
"""The person of images that are neglected."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,400}(\.0*)?")


def match_persons(query: Ids, gallery: Ids, *, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Persons of both sides as numbers, [Q] and [G] int64: equal numbers are one person, and :data:`JUNK` is junk.

    Raises:
        ShapeError: the numbers of ids and images differ; a person is unknown, or neither a whole number nor text;
            numbers and text are mixed, or a name is written in two ways; a query's person is below -1.

    Example:
        >>> match_persons([7, 8.0], np.array([8, -1, 7], np.int16), sizes=(2, 3))
        (array([7, 8]), array([ 8, -1,  7]))
        >>> match_persons(["ann", "-1"], ["-1", "ben", "ann"], sizes=(2, 3))
        (array([ 0, -1]), array([-1,  1,  0]))
    """
    names = ("query_pids", "gallery_pids")
    columns = [read_ids(*given) for given in zip(names, (query, gallery), sizes, strict=True)]
    for name, column in zip(names, columns, strict=True):
        _refuse_unknown(
            name, column, f"Give each image of nobody in particular the id {JUNK} (junk, neglected), or leave it out."
        )
    keys = _comparable(names, columns)
    _refuse_below(JUNK, names[0], keys[0], f"Persons are counted from 0, and {JUNK} is junk.")
    asked, stored = _numbers(keys)
    return asked, stored


def match_cameras(
    query: Ids | None, gallery: Ids | None, *, sizes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Cameras of both sides as numbers: equal numbers are one camera. None if they are unknown for all images.

    Raises:
        ShapeError: as :func:`match_persons`; cameras are known for some images only, or below 0.

    Example:
        >>> match_cameras(["door", "yard"], ["yard"], sizes=(2, 1))
        (array([0, 1]), array([1]))
        >>> match_cameras([None], None, sizes=(1, 5)) is None
        True
    """
    names = ("query_camids", "gallery_camids")
    columns = [
        None if values is None else read_ids(name, values, size)
        for name, values, size in zip(names, (query, gallery), sizes, strict=True)
    ]
    known = [column for column in columns if column is not None and not _all_unknown(column)]
    if len(known) == 1:
        raise ShapeError(
            "Only one of query_camids and gallery_camids is given. The rule for images of the same person and camera "
            "needs both; give both or neither."
        )
    if not known:
        return None
    for name, column in zip(names, known, strict=True):
        _refuse_unknown(name, column, "Give the cameras of all images, or of none (None).")
    keys = _comparable(names, known)
    for name, values in zip(names, keys, strict=True):
        _refuse_below(0, name, values, "Cameras are counted from 0; where they are unknown, give none of them (None).")
    asked, stored = _numbers(keys)
    return asked, stored


def person_classes(pids: Ids, *, name: str = "pid_index") -> np.ndarray:
    """Persons to train on as numbers, [N] int64: equal numbers are one person.

    Raises:
        ShapeError: as :func:`match_persons`; or a person is junk.
    """
    column = read_ids(name, pids, None)
    _refuse_unknown(name, column, "Leave images of nobody in particular out.")
    (keys,) = _comparable((name,), [column])
    _refuse_below(0, name, keys, f"Training classes are counted from 0; {JUNK} is junk: leave it out.")
    return _numbers([keys])[0]


def _all_unknown(column: np.ndarray) -> bool:
    return column.dtype == object and len(column) > 0 and all(value is None for value in column)


def _refuse_unknown(name: str, column: np.ndarray, advice: str) -> None:
    if column.dtype != object:
        return
    unknown = [i for i, value in enumerate(column) if value is None]
    if unknown:
        raise ShapeError(
            f"{name}: {len(unknown)} of {len(column)} are unknown (None, NaN or blank), the first is that of image "
            f"{unknown[0]}. Unknown is never equal to unknown. {advice}"
        )


def _refuse_below(lowest: int, name: str, keys: np.ndarray, advice: str) -> None:
    for i in np.flatnonzero(keys < lowest) if keys.dtype != object else range(len(keys)):
        if isinstance(keys[i], int | np.integer) and keys[i] < lowest:
            raise ShapeError(f"{name}, image {i}: expected {lowest} or more, got {keys[i]}. {advice}")


def _comparable(names: Sequence[str], columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The columns as what may be compared with ``==``: all numbers, or all text."""
    if all(column.dtype != object for column in columns):
        return list(columns)
    texts: list[tuple[str, int, str]] = []
    numbers: list[tuple[str, int, int]] = []
    for name, column in zip(names, columns, strict=True):
        for i, value in enumerate(column.tolist()):
            if isinstance(value, str):
                texts.append((name, i, value))
            else:
                numbers.append((name, i, value))
    if texts and numbers:
        (text_of, i, text), (number_of, j, number) = texts[0], numbers[0]
        raise ShapeError(
            f"{text_of} holds text ({text!r:.40} at image {i}) and {number_of} whole numbers ({number} at image "
            f"{j}): whether they mean the same cannot be known. Write all of them as numbers, or all as text."
        )
    if not texts:
        return list(columns)
    key = _keys(texts)
    return [items([key[text] for text in column]) for column in columns]


def _keys(texts: Iterable[tuple[str, int, str]]) -> dict[str, int | str]:
    """What each text is compared by: the number that it writes, or the text in Unicode's composed form.

    Where all are whole numbers, "1" and "0001" are one, as in a table. Among names they may be two.
    """
    keys: dict[str, int | str] = {}
    first: dict[int | str, tuple[str, int, str]] = {}
    doubt = ""
    for name, i, text in texts:
        if text not in keys:
            key = keys[text] = _number_or_text(text.strip())
            where, place, there = first.setdefault(key, (name, i, text))
            if there != text and not doubt:
                doubt = f"{where}, image {place}, is {there!a:.40} and {name}, image {i}, is {text!a:.40}: "
    if doubt and any(isinstance(key, str) for key in first):
        raise ShapeError(doubt + "one id written in two ways, or two ids? Write it in one way.")
    return keys


def _number_or_text(text: str) -> int | str:
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else unicodedata.normalize("NFC", text)


def _numbers(columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Numbers that are equal where the keys are; junk stays what it is."""
    if all(column.dtype == np.int64 for column in columns):
        return list(columns)
    place: dict[object, int] = {JUNK: JUNK}
    for column in columns:
        for key in column.tolist():
            place.setdefault(key, len(place) - 1)
    return [np.array([place[key] for key in column.tolist()], np.int64) for column in columns]
