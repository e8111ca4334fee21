"""The bound on a distance between coded vectors: its constants and its parts. docs/search.md has the proof."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

LEVELS = 127
"""A code is a whole number of -127..127 in each coordinate."""

ERROR_OF_SINGLE = 2.0**-22
"""What rounding to single precision may take from a residual's length: a share of it, and of the vector's length."""

ERROR_OF_NORMALISING = 2.0**-16
"""How far a vector divided by its rounded length may lie from the vector of length 1."""

ERROR_OF_LENGTH = 1.25 * 2.0**-10
"""How far rounding may move the distance of two coded vectors, as a share of each one's length."""

SLACK = 1 + 2.0**-9
"""Factor on a limit: rounding of weights and sums, and a relative error of 2^-12 in either of two compared scores."""

SMALLEST, LARGEST = 2.0**-30, 2.0**30
"""Lengths, and weights from below, between which nothing overflows or loses digits to underflow."""

TINY = 1e-30
"""A vector whose coordinates are all smaller is coded as zero."""

MOST_SLOTS, WIDEST = 1000, 2**16
"""Slots, and numbers per vector, up to which the proof's count of roundings holds and products fit 32 bits."""


class Rows(NamedTuple):
    """What is known of some coded vectors v ≈ scale · code, one number each.

    Attributes:
        items: int32 number of the item that a vector belongs to. scales: float32. squares: int32 Σ code².
        residuals: float32, at least |v - scale · code|. norms: float32 |v|.
    """

    items: np.ndarray
    scales: np.ndarray
    squares: np.ndarray
    residuals: np.ndarray
    norms: np.ndarray


class Terms(NamedTuple):
    """One slot of Q queries, each [Q] float32: twice the scale, squared length of scale · code, error, weight."""

    doubled: np.ndarray
    lengths: np.ndarray
    errors: np.ndarray
    weights: np.ndarray


class Sums(NamedTuple):
    """What is known of n items against Q queries; float32.

    Attributes:
        low: [n, Q] sum over the slots of weight times the lower bound of the distance.
        missing: [n, S] weight of the item times its error.
    """

    low: np.ndarray
    missing: np.ndarray


def describe(scale: Any, square: Any, residual: Any, norm: Any, normalize: bool) -> tuple[Any, Any, Any]:
    """Scale, squared length and error of coded vectors as they are compared: numbers or arrays, in single precision."""
    if normalize:
        inverse = np.float32(1) / np.maximum(norm, np.float32(TINY))
        scale, residual = scale * inverse, residual * inverse + np.float32(ERROR_OF_NORMALISING)
    length = scale * scale * np.float32(square)
    return scale, length, residual + np.float32(ERROR_OF_LENGTH) * np.sqrt(length)
