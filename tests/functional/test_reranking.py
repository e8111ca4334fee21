"""Sparse re-ranking against the equations of Zhong et al. as plain loops over sets and dense rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from partreid.errors import ShapeError
from partreid.functional import _reranking as reranking
from partreid.functional._reranking import (
    SparseRows,
    encode_neighbourhoods,
    jaccard_distances,
    nearest_neighbours,
    reciprocal_pairs,
)


def loops(distances: list[list[float]], queries: int, k1: int, k2: int, weight: float) -> list[list[float]]:
    """Final distances [Q, G] from all distances [N, N], equation by equation."""
    n = len(distances)
    everyone = range(n)

    def nearest(p: int, k: int) -> list[int]:
        others = sorted((g for g in everyone if g != p and distances[p][g] < math.inf), key=lambda g: distances[p][g])
        return [p, *others[:k]]

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in nearest(p, k) if p in nearest(g, k)}

    def expanded(p: int) -> set[int]:
        first = reciprocal(p, k1)
        result = set(first)
        for q in first:
            more = reciprocal(q, math.ceil(k1 / 2))
            if len(first & more) >= 2 / 3 * len(more) - 1e-9:
                result |= more
        return result

    largest = [max((d for d in row if d < math.inf), default=0) or 1 for row in distances]
    encoding = [[0.0] * n for _ in everyone]
    for p in everyone:
        for g in expanded(p):
            encoding[p][g] = 1.0 if g == p else math.exp(-distances[p][g] / largest[p])
    averaged = []
    for p in everyone:
        near = nearest(p, k2 - 1)
        averaged.append([sum(encoding[q][g] for q in near) / len(near) for g in everyone])
    final = []
    for q in range(queries):
        row = []
        for g in range(queries, n):
            both = list(zip(averaged[q], averaged[g], strict=True))
            jaccard = 1 - sum(map(min, both)) / sum(map(max, both))
            finite = distances[q][g] < math.inf
            row.append((1 - weight) * jaccard + weight * distances[q][g] / largest[q] if finite else math.inf)
        final.append(row)
    return final


def some_distances(n: int, *, seed: int, hidden: float = 0.0) -> torch.Tensor:
    """Clustered points; a share of the pairs is not comparable."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(4, 3, generator=generator)[torch.randint(0, 4, (n,), generator=generator)]
    points = points + 0.5 * torch.randn(n, 3, generator=generator)
    distances = torch.cdist(points.double(), points.double())
    lost = torch.rand(n, n, generator=generator).triu(1)
    lost = lost + lost.T
    return distances.masked_fill_((lost > 1 - hidden) & ~torch.eye(n, dtype=torch.bool), math.inf)


def sparse(distances: torch.Tensor, queries: int, k1: int, k2: int) -> np.ndarray:
    """Jaccard distances [Q, G], lists made in two blocks."""
    n = len(distances)
    half = n // 3
    lists = [nearest_neighbours(distances[s], first=s.start, count=k1) for s in (slice(0, half), slice(half, n))]
    neighbours = torch.cat(lists).numpy()
    rows, columns = reciprocal_pairs(neighbours)
    scale = distances.masked_fill(torch.isinf(distances), 0).amax(dim=1).clamp(min=1e-300).numpy()
    own = np.where(rows == columns, 0, distances.numpy()[rows, columns] / scale[rows])
    encoding = encode_neighbourhoods(neighbours, (rows, columns), own, k2=k2)
    return jaccard_distances(encoding[:queries], encoding[queries:].transposed())


@pytest.mark.parametrize("hidden", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (4, 2), (5, 3), (20, 6)])
def test_equals_plain_loops(k1: int, k2: int, hidden: float, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = some_distances(26, seed=k1, hidden=hidden)
    expected = np.array(loops(distances.tolist(), 7, k1, k2, weight=0.0))
    finite = np.isfinite(expected)
    assert finite.all() == (hidden == 0)
    got = sparse(distances, 7, k1, k2)
    np.testing.assert_allclose(got[finite], expected[finite], atol=1e-6)
    assert 0.0 < (got < 1).mean() < 1 or k1 == 20
    monkeypatch.setattr(reranking, "_CHUNK_BYTES", 1)  # one image at a time
    np.testing.assert_array_equal(sparse(distances, 7, k1, k2), got)


def test_more_neighbours_than_images() -> None:
    distances = some_distances(5, seed=0)
    assert nearest_neighbours(distances, first=0, count=20).shape == (5, 6)
    expected = loops(distances.tolist(), 2, 20, 6, weight=0.0)
    np.testing.assert_allclose(sparse(distances, 2, 20, 6), expected, atol=1e-6)


def test_a_image_is_first_in_its_own_list_even_among_copies() -> None:
    lists = nearest_neighbours(torch.zeros(4, 4), first=0, count=2)
    assert lists[:, 0].tolist() == [0, 1, 2, 3]
    assert all(len(set(row)) == 3 for row in lists.tolist())


def test_jaccard_distance_of_plain_sets() -> None:
    """Weights of 1 give the share of common neighbours."""
    generator = np.random.default_rng(0)
    members = generator.random((6, 9)) < 0.5
    members[:, 0] = True
    rows = SparseRows.from_pairs(*members.nonzero(), np.ones(members.sum()), members.shape)
    got = jaccard_distances(rows[:2], rows[2:].transposed())
    for q in range(2):
        for g in range(2, 6):
            a, b = set(members[q].nonzero()[0]), set(members[g].nonzero()[0])
            assert got[q, g - 2] == pytest.approx(1 - len(a & b) / len(a | b))


def test_sparse_rows_hold_the_matrix() -> None:
    matrix = np.random.default_rng(1).random((5, 7)) * (np.random.default_rng(2).random((5, 7)) < 0.4)
    row, column = matrix.nonzero()
    order = np.random.default_rng(3).permutation(len(row))
    rows = SparseRows.from_pairs(row[order], column[order], matrix[row, column][order], matrix.shape)

    def dense(some: SparseRows) -> np.ndarray:
        result = np.zeros((len(some), some.width), np.float32)
        for i in range(len(some)):
            entries = slice(some.starts[i], some.starts[i + 1])
            result[i, some.columns[entries]] = some.weights[entries]
        return result

    expected = matrix.astype(np.float32)
    np.testing.assert_array_equal(dense(rows), expected)
    np.testing.assert_array_equal(dense(rows.transposed()), expected.T)
    for some in (slice(1, 4), slice(3, 9), slice(4, 2), slice(None)):
        np.testing.assert_array_equal(dense(rows[some]), expected[some])


def test_messages() -> None:
    for shape, first in (((2, 5), 4), ((5,), 0)):
        with pytest.raises(ShapeError, match="Expected distances"):
            nearest_neighbours(torch.zeros(shape), first=first, count=3)
    for count in (0, 2.5):
        with pytest.raises(ShapeError, match="count is a whole number of at least 1"):
            nearest_neighbours(torch.zeros(2, 5), first=0, count=count)  # type: ignore[arg-type]
    rows = SparseRows.from_pairs(np.array([0]), np.array([0]), np.ones(1), (2, 3))
    with pytest.raises(ShapeError, match="Expected a transposed gallery of 3 rows, got 2"):
        jaccard_distances(rows, rows)
