"""Pairs of a query and an item, as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

Number = TypeVar("Number", Tensor, np.ndarray)


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

    def nearest(self, k: int) -> Pairs:
        """Ranked by their first number, what is among the k first of its query, or ties with the k-th."""
        pairs, ranks = self.ranked(0)
        limits = np.full(int(pairs.query[-1]) + 1 if len(pairs) else 0, np.inf)
        kth = ranks == k - 1
        limits[pairs.query[kth]] = with_ties(pairs.numbers[kth, 0].astype(np.float64))
        return pairs[pairs.numbers[:, 0] <= limits[pairs.query]]


def with_ties(distances: Number) -> Number:
    """Up to where a distance may belong to an item as near, given how exactly distances are computed: of two ways,
    each errs by at most 1e-4 (relative), or 1e-6 between identical vectors."""
    return distances * (1 + 2.0**-12) + 2e-6
