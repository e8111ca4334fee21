"""Converting numbers from users: whole numbers for options, arrays of any library to tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from partreid.errors import ShapeError
from partreid.lazy import torch

if TYPE_CHECKING:  # what only counts must not wait for PyTorch and NumPy
    import numpy as np
    from torch import Tensor


def require_whole(name: str, value: object, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """The value of an option that counts something, as a Python number.

    Raises:
        ShapeError: it is not a whole number (nor are true, false and 2.0), too small or too large.

    Example:
        >>> require_whole("max_rank", np.int64(50), least=1)
        50
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        came = f"one of {number.bit_length()} bits" if number.bit_length() > 256 else f"{value!r:.80}"
        limits = f"of at most {most}" if number > most else f"of at least {least}"
        raise ShapeError(f"{name} is a whole number {limits}, got {came}.")
    return number


def in_order(name: str, values: object) -> None:
    """Check that values given for single images have an order, because a set would mix them up.

    Raises:
        ShapeError: they are a set.
    """
    if isinstance(values, set | frozenset):
        raise ShapeError(
            f"{name} must be in the order of the images, but a set has no order: {values!r:.80}. Give a list."
        )


def as_tensor(name: str, values: Any) -> Tensor:
    """Numbers as a tensor, from a tensor (unchanged), an array of any library (without a copy if PyTorch can use it),
    or nested lists.

    Raises:
        ShapeError: they are not numbers, or some are masked and so have no value.

    Example:
        >>> as_tensor("vectors", np.ones((2, 3), np.float16)[::-1]).dtype
        torch.float16
    """
    import numpy as np

    if isinstance(values, torch.Tensor):
        return values
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ShapeError(f"{name}: some values are masked. Fill them in, or leave them out.")
    try:
        array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if array.dtype.kind not in "fiubc":
            raise ShapeError(f"{name} must be numbers, got {array.dtype}: {values!r:.80}.")
        if array.dtype.kind == "f" and array.itemsize > 8:
            array = array.astype(np.float64)
        if array.dtype.kind == "u" and array.itemsize > 1:  # PyTorch computes with uint8 alone
            array = array.astype(np.int64 if array.itemsize < 8 else np.float64)
        array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)).reshape(array.shape)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except ShapeError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ShapeError(f"{name} must be a tensor or an array of numbers: {error}") from None


def as_floating(name: str, values: Tensor | np.ndarray | Sequence[Any]) -> Tensor:
    """A tensor; Python's own numbers, which are of no precision in particular, in PyTorch's usual one."""
    tensor = as_tensor(name, values)
    own = tensor.dtype == torch.float64 and isinstance(values, Sequence)
    return tensor.to(torch.get_default_dtype()) if own else tensor


def chosen(rows: Tensor, index: slice | Tensor) -> Tensor:
    """``rows[index]``; on the CPU positions go through ``index_select``, which takes a third of the time."""
    if isinstance(index, slice) or index.ndim != 1 or index.dtype != torch.int64 or not len(index):
        return rows[index]
    if rows.device.type == index.device.type == "cpu" and 0 <= int(index.min()) <= int(index.max()) < len(rows):
        return rows.index_select(0, index)
    return rows[index]  # brackets know negative positions, and say which one is wrong
