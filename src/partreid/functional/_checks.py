"""Checks that several tensor functions share."""

from __future__ import annotations

import sys
from numbers import Real

import torch
from torch import Tensor

from partreid.errors import ShapeError


def require_float(tensor: Tensor, shape: str) -> Tensor:
    """The tensor, if it is floating point, not empty, and has as many dimensions as ``shape``: "maps [B, M, H, W]".

    An empty batch will do.

    Raises:
        ShapeError: it is not.
    """
    if tensor.ndim != shape.count(",") + 1 or 0 in tensor.shape[1:] or not tensor.is_floating_point():
        raise ShapeError(f"Expected floating-point {shape}, got {tensor.dtype} {tuple(tensor.shape)}.")
    return tensor


def require_identities(name: str, pids: Tensor) -> Tensor:
    """Identities of a batch, if they are whole numbers [B], none below 0: unknown (-1, NaN) is no identity.

    Values are looked at on a CPU only: on a GPU the check would wait for the device at every step.

    Raises:
        ShapeError: they are not.
    """
    whole = not (pids.is_floating_point() or pids.is_complex() or pids.dtype == torch.bool)
    if pids.ndim != 1 or not whole:
        raise ShapeError(f"Expected {name} [B] of whole numbers, got {pids.dtype} {tuple(pids.shape)}.")
    if pids.device.type == "cpu" and (pids < 0).any():
        raise ShapeError(
            f"Expected {name} of at least 0, got {int(pids.min())}. Leave images of nobody in particular out."
        )
    return pids


def require_number(name: str, value: float, *, least: float = 0, most: float = sys.float_info.max) -> None:
    """Whether an option is a finite number within bounds.

    Raises:
        ShapeError: it is not; true and false are no numbers.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value <= most:
        raise ShapeError(f"{name} must be a number in [{least:g}, {most:g}], got {value!r:.80}.")


def require_share(name: str, value: float) -> None:
    """Whether a number lies in [0, 1].

    Raises:
        ShapeError: it does not.
    """
    require_number(name, value, most=1)
