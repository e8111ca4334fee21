"""Histograms of distances against plain loops over all pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import ShapeError
from partreid.evaluation import DistanceDistribution, EvaluationConfig, MatchingConfig, distance_distribution
from partreid.types import PartEmbeddings

SLOTS = ("foreground", "head", "legs")


def random_embeddings(count: int, seed: int) -> PartEmbeddings:
    rng = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(count, 3, generator=rng) > 0.6).float()
    return PartEmbeddings(torch.randn(count, 3, 5, generator=rng), visibility, SLOTS)


QUERY, GALLERY = random_embeddings(9, 0), random_embeddings(23, 1)
QUERY_IDS = ([i % 4 for i in range(9)], [i % 2 for i in range(9)])
GALLERY_IDS = ([i % 5 for i in range(23)], [i % 3 for i in range(23)])


def pairs(matching: MatchingConfig) -> tuple[list[float], list[float]]:
    """Distances of one person and of two, by loops."""
    distances = matching.distances(QUERY, GALLERY)
    same, different = [], []
    for i, (pid, camid) in enumerate(zip(*QUERY_IDS, strict=True)):
        for j, (other, other_camid) in enumerate(zip(*GALLERY_IDS, strict=True)):
            if pid != other:
                different.append(float(distances[i, j]))
            elif camid != other_camid:
                same.append(float(distances[i, j]))
    return same, different


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"slots": ("head",)}, {"visibility": "ignore"}])
def test_counts_are_those_of_all_pairs(options: dict[str, Any]) -> None:
    matching = MatchingConfig(**options)
    found = distance_distribution(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=matching, bins=64)
    kinds = pairs(matching)
    assert found.pairs == (len(kinds[0]), len(kinds[1]))
    assert found.not_comparable == tuple(sum(map(math.isinf, kind)) for kind in kinds)
    for counts, kind in zip((found.same, found.different), kinds, strict=True):
        finite = [value for value in kind if math.isfinite(value)]
        assert max(finite) <= found.edges[-1]
        np.testing.assert_array_equal(counts, np.histogram(finite, found.edges)[0])


def test_separation_is_the_share_of_pairs_in_order() -> None:
    same, different = pairs(MatchingConfig())
    wins = sum((a < b) + (a == b) / 2 for a in same for b in different)
    found = distance_distribution(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, bins=200_000)
    assert found.separation == pytest.approx(wins / (len(same) * len(different)), abs=1e-3)


def test_blocks_give_what_the_whole_gives() -> None:
    gallery = random_embeddings(3000, 2)
    ids = (list(range(3000)), [0] * 3000)
    query = PartEmbeddings.cat([QUERY] * 40)
    query_ids = tuple(list(values) * 40 for values in QUERY_IDS)
    small, large = (
        distance_distribution(query, gallery, query_ids, ids, options=EvaluationConfig(memory_budget_mib=mib))
        for mib in (1, 256)
    )
    assert small.pairs == large.pairs
    # The matrix product of another block may round a distance over the edge of its bin.
    assert np.abs(small.different - large.different).sum() < 10


def test_without_cameras_only_the_very_file_is_left_out() -> None:
    e = QUERY[:2]
    found = distance_distribution(e, e, ([1, 1], None), ([1, 1], None))
    assert found.pairs == (4, 0)
    assert math.isnan(found.separation)
    files = ["a", "b"]
    found = distance_distribution(e, e, ([1, 1], None, files), ([1, 1], None, files))  # type: ignore[arg-type]
    assert found.pairs == (2, 0)


@pytest.mark.parametrize("bins", [1, 7, 50])
def test_coarse_keeps_every_pair(bins: int) -> None:
    found = distance_distribution(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS)
    coarse = found.coarse(bins)
    assert len(coarse.same) <= bins
    assert len(coarse.edges) == len(coarse.same) + 1
    assert coarse.pairs == found.pairs
    assert coarse.same.sum() == found.same.sum()
    empty = DistanceDistribution(np.array([0.0, 1.0, 2.0]), np.zeros(2, int), np.zeros(2, int), (2, 3))
    assert empty.coarse(bins).pairs == (2, 3)
    assert empty.separation == 0.5


def test_messages() -> None:
    with pytest.raises(ShapeError, match="at least one pair"):
        distance_distribution(QUERY[:0], GALLERY, ([], []), GALLERY_IDS)
    with pytest.raises(ShapeError, match="No slot 'haed'. Did you mean 'head'"):
        distance_distribution(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=MatchingConfig(slots=("haed",)))
