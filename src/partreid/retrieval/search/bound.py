"""The numbers that bound the distance of coded vectors, and where the bound holds. docs/search.md has the proof."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SLACK = 1 + 2.0**-9
"""Factor on a limit. It covers the rounding of weights and sums, and a relative error of 2^-12 in each of the two
distances that are compared."""

SMALLEST, LARGEST = 2.0**-30, 2.0**30
"""Between these lengths nothing overflows, and nothing loses digits to underflow. Weights only have the lower limit."""

MOST_SLOTS, WIDEST = 1000, 2**16
"""The most slots, and the most numbers per vector, for which the proof counts roundings and products fit 32 bits."""


class Rows(NamedTuple):
    """Columns with one number per coded vector v ≈ scale · code.

    Attributes:
        items: int32, the vector's item. scales: float32. lengths: float32 |scale · code|².
        errors: float32, an upper bound of |v - scale · code|, rounding included. norms: float32 |v|.
    """

    items: np.ndarray
    scales: np.ndarray
    lengths: np.ndarray
    errors: np.ndarray
    norms: np.ndarray


class Terms(NamedTuple):
    """Numbers of Q queries in one slot [Q], or in all slots [S, Q]; float32.

    Attributes:
        doubled: twice the scale. lengths, errors: as in :class:`Rows`. weights: 0 = the slot is not compared.
    """

    doubled: np.ndarray
    lengths: np.ndarray
    errors: np.ndarray
    weights: np.ndarray


class Block(NamedTuple):
    """Sums for n consecutive items and Q queries; float32.

    Attributes:
        first: the first item. weights: [n, S].
        low: [n, Q] sum over the slots of weight times lower bound. missing: [n, S] weight times the item's error.
    """

    first: int
    weights: np.ndarray
    low: np.ndarray
    missing: np.ndarray
