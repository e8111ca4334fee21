"""Pairs of a query and an item, as flat arrays, and their exact distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from partreid.functional.distance import paired_distances
from partreid.lazy import torch
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings

if TYPE_CHECKING:
    from torch import Tensor

CACHED = 2**24
"""Bytes for comparing chosen pairs at once, intermediate results included. More would not fit the processor's cache."""

Number = TypeVar("Number", "Tensor", np.ndarray)


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a query and an item with some numbers each.

    Attributes:
        query, position: [P] int64.
        numbers: [P, 2] lower and upper bound of the distance, [P, 1] the distance, or [P, 0] nothing.
    """

    query: np.ndarray
    position: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, some: np.ndarray) -> Pairs:
        return Pairs(self.query[some], self.position[some], self.numbers[some])

    @property
    def distances(self) -> np.ndarray | None:
        """[P] distances; None if they are not known."""
        return self.numbers[:, 0] if self.numbers.shape[1] == 1 else None

    @classmethod
    def none(cls, numbers: int = 1) -> Pairs:
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, numbers), np.float32))

    @classmethod
    def cat(cls, several: Sequence[Pairs]) -> Pairs:
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(p).values() for p in several), strict=True)))

    def ranked(self) -> tuple[Pairs, np.ndarray]:
        """Pairs sorted by query, then by first number, then by position; and each pair's rank (from 0) in its query."""
        pairs = self[np.lexsort((self.position, self.numbers[:, 0], self.query))]
        return pairs, np.arange(len(pairs)) - np.searchsorted(pairs.query, pairs.query)

    def nearest(self, k: int) -> Pairs:
        """The first k pairs of each query and ties with the k-th, ranked."""
        pairs, ranks = self.ranked()
        limits = np.full(int(pairs.query[-1]) + 1 if len(pairs) else 0, np.inf)
        kth = ranks == k - 1
        limits[pairs.query[kth]] = with_ties(pairs.numbers[kth, 0].astype(np.float64))
        return pairs[pairs.numbers[:, 0] <= limits[pairs.query]]


def with_ties(distances: Number) -> Number:
    """The largest distance that may be a tie with this one, because two ways of computing a distance differ: each errs
    by at most 1e-4 (relative), or by 1e-6 between identical vectors."""
    return distances * (1 + 2.0**-12) + 2e-6


def exact_distances(
    query: PartEmbeddings,
    items: Callable[[Tensor], PartEmbeddings],
    pairs: Pairs,
    matching: MatchingConfig,
    *,
    memory_budget: int,
) -> np.ndarray:
    """[P] exact distances of pairs.

    Args:
        query: [Q, S, D], prepared by ``matching``. items: returns the items at given positions, prepared too.
        memory_budget: bytes to work in.
    """
    step = max(1, min(memory_budget, CACHED) // (8 * 4 * query.width * len(query.slots)))
    found = [np.empty(0, np.float32)]
    for start in range(0, len(pairs), step):
        left, right = (torch.from_numpy(column[start : start + step]) for column in (pairs.query, pairs.position))
        some = paired_distances(
            query[left],
            items(right),
            normalize=matching.normalize,
            visibility=matching.visibility,
            weights=matching.weights,
        )
        found.append(some.numpy())
    return np.concatenate(found)
