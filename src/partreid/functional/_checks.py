"""Checks that several tensor functions share."""

from __future__ import annotations

import sys
from numbers import Real
from typing import TYPE_CHECKING

from partreid.errors import ShapeError, WrongTypeError
from partreid.lazy import is_tensor, torch

if TYPE_CHECKING:
    from torch import Tensor


def require_float(tensor: Tensor, shape: str) -> Tensor:
    """Check that a tensor is floating point and has as many dimensions as ``shape``, e.g. "maps [B, M, H, W]".

    Raises:
        ShapeError: it is not, or another dimension than the batch is empty. WrongTypeError: it is no tensor.
    """
    if not is_tensor(tensor):
        raise WrongTypeError(f"Expected floating-point {shape} as a tensor, got {type(tensor).__name__}.")
    if tensor.ndim != shape.count(",") + 1 or 0 in tensor.shape[1:] or not tensor.is_floating_point():
        raise ShapeError(f"Expected floating-point {shape}, got {tensor.dtype} {tuple(tensor.shape)}.")
    return tensor


def require_attention(attention: Tensor) -> Tensor:
    """Check that attention maps have at least one part beside the background.

    Raises:
        ShapeError: they do not.
    """
    if require_float(attention, "attention [B, K+1, H, W]").shape[1] < 2:
        raise ShapeError(f"Expected attention [B, K+1, H, W] with K >= 1, got {tuple(attention.shape)}.")
    return attention


def require_identities(name: str, pids: Tensor) -> Tensor:
    """Check that identities of a batch are whole numbers [B] of at least 0. Unknown ones (-1, NaN) are no identities.

    Values are checked on a CPU only, because on a GPU the check would wait for the device at every step.

    Raises:
        ShapeError: they are not.
    """
    if not is_tensor(pids):
        raise WrongTypeError(f"Expected {name} [B] as a tensor of whole numbers, got {type(pids).__name__}.")
    if pids.ndim != 1 or not is_whole(pids):
        raise ShapeError(f"Expected {name} [B] of whole numbers, got {pids.dtype} {tuple(pids.shape)}.")
    if pids.device.type == "cpu" and (pids < 0).any():
        raise ShapeError(
            f"Expected {name} of at least 0, got {int(pids.min())}. Leave images of nobody in particular out."
        )
    return pids


def require_number(name: str, value: float, *, least: float = 0, most: float = sys.float_info.max) -> None:
    """Check that an option is a finite number within bounds. True and False do not count as numbers.

    Raises:
        ShapeError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value <= most:
        raise ShapeError(f"{name} must be a number in [{least:g}, {most:g}], got {value!r:.80}.")


def require_fraction(name: str, value: float) -> None:
    """Like :func:`require_number`, in [0, 1]."""
    require_number(name, value, most=1)


def is_whole(tensor: Tensor) -> bool:
    """Whether a tensor's type is one of whole numbers."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
