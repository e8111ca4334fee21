"""Bounds of all distances between a block of queries and the items of a fragment, from their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numkong
import numpy as np
import torch
from torch import Tensor

from partreid.retrieval.search.bound import Sums, Terms, describe
from partreid.retrieval.search.codes import SlotCodes
from partreid.retrieval.search.kernels import accumulate, choose

_LANES = 16  # numbers that one instruction works on; queries are filled up to a multiple


@dataclass(frozen=True, eq=False)
class QueryBlock:
    """Q queries, coded and laid out for :func:`candidates`, filled up with queries that see nothing.

    Attributes:
        codes: one packed [Q, D] matrix per slot. terms: each [S, Q].
    """

    codes: Sequence[Any]
    terms: Terms
    normalize: bool

    @classmethod
    def build(cls, vectors: Tensor, weights: np.ndarray, *, normalize: bool) -> Self:
        """From [Q, S, D] vectors and their [Q, S] weights."""
        queries, slots, width = vectors.shape
        filled = queries if queries == 1 else -(-queries // _LANES) * _LANES
        coded = SlotCodes.build(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool))
        scale, length, error = describe(*coded.rows[1:], normalize)
        columns = []
        for values in (2 * scale, length, error, weights.T.reshape(-1)):
            column = np.zeros((slots, filled), np.float32)
            column[:, :queries] = values.reshape(slots, queries)
            columns.append(column)
        codes = np.zeros((slots, filled, width), np.int8)
        codes[:, :queries] = coded.codes.reshape(slots, queries, width)
        return cls([numkong.dots_pack(matrix, dtype="int8") for matrix in codes], Terms(*columns), normalize)


def candidates(
    block: QueryBlock, codes: SlotCodes, slots: Sequence[int], weights: np.ndarray, limits: np.ndarray, items: range
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose distance may lie within the query's limit.

    Args:
        block: the queries. codes: the fragment's. slots: which of its slots to compare, one for each of the block's.
        weights: [N, S] float32, of the fragment's items in these slots; 0 = not compared.
        limits: [Q] float32. items: first and last of the items to look at.

    Returns:
        [P, 2] int32 query and item; [P, 2] float32 lower and upper bound.
    """
    first, last, queries = items.start, items.stop, block.terms.weights.shape[1]
    weights = weights[first:last]
    sums = Sums(np.zeros((len(items), queries), np.float32), np.zeros(weights.shape, np.float32))
    products = np.empty((len(items), queries), np.int32)
    for s, slot in enumerate(slots):
        if not block.terms.weights[s].any():
            continue
        rows_codes, rows = codes.block(slot, first, last)
        if len(rows_codes):
            out = products[: len(rows_codes)]
            numkong.dots_packed(rows_codes, block.codes[s], out=numkong.from_dlpack(out))
            accumulate(out, rows, weights, Terms(*(t[s] for t in block.terms)), block.normalize, s, sums)
    filled = np.zeros(queries, np.float32)
    filled[: len(limits)] = limits
    return choose(sums, weights, block.terms, filled)
