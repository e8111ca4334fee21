"""The two sides of a comparison, and blocks of their images: slot by slot, the rows that count alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from partreid.functional.euclidean import squared_lengths
from partreid.types import PartEmbeddings

_SHORTEST = 1e-12  # what a shorter vector is divided by when it is normalised


class Block(NamedTuple):
    """Some images of one side, n of them. A row is one image's vector of one slot.

    Attributes:
        vectors: [S, n, D] of each slot ``counts`` rows. lengths: [S, n] their squared lengths.
        weights: [S, n] their factors. counts: of each slot. places: [S, n] int64 the image that each row is of.
        rows: [S, n] int64 the row of each image; 0 where it has none.
        factors: [S, n] of each image; 0 where it has no row.
    """

    vectors: Tensor
    lengths: Tensor
    weights: Tensor
    counts: list[int]
    places: Tensor
    rows: Tensor
    factors: Tensor

    def slot(self, slot: int) -> tuple[np.ndarray, ...]:
        """One slot for compiled loops: vectors, lengths, weights and places of its rows; row and factor of each
        image."""
        own = (t[slot, : self.counts[slot]] for t in (self.vectors, self.lengths, self.weights, self.places))
        return tuple(tensor.numpy() for tensor in (*own, self.rows[slot], self.factors[slot]))


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison.

    Attributes:
        vectors: [N, S, D]. factors: [N, S] this side's share of each slot's weight, in the working precision.
        lengths: [N, S] squared lengths of the vectors as they are compared.
        scale: [N, S] what the vectors are multiplied with first; None = nothing.
    """

    vectors: Tensor
    factors: Tensor
    lengths: Tensor
    scale: Tensor | None

    @classmethod
    def of(cls, embeddings: PartEmbeddings, factors: Tensor, *, normalize: bool, memory_budget: int) -> Side:
        """A side in the precision of its factors [N, S].

        Raises:
            ShapeError: as :func:`~partreid.functional.euclidean.squared_lengths`.

        Example:
            >>> e = PartEmbeddings(torch.full((2, 1, 4), 2.0), torch.tensor([[1.0], [0.0]]), ("foreground",))
            >>> side = Side.of(e, e.visibility, normalize=False, memory_budget=1000)
            >>> side.block(slice(0, 2), torch.empty(1, 2, 4)).counts  # the second row does not count
            [1]
        """
        lengths = squared_lengths(embeddings, dtype=factors.dtype, memory_budget=memory_budget)
        if not normalize:
            return cls(embeddings.vectors, factors, lengths, None)
        length = lengths.sqrt_()
        scale = 1 / length.clamp(min=_SHORTEST)
        return cls(embeddings.vectors, factors, length.mul_(scale).square_(), scale)

    def __len__(self) -> int:
        return len(self.vectors)

    def block(self, some: slice, space: Tensor | None) -> Block:
        """Some images.

        Args:
            space: [S, at least n, D] to gather the rows in that have a factor above 0; None = every row counts, and
                stays where it is if it needs no change.
        """
        factors, lengths = self.factors[some].T.contiguous(), self.lengths[some].T
        if space is None:
            every = torch.arange(factors.shape[1], device=factors.device).expand_as(factors)
            vectors = self.vectors[some].to(lengths.dtype)
            if self.scale is not None:
                vectors = vectors * self.scale[some, :, None]
            counts = [every.shape[1]] * len(every)
            return Block(vectors.transpose(0, 1), lengths, factors, counts, every, every, factors)
        counted = factors > 0
        # A stable sort puts what counts in front.
        places = (~counted).to(torch.uint8).argsort(dim=1, stable=True)
        rows, counts = (counted.cumsum(dim=1) - 1).clamp_(min=0), counted.sum(dim=1).tolist()
        for slot, count in enumerate(counts):
            self._gather(slot, some.start + places[slot, :count], space[slot, :count])
        lengths, weights = lengths.gather(1, places), factors.gather(1, places)
        return Block(space[:, : factors.shape[1]], lengths, weights, counts, places, rows, factors)

    def _gather(self, slot: int, images: Tensor, out: Tensor) -> None:
        vectors = self.vectors[:, slot]
        if vectors.dtype == out.dtype:  # half the time of an index in brackets
            torch.index_select(vectors, 0, images, out=out)
        else:
            out.copy_(vectors.index_select(0, images))
        if self.scale is not None:
            out.mul_(self.scale[images, slot, None])
