"""k-reciprocal re-ranking on sparse neighbourhoods (Zhong et al. 2017, the paper's reference [44]).

Two images that are among each other's nearest images probably show one person. Queries and gallery together are N
images. Each is described by the weights of its reciprocal neighbours, a sparse row of N numbers. The Jaccard distance
of two rows is mixed with the original distance. Equation numbers here are those of that paper.

The paper leaves some points open. Here an image stands first in its own list, at distance 0, so that R(p, k) contains
it and at most k others. N(p, k2) of Eq. 11 has k2 members, the image included. Distances are divided by the largest
finite one of their image, so that e^-d (Eq. 7) and the mixture (Eq. 12) do not depend on the embedding's scale. The
paper's distance is squared; here it is the distance by which images are compared, whatever it is. An infinite distance
(no slot visible in both) never makes a neighbour.

Lists are [N, k] and rows are sparse, so a matrix of [N, N] never exists. NumPy does the work on the CPU, because it is
sets and sorting with hardly any arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.errors import ShapeError
from partreid.types.numbers import require_whole

Indices = NDArray[np.int64]
_CHUNK_BYTES = 64 * 2**20
"""Largest size of an intermediate array for one chunk of images."""


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A sparse matrix: row ``i`` has ``weights[starts[i]:starts[i + 1]]`` in ``columns[starts[i]:starts[i + 1]]``.

    It replaces ``scipy.sparse.csr_array``, because SciPy would add 143 MB to every installation.

    Attributes:
        starts: [rows + 1] int64. columns: [M] int64, ascending within a row. weights: [M] float32, not negative.
        width: number of columns.
    """

    starts: Indices
    columns: Indices
    weights: NDArray[np.float32]
    width: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def from_pairs(
        cls, rows: Indices, columns: Indices, weights: NDArray[np.floating], shape: tuple[int, int]
    ) -> SparseRows:
        """Build it from one entry per (row, column), in any order. Entries of weight 0 are left out."""
        kept = np.flatnonzero(weights)
        kept = kept[np.lexsort((columns[kept], rows[kept]))]
        starts = np.concatenate([[0], np.bincount(rows[kept], minlength=shape[0]).cumsum()])
        return cls(starts, columns[kept], weights[kept].astype(np.float32), shape[1])

    def __getitem__(self, some: slice) -> SparseRows:
        """Consecutive rows."""
        first, last, _ = some.indices(len(self))
        low, high = self.starts[first], self.starts[max(first, last)]
        starts = self.starts[first : max(first, last) + 1] - low
        return SparseRows(starts, self.columns[low:high], self.weights[low:high], self.width)

    def transposed(self) -> SparseRows:
        """Rows and columns exchanged."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return SparseRows.from_pairs(self.columns, rows, self.weights, (self.width, len(self)))

    def entries(self, rows: Indices) -> tuple[Indices, Indices]:
        """Positions of all entries of several rows, one row after the other, and the number of entries of each row."""
        counts = self.starts[rows + 1] - self.starts[rows]
        ends = counts.cumsum()
        shift = self.starts[rows] - (ends - counts)
        return np.arange(ends[-1] if len(ends) else 0) + np.repeat(shift, counts), counts


@torch.no_grad()
def nearest_neighbours(distances: Tensor, *, first: int, count: int) -> Tensor:
    """Neighbour lists of some of the N images, each with the image itself in front.

    Args:
        distances: [n, N] from images ``first``, ``first + 1``, ... to all; infinity allowed.
        count: number of other images.

    Returns:
        [n, 1 + min(count, N)] int64, nearest first; -1 if no other image is at a finite distance.

    Raises:
        ShapeError: ``count`` is below 1, or the images lie outside the N.
    """
    count = require_whole("count", count, least=1)
    if distances.ndim != 2 or not 0 <= first <= distances.shape[1] - len(distances):
        raise ShapeError(
            f"Expected distances [n, N] of images first..first + n - 1 < N, got {tuple(distances.shape)}, "
            f"first {first}."
        )
    own = torch.arange(first, first + len(distances), device=distances.device)[:, None]
    values, indices = distances.scatter(1, own, torch.inf).topk(min(count, distances.shape[1]), dim=1, largest=False)
    return torch.cat([own, indices.masked_fill(torch.isinf(values), -1)], dim=1)


def reciprocal_pairs(neighbours: Indices) -> tuple[Indices, Indices]:
    """Each image's expanded reciprocal neighbours R* (Eqs. 3 and 5), as pairs.

    R(p, k) are the neighbours of p that have p among their own neighbours. R*(p, k) adds R(q, k/2) for each q in
    R(p, k), if at least two thirds of R(q, k/2) are in R(p, k) already.

    Args:
        neighbours: [N, 1 + k], as :func:`nearest_neighbours` gives them.

    Returns:
        ``(rows, columns)``, both [M], ascending by row, then by column; each image is its own neighbour.
    """
    total, width = neighbours.shape
    mutual = _reciprocal(neighbours)
    closer = _reciprocal(neighbours[:, : 1 + width // 2])  # width is 1 + k, so this is k/2 rounded up
    keys = []
    for some in _chunks(total, width * closer.shape[1] * (width + 16)):
        own = mutual[some]
        offered = np.where((own >= 0)[:, :, None], closer[own], -1)  # [n, 1 + k, 1 + k/2]
        known = (offered[..., None] == own[:, None, None, :]).any(axis=3) & (offered >= 0)
        accepted = 3 * known.sum(axis=2) >= 2 * (offered >= 0).sum(axis=2)
        grown = np.where(accepted[:, :, None], offered, -1).reshape(len(own), -1)
        members = np.concatenate([own, grown], axis=1)
        row, place = (members >= 0).nonzero()
        keys.append(np.unique((row + some.start) * total + members[row, place]))
    return np.divmod(np.concatenate([np.empty(0, np.int64), *keys]), max(1, total))


def encode_neighbourhoods(
    neighbours: Indices, pairs: tuple[Indices, Indices], distances: NDArray[np.floating], *, k2: int
) -> SparseRows:
    """Each image as the weights of its neighbourhood (Eq. 7), averaged over its nearest (Eq. 11).

    Args:
        neighbours: [N, 1 + k], as :func:`nearest_neighbours` gives them.
        pairs: ``(rows, columns)`` of R*, each [M]. distances: [M] of the pairs, already scaled for e^-d.
        k2: number of averaged images, the image itself included; 1 = no averaging.

    Returns:
        N rows of width N.
    """
    total = len(neighbours)
    encoding = SparseRows.from_pairs(*pairs, np.exp(-distances), (total, total))
    keys, weights = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for some in _chunks(total, 64 * min(k2, neighbours.shape[1]) * (1 + len(encoding.columns) // max(1, total))):
        members = neighbours[some, :k2]
        row, place = (members >= 0).nonzero()
        at, counts = encoding.entries(members[row, place])
        weight = 1 / (members >= 0).sum(axis=1)
        key, entry = np.unique(np.repeat(row, counts) * total + encoding.columns[at], return_inverse=True)
        keys.append(key + some.start * total)
        mean = np.bincount(entry, encoding.weights[at] * np.repeat(weight[row], counts), minlength=len(key))
        weights.append(mean.astype(np.float32))
    rows, columns = np.divmod(np.concatenate(keys), max(1, total))
    return SparseRows.from_pairs(rows, columns, np.concatenate(weights), (total, total))


def jaccard_distances(query: SparseRows, gallery: SparseRows) -> NDArray[np.float32]:
    """1 - Σ min(V_q, V_g) / Σ max(V_q, V_g) of neighbourhoods (Eq. 10).

    Args:
        query: Q rows of width N. gallery: G rows of width N, :meth:`SparseRows.transposed`: N rows of width G.

    Returns:
        [Q, G] in [0, 1]; 1 where two images have no neighbour in common.

    Raises:
        ShapeError: the gallery was not transposed.
    """
    if len(gallery) != query.width:
        raise ShapeError(f"Expected a transposed gallery of {query.width} rows, got {len(gallery)}.")
    mass = np.bincount(gallery.columns, gallery.weights, minlength=gallery.width)
    result = np.empty((len(query), gallery.width), np.float32)
    for i in range(len(query)):
        own = slice(query.starts[i], query.starts[i + 1])
        at, counts = gallery.entries(query.columns[own])
        shared = np.minimum(np.repeat(query.weights[own], counts), gallery.weights[at])
        common = np.bincount(gallery.columns[at], shared, minlength=gallery.width)  # Σ min
        result[i] = 1 - common / (query.weights[own].sum(dtype=np.float64) + mass - common)  # Σ max = |q| + |g| - Σ min
    return result


def _reciprocal(neighbours: Indices) -> Indices:
    """R(p, k) of Eq. 3: the list with -1 where the neighbour does not have the image in its own list."""
    kept = np.empty_like(neighbours)
    for some in _chunks(len(neighbours), 9 * neighbours.shape[1] ** 2):
        own = neighbours[some]
        # -1 reads the last image's list, but it is no neighbour in any case.
        mutual = (neighbours[own] == own[:, :1, None]).any(axis=2) & (own >= 0)
        kept[some] = np.where(mutual, own, -1)
    return kept


def _chunks(total: int, bytes_each: int) -> Iterator[slice]:
    step = max(1, _CHUNK_BYTES // bytes_each)
    return (slice(start, min(start + step, total)) for start in range(0, total, step))
