"""The inner loops of the coded search, compiled by numba. Imported only where a search runs on codes.

docs/search.md counts the roundings of these operations. Only :func:`quantise`, which sums in double precision, may have
them reordered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

from partreid.retrieval.search import bound
from partreid.retrieval.search.bound import ERROR_OF_SINGLE, LEVELS, TINY, Rows, Terms

Array = np.ndarray
Function = TypeVar("Function", bound=Callable[..., Any])

_ZERO = np.float32(0)


def _compiled(*reorder: str) -> Callable[[Function], Function]:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", *reorder}}

    def compile_it(function: Function) -> Function:
        try:
            return njit(function, cache=True, **options)  # type: ignore[no-any-return]
        except RuntimeError:  # no folder that compiled code can be kept in
            return njit(function, **options)  # type: ignore[no-any-return]

    return compile_it


_describe = _compiled()(bound.describe)


@_compiled("reassoc")
def quantise(vectors: Array, codes: Array, rows: Rows) -> None:
    """Write codes [N, D] of the vectors [N, D] float32, and all of ``rows`` but the items."""
    for i in range(len(vectors)):
        vector, code = vectors[i], codes[i]
        peak = _ZERO
        for d in range(len(vector)):
            peak = max(peak, abs(vector[d]))
        scale, inverse = _ZERO, _ZERO
        if peak > np.float32(TINY):
            scale, inverse = peak / np.float32(LEVELS), np.float32(LEVELS) / peak
        square, residual, norm = np.int32(0), 0.0, 0.0
        for d in range(len(vector)):
            level = np.int32(np.rint(vector[d] * inverse))
            code[d] = level
            square += level * level
            rest = np.float64(vector[d]) - np.float64(scale) * np.float64(level)
            residual += rest * rest
            norm += np.float64(vector[d]) * np.float64(vector[d])
        norm = np.sqrt(norm)
        rows.scales[i], rows.squares[i], rows.norms[i] = scale, square, norm
        rows.residuals[i] = np.sqrt(residual) * (1 + ERROR_OF_SINGLE) + norm * ERROR_OF_SINGLE


@_compiled()
def accumulate(products: Array, rows: Rows, weights: Array, terms: Terms, normalize: bool, slot: int, sums: Sums) -> None:
    """Add one slot to the sums of a block of n items.

    Args:
        products: [m, Q] int32 products of the codes of ``rows``, m vectors, with the queries'.
        weights: [n, S] of the items. terms: of the queries.
        normalize: whether vectors are compared by their direction alone.
    """
    for j in range(len(products)):
        item = rows.items[j]
        weight = weights[item, slot]
        if weight == 0:
            continue
        scale, length, error = _describe(rows.scales[j], rows.squares[j], rows.residuals[j], rows.norms[j], normalize)
        sums.missing[item, slot] = weight * error
        product, low = products[j], sums.low[item]
        for i in range(len(low)):
            squared = (terms.lengths[i] + length) - (terms.doubled[i] * scale) * np.float32(product[i])
            distance = np.sqrt(max(squared, _ZERO))
            low[i] += (weight * terms.weights[i]) * max(distance - (terms.errors[i] + error), _ZERO)


@_compiled()
def choose(sums: Sums, weights: Array, terms: Terms, limits: Array) -> tuple[Array, Array]:
    """The pairs that share a slot and whose lower bound lies within the query's limit.

    Args:
        sums: of the n items. weights: [n, S] of the items.
        terms: of all slots, each [S, Q]. limits: [Q] float32 largest distance that is of interest.

    Returns:
        [P, 2] int32 query and item, by item; [P, 2] float32 lower and upper bound of the distance (Eq. 9).
    """
    n, slots, queries = len(sums.low), weights.shape[1], len(limits)
    pairs, bounds, count = np.empty((64, 2), np.int32), np.empty((64, 2), np.float32), 0
    shared = np.empty(queries, np.float32)
    for j in range(n):
        shared[:] = 0
        for s in range(slots):
            for i in range(queries):
                shared[i] += weights[j, s] * terms.weights[s, i]
        some = False
        for i in range(queries):
            some |= (shared[i] > 0) & (sums.low[j, i] <= limits[i] * shared[i])
        if not some:
            continue
        if count + queries > len(pairs):
            pairs = np.concatenate((pairs, np.empty((len(pairs) + queries, 2), np.int32)))
            bounds = np.concatenate((bounds, np.empty((len(bounds) + queries, 2), np.float32)))
        for i in range(queries):
            if shared[i] > 0 and sums.low[j, i] <= limits[i] * shared[i]:
                missing = _ZERO
                for s in range(slots):
                    missing += terms.weights[s, i] * (sums.missing[j, s] + weights[j, s] * terms.errors[s, i])
                pairs[count, 0], pairs[count, 1] = i, j
                bounds[count, 0] = sums.low[j, i] / shared[i]
                bounds[count, 1] = (sums.low[j, i] + 2 * missing) / shared[i]
                count += 1
    return pairs[:count], bounds[:count]
