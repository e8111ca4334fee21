"""Reading ids: from every type of number and text that people have to whole numbers of Python's, text, or unknown."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from partreid.errors import ShapeError
from partreid.lazy import is_tensor, torch

if TYPE_CHECKING:
    from torch import Tensor

Ids: TypeAlias = "Sequence[int | str | None] | np.ndarray | Tensor"
"""Whole numbers or text, None where unknown: lists, arrays, tensors, and columns of pandas, pyarrow or polars."""

UNKNOWN_TEXT = frozenset({
    "", "-", "?", "nan", "+nan", "-nan", "none", "null", "nil", "nat", "na", "n/a", "#n/a", "<na>", "undefined",
    "unknown",
})  # fmt: skip
"""How programs and people write a missing value, in lower case."""
_LONGEST = 1328  # bits, 400 digits: Python writes no number of thousands


def as_id(value: object) -> int | str | None:
    """One id as plain Python's: a whole number, text, or None where it is unknown.

    Raises:
        ShapeError: it is neither; the message begins with what came.

    Example:
        >>> as_id(np.float32(3)), as_id("0003_c1"), as_id(float("nan")), as_id(" ")
        (3, '0003_c1', None, None)
    """
    if (isinstance(value, np.ndarray) or is_tensor(value)) and value.ndim == 0 and value is not np.ma.masked:
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="surrogateescape")
    if is_unknown(value):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float | np.floating | Decimal):
        return _whole(value)
    if isinstance(value, bool | np.bool_):
        raise ShapeError(f"{value} is true or false, not an id. Was a mask passed? Number them with .astype(int).")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        kind = type(value).__name__
        raise ShapeError(f"{value!r:.80} ({kind}) is neither a whole number nor text. Number them first.") from None
    if number.bit_length() > _LONGEST:
        raise ShapeError("A whole number of more than 400 digits is no id. Number them first.")
    return number


def is_unknown(value: object) -> bool:
    """Whether a value stands for one that is missing.

    Example:
        >>> [is_unknown(value) for value in (None, float("nan"), "", "NaN", 0, -1, "0")]
        [True, True, True, True, False, False, False]
    """
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return value.strip().casefold() in UNKNOWN_TEXT
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _whole(value: float | np.floating[Any] | Decimal) -> int:
    if not np.isfinite(float(value)) or value != int(value):
        raise ShapeError(f"{value} is no whole number. Number them first.")
    if not isinstance(value, Decimal):
        limit = _exact_below(value.dtype if isinstance(value, np.floating) else np.dtype(float))
        if abs(float(value)) >= limit:
            raise ShapeError(f"{value} {_not_exact(limit)}")
    return int(value)


def _exact_below(dtype: np.dtype[Any]) -> int:
    """From which number on a floating type takes neighbours for one; at most what int64 holds."""
    return 1 << min(63, int(np.finfo(dtype).nmant) + 1)


def _not_exact(limit: int) -> str:
    return (
        f"is too large for its floating type, which takes neighbours from {limit} on for one number. Give whole "
        "numbers of an integer type, or text."
    )


def read_ids(name: str, values: object, size: int | None) -> np.ndarray:
    """A column of ids, [N] int64; or where that cannot hold them [N] objects: int, text, or None for unknown.

    Raises:
        ShapeError: not as many as images, or one is neither a whole number nor text.
    """
    array = _array(name, values, size)
    if array.ndim != 1 or (size is not None and len(array) != size):
        expected = "one id for each image" if size is None else f"{size} ids, one for each image"
        raise ShapeError(f"{name} must hold {expected}, got shape {array.shape}.")
    if array.dtype.kind == "i" or (array.dtype.kind == "u" and (array.itemsize < 8 or not (array >> 63).any())):
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        limit = _exact_below(array.dtype)
        if (np.abs(array) < limit).all() and (array == np.trunc(array)).all():
            return array.astype(np.int64)
    if array.dtype.kind not in "OUTSfu":
        raise ShapeError(f"{name} must be whole numbers or text, got {array.dtype}. Number them first.")
    result = []
    for i, value in enumerate(array if array.dtype.kind == "f" else array.tolist()):  # a float keeps its precision
        try:
            result.append(as_id(value))
        except ShapeError as error:
            raise ShapeError(f"{name}, image {i}: {error}") from None
    return items(result)


def _array(name: str, values: object, size: int | None) -> np.ndarray:
    """The values as an array, none of them changed."""
    try:
        if is_tensor(values):
            return _array_of_tensor(name, values)
        if isinstance(values, np.ma.MaskedArray):
            return items(values.tolist()) if values.ndim == 1 else np.asarray(values)  # None where masked
        if isinstance(values, np.ndarray):
            return values
        for method in ("to_pylist", "to_numpy", "__array__"):  # pyarrow; pandas and polars; others
            if hasattr(values, method):
                found = getattr(values, method)()
                return items(found) if isinstance(found, list) else np.asarray(found)
    except ShapeError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ShapeError(f"{name} cannot be read: {error} Give a list of whole numbers or text.") from None
    if not isinstance(values, Collection) or isinstance(values, str | bytes | Mapping | set | frozenset):
        raise ShapeError(f"{name} must be whole numbers or text, one for each image, got {values!r:.80}.")
    if size is not None and len(values) != size:
        raise ShapeError(f"{name} must hold {size} ids, one for each image, got shape ({len(values)},).")
    return items(list(values))


def _array_of_tensor(name: str, tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # NumPy has none
        limit = round(2 / torch.finfo(tensor.dtype).eps)
        if bool((tensor.abs() >= limit).any()):
            raise ShapeError(f"{name}: an id {_not_exact(limit)}")
        tensor = tensor.float()
    array: np.ndarray = tensor.numpy()
    return array


def items(values: list[Any]) -> np.ndarray:
    """[N] of a list; numbers never become text, nor large ones floats."""
    kinds = set(map(type, values))
    if kinds == {int}:
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    elif len(kinds) == 1 and issubclass(next(iter(kinds)), float | np.number):
        return np.asarray(values)
    result = np.empty(len(values), object)
    for i, value in enumerate(values):
        result[i] = value
    return result
