"""The inner loops of the coded search, compiled by numba. Imported only where a search runs on codes.

docs/search.md counts the roundings of these operations. Only :func:`quantise` may reorder its sums, because it sums in
double precision. All constants stand in this file, because the compiled code on disk is valid until the file changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

from partreid.retrieval.search.bound import Block, Rows, Terms

Array = np.ndarray
Function = TypeVar("Function", bound=Callable[..., Any])

_ZERO = np.float32(0)

LEVELS = 127  # each coordinate of a code is a whole number in -127..127
TINY = 1e-30  # a vector whose coordinates are all smaller is coded as zero

ERROR_OF_SINGLE = 2.0**-22
"""How far single precision may move a code's distance from its vector: a fraction of that distance, and of the
vector's length."""

ERROR_OF_LENGTH = 1.25 * 2.0**-10
"""How far rounding may move the distance of two coded vectors, as a fraction of each one's length."""

ERROR_OF_NORMALISING = 2.0**-16
"""How far a vector divided by its rounded length may lie from the vector of length 1."""


def compiled(*reorder: str) -> Callable[[Function], Function]:
    """Compile with numba, with these permissions to reorder sums. The result is kept on disk if possible."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", *reorder}}

    def compile_it(function: Function) -> Function:
        try:
            return njit(function, cache=True, **options)  # type: ignore[no-any-return]
        except RuntimeError:  # no folder that compiled code can be kept in
            return njit(function, **options)  # type: ignore[no-any-return]

    return compile_it


@compiled()
def normalised(scale: Any, length: Any, error: Any, norm: Any) -> tuple[Any, Any, Any]:
    """Scale, squared length and error of vectors after division by their length: numbers or arrays, float32."""
    inverse = np.float32(1) / np.maximum(norm, np.float32(TINY))
    return scale * inverse, length * inverse * inverse, error * inverse + np.float32(ERROR_OF_NORMALISING)


@compiled("reassoc")
def quantise(vectors: Array, codes: Array, rows: Rows) -> None:
    """Write the codes [N, D] of the vectors [N, D] float32, and all columns of ``rows`` except the items."""
    for i in range(len(vectors)):
        vector, code = vectors[i], codes[i]
        peak = _ZERO
        for d in range(len(vector)):
            peak = max(peak, abs(vector[d]))
        scale, inverse = _ZERO, _ZERO
        if peak > np.float32(TINY):
            scale, inverse = peak / np.float32(LEVELS), np.float32(LEVELS) / peak
        square, rest, norm = np.int32(0), 0.0, 0.0
        for d in range(len(vector)):
            level = np.int32(np.rint(vector[d] * inverse))
            code[d] = level
            square += level * level
            away = np.float64(vector[d]) - np.float64(scale) * np.float64(level)
            rest += away * away
            norm += np.float64(vector[d]) * np.float64(vector[d])
        norm, length = np.sqrt(norm), np.float64(scale) * np.float64(scale) * square
        rows.scales[i], rows.lengths[i], rows.norms[i] = scale, length, norm
        error = np.sqrt(rest) + ERROR_OF_LENGTH * np.sqrt(length)
        rows.errors[i] = error * (1 + ERROR_OF_SINGLE) + norm * ERROR_OF_SINGLE


@compiled()
def accumulate(products: Array, rows: Rows, terms: Terms, normalize: bool, slot: int, block: Block) -> None:
    """Add one slot to a block's sums.

    Args:
        products: [m, Q] int32 products of codes: of m vectors of the block, described by ``rows``, with Q queries.
        terms: of the queries in this slot. normalize: whether vectors are compared by their direction alone.
    """
    for j in range(len(products)):
        item = rows.items[j] - block.first
        weight = block.weights[item, slot]
        if weight == 0:
            continue
        scale, length, error = rows.scales[j], rows.lengths[j], rows.errors[j]
        if normalize:
            scale, length, error = normalised(scale, length, error, rows.norms[j])
        block.missing[item, slot] = weight * error
        product, low = products[j], block.low[item]
        for i in range(len(low)):
            squared = (terms.lengths[i] + length) - (terms.doubled[i] * scale) * np.float32(product[i])
            distance = np.sqrt(max(squared, _ZERO))
            low[i] += (weight * terms.weights[i]) * max(distance - (terms.errors[i] + error), _ZERO)


@compiled()
def _near(low: Array, limits: Array, shared: Array) -> Array:
    """[n] whether a row contains a candidate. It is separate from :func:`choose`, because a loop that allocates memory
    is much slower."""
    found = np.empty(len(low), np.bool_)
    for j in range(len(low)):
        sums, weights, some = low[j], shared[j], False
        for i in range(len(limits)):
            some |= (sums[i] <= limits[i] * weights[i]) & (weights[i] > 0)
        found[j] = some
    return found


@compiled()
def choose(block: Block, terms: Terms, limits: Array, shared: Array) -> tuple[Array, Array]:
    """The pairs that share a slot and whose lower bound lies within the query's limit.

    Args:
        terms: of all slots. limits: [Q] float32 largest distance that is of interest.
        shared: [n, Q] float32 weight that item and query share in all slots.

    Returns:
        [P, 2] int32 query and row of the block; [P, 2] float32 lower and upper bound of the distance (Eq. 9).
    """
    weights = block.weights
    slots, queries = terms.weights.shape
    pairs, bounds, count = np.empty((64, 2), np.int32), np.empty((64, 2), np.float32), 0
    for j in np.flatnonzero(_near(block.low, limits, shared)):
        low, of_row = block.low[j], shared[j]
        if count + queries > len(pairs):
            pairs = np.concatenate((pairs, np.empty((len(pairs) + queries, 2), np.int32)))
            bounds = np.concatenate((bounds, np.empty((len(bounds) + queries, 2), np.float32)))
        for i in range(queries):
            if low[i] <= limits[i] * of_row[i] and of_row[i] > 0:
                weight, missing = of_row[i], _ZERO
                for s in range(slots):
                    missing += terms.weights[s, i] * (block.missing[j, s] + weights[j, s] * terms.errors[s, i])
                pairs[count, 0], pairs[count, 1] = i, j
                bounds[count, 0] = low[i] / weight
                bounds[count, 1] = (low[i] + 2 * missing) / weight
                count += 1
    return pairs[:count], bounds[:count]


@compiled()
def smallest(queries: Array, numbers: Array, found: Array) -> None:
    """Keep the k smallest numbers of each query.

    Args:
        queries: [P] int64. numbers: [P]. found: [Q, k] ascending, infinity where there are fewer; updated in place.
    """
    last = found.shape[1] - 1
    for p in range(len(queries)):
        row, number = found[queries[p]], numbers[p]
        if number < row[last]:
            place = last
            while place > 0 and row[place - 1] > number:
                row[place] = row[place - 1]
                place -= 1
            row[place] = number
