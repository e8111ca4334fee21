"""Pairs of a query and an item, as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a query and an item with some numbers each.

    Attributes:
        query, position: [P] int64. numbers: [P, 2] lower and upper bound of the distance, or [P, 1] the distance.
    """

    query: np.ndarray
    position: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, some: np.ndarray) -> Pairs:
        """Chosen pairs, by index or mask."""
        return Pairs(self.query[some], self.position[some], self.numbers[some])

    @classmethod
    def cat(cls, several: Sequence[Pairs]) -> Pairs:
        """Several collections as one."""
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(p).values() for p in several), strict=True)))

    def ranked(self, column: int) -> tuple[Pairs, np.ndarray]:
        """By query, then by a number, then by position; and each pair's rank (from 0) among its query's."""
        pairs = self[np.lexsort((self.position, self.numbers[:, column], self.query))]
        return pairs, pairs.ranks()

    def ranks(self) -> np.ndarray:
        """[P] place of each pair among its query's (from 0), where pairs are sorted by query."""
        return np.arange(len(self)) - np.searchsorted(self.query, self.query)

    def table(self, queries: int, searched: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ranked pairs with their distance as [Q, k] positions and distances, filled up with infinity.

        Args:
            queries: Q. searched: positions of all items searched, ascending. k: at most their number.
        """
        indices, distances = np.full((queries, k), -1), np.full((queries, k), np.inf, self.numbers.dtype)
        indices[self.query, self.ranks()], distances[self.query, self.ranks()] = self.position, self.numbers[:, 0]
        for q in np.flatnonzero((indices < 0).any(axis=1)):
            # These are all items comparable with this query, so the first others are the first not comparable.
            missing = indices[q] < 0
            indices[q, missing] = np.setdiff1d(searched[:k], indices[q])[: missing.sum()]
        return indices, distances
