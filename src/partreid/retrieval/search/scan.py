"""Bounds of the distances between a block of queries and a range of items, from their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numkong
import numpy as np
import torch
from torch import Tensor

from partreid.retrieval.search.bound import Block, Terms
from partreid.retrieval.search.codes import SlotCodes
from partreid.retrieval.search.kernels import accumulate, choose, normalised

_LANES = 16  # numbers that one instruction works on


@dataclass(frozen=True, eq=False)
class CodedQueries:
    """Q queries as :func:`candidates` takes them. Several are filled up to whole lanes with ones that see nothing.

    Attributes:
        codes: one packed [Q, D] matrix per slot. terms: each [S, Q].
        normalize: whether vectors are compared by their direction alone.
    """

    codes: Sequence[Any]
    terms: Terms
    normalize: bool

    @classmethod
    def build(cls, vectors: Tensor, weights: np.ndarray, *, normalize: bool) -> Self:
        """From [Q, S, D] vectors and their [Q, S] weights."""
        queries, slots, width = vectors.shape
        filled = queries if queries == 1 else -(-queries // _LANES) * _LANES
        coded = SlotCodes.build(vectors, torch.ones(queries, slots, dtype=torch.bool))
        _, scale, length, error, norm = coded.rows
        if normalize:
            scale, length, error = normalised(scale, length, error, norm)
        terms = np.zeros((4, slots, filled), np.float32)
        for term, values in zip(terms, (2 * scale, length, error, weights.T), strict=True):
            term[:, :queries] = values.reshape(slots, queries)
        codes = np.zeros((slots, filled, width), np.int8)
        codes[:, :queries] = coded.codes.reshape(slots, queries, width)
        return cls([numkong.dots_pack(matrix, dtype="int8") for matrix in codes], Terms(*terms), normalize)


@dataclass(frozen=True, eq=False)
class CodedFragment:
    """Consecutive items: their codes, and the weight of each compared slot as [N, S] float32; 0 = not compared."""

    codes: SlotCodes
    weights: np.ndarray


def candidates(
    queries: CodedQueries, fragment: CodedFragment, items: range, *, slots: Sequence[int], limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that share a slot and whose distance may lie within the query's limit.

    Args:
        queries: to compare with. fragment, items: some consecutive items of this fragment.
        slots: the codes' slot of each compared slot. limits: [Q] float32.

    Returns:
        [P, 2] int32 query and place within ``items``; [P, 2] float32 lower and upper bound of the distance.
    """
    n, (slot_count, width) = len(items), queries.terms.weights.shape
    block = Block(
        first=items.start,
        weights=fragment.weights[items.start : items.stop],
        low=np.zeros((n, width), np.float32),
        missing=np.zeros((n, slot_count), np.float32),
    )
    products = np.empty((n, width), np.int32)
    for s, slot in enumerate(slots):
        if queries.terms.weights[s].any():
            vectors, rows = fragment.codes.block(slot, items.start, items.stop)
            out = products[: len(vectors)]
            if len(vectors):
                numkong.dots_packed(vectors, queries.codes[s], out=numkong.from_dlpack(out))
            accumulate(out, rows, Terms(*(term[s] for term in queries.terms)), queries.normalize, s, block)
    filled = np.zeros(width, np.float32)
    filled[: len(limits)] = limits
    return choose(block, queries.terms, filled)
