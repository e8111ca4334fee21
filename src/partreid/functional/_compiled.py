"""Loops compiled by numba, for computations in which PyTorch and NumPy need many passes over memory.

The module is imported only where it is used. Compiled code on disk is valid until this file changes, so all constants
stand here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

Array = np.ndarray
Function = TypeVar("Function", bound=Callable[..., Any])

_ZERO = np.float32(0)
_RECOMPUTE_BELOW = np.float32(1e-2)  # as in _blocks.py
_SHRINK_BELOW = 4  # as in _counting.py: a fraction of one in so many
_STRETCH = 64  # distances checked at once for ones to keep; most such pieces contain none


def _compiled(function: Function) -> Function:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(function, cache=True, **options)  # type: ignore[no-any-return]
    except RuntimeError:  # there is no folder for compiled code
        return njit(function, **options)  # type: ignore[no-any-return]


@_compiled
def add_distances(
    products: Array, query: tuple[Array, ...], gallery: tuple[Array, ...], some: tuple[int, int], total: Array
) -> None:
    """Add one slot's weighted distances, computed from its products, for some queries of a block.

    Args:
        products: float32 -2ab, of each of the queries' rows with each of the gallery's.
        query, gallery: :meth:`partreid.functional._blocks.Block.slot`.
        some: first and last query. total: [q, g] to which the distances are added.
    """
    vectors, lengths, _, _, rows, factors = query
    others, other_lengths, weights, places, _, _ = gallery
    count = len(places)
    distance, spread = np.empty(count, np.float32), np.zeros(total.shape[1], np.float32)
    for i in range(*some):
        factor, row = factors[i], rows[i]
        if factor == _ZERO:
            continue
        product, length, sums = products[row], lengths[row], total[i]
        near = False
        for j in range(count):
            both = length + other_lengths[j]
            squared = product[j] + both
            near |= squared <= _RECOMPUTE_BELOW * both
            distance[j] = factor * weights[j] * np.sqrt(max(squared, _ZERO))
        if near:
            for j in range(count):
                both = length + other_lengths[j]
                if product[j] + both <= _RECOMPUTE_BELOW * both:
                    squared = _ZERO
                    for d in range(vectors.shape[1]):
                        apart = vectors[row, d] - others[j, d]
                        squared += apart * apart
                    distance[j] = factor * weights[j] * np.sqrt(squared)
        # First spread out in the cache, then added in order, because adding at scattered places in memory is slow.
        for j in range(count):
            spread[places[j]] = distance[j]
        for k in range(len(spread)):
            sums[k] += spread[k]


@_compiled
def divide(total: Array, weight: Array, out: Array) -> None:
    """total / weight, or infinity if the weight is 0; all [q, g]."""
    for i in range(len(total)):
        sums, weights, means = total[i], weight[i], out[i]
        for k in range(len(sums)):
            means[k] = sums[k] / weights[k] if weights[k] > _ZERO else np.float32(np.inf)


@_compiled
def count_nearer(distances: Array, row: Array, column: Array, count: Array) -> None:
    """See :func:`partreid.functional._counting.nearer`; the result is written to ``count`` [N] int64."""
    breadth = distances.shape[1]
    left, places = np.empty(breadth, distances.dtype), np.empty(breadth, np.int64)
    query, size = -1, 0
    for k in range(len(row) - 1, -1, -1):
        if row[k] != query:
            query, size = row[k], breadth
        every, at = distances[query], column[k]
        limit = every[at]
        seen = every if size == breadth else left[:size]
        if size < breadth:
            at = np.searchsorted(places[:size], at)
        before = 0
        for j in range(at):
            before += seen[j] <= limit
        for j in range(at, size):
            before += seen[j] < limit
        count[k] = before
        if before * _SHRINK_BELOW < size:
            kept = 0
            for start in range(0, size, _STRETCH):
                stop, some = min(start + _STRETCH, size), False
                for j in range(start, stop):
                    some |= seen[j] <= limit
                if some:
                    for j in range(start, stop):
                        if seen[j] < limit or (seen[j] == limit and j < at):
                            left[kept], places[kept] = seen[j], j if size == breadth else places[j]
                            kept += 1
            size = before
