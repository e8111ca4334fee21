"""What the bound on a distance between coded vectors is made of, and where it holds. docs/search.md has the proof."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SLACK = 1 + 2.0**-9
"""Factor on a limit: rounding of weights and sums, and a relative error of 2^-12 in each of two compared distances."""

SMALLEST, LARGEST = 2.0**-30, 2.0**30
"""Lengths, and weights from below, between which nothing overflows or loses digits to underflow."""

MOST_SLOTS, WIDEST = 1000, 2**16
"""Slots, and numbers per vector, up to which the proof's count of roundings holds and products fit 32 bits."""


class Rows(NamedTuple):
    """What is known of coded vectors v ≈ scale · code: columns of one number each.

    Attributes:
        items: int32, the item a vector belongs to. scales: float32. lengths: float32 |scale · code|².
        errors: float32, at least |v - scale · code| and what rounding adds to it. norms: float32 |v|.
    """

    items: np.ndarray
    scales: np.ndarray
    lengths: np.ndarray
    errors: np.ndarray
    norms: np.ndarray


class Terms(NamedTuple):
    """What is known of Q queries in one slot [Q], or in all [S, Q]; float32.

    Attributes:
        doubled: twice the scale. lengths, errors: as in :class:`Rows`. weights: 0 = the slot is not compared.
    """

    doubled: np.ndarray
    lengths: np.ndarray
    errors: np.ndarray
    weights: np.ndarray


class Block(NamedTuple):
    """What is known of n consecutive items against Q queries; float32.

    Attributes:
        first: the first item. weights: [n, S].
        low: [n, Q] sum over the slots of weight times lower bound. missing: [n, S] weight times the item's error.
    """

    first: int
    weights: np.ndarray
    low: np.ndarray
    missing: np.ndarray
