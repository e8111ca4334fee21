"""Checks that several tensor functions share."""

from __future__ import annotations

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


def require_share(name: str, value: float) -> None:
    """Whether a number lies in [0, 1].

    Raises:
        ShapeError: it does not.
    """
    if not 0 <= value <= 1:
        raise ShapeError(f"{name} must lie in [0, 1], got {value}.")
