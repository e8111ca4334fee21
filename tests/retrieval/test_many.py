"""Searching shards is searching the whole."""

from __future__ import annotations

import pytest
import torch

from partreid.errors import ShapeError
from partreid.retrieval import Filter, Gallery, MatchingConfig, search_many
from partreid.types import PartEmbeddings


def embeddings(n: int, seed: int = 0) -> PartEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(n, 2, generator=generator) > 0.5).float()
    return PartEmbeddings(torch.randn(n, 2, 4, generator=generator), visibility, ("a", "b"))


@pytest.mark.parametrize("k", [1, 5, 100])
def test_shards_by_camera_equal_one_gallery(k: int) -> None:
    some, query = embeddings(30), embeddings(5, seed=1)
    some = PartEmbeddings.cat([some, some[:10]])  # ties between shards
    ids, cameras = [f"{i * 17 % 40:02d}" for i in range(40)], [i % 3 for i in range(40)]
    whole, shards = Gallery(), [Gallery() for _ in range(4)]  # the last stays empty
    whole.add(some, ids, cameras=cameras)
    for i, one in enumerate(some):
        shards[cameras[i]].add(one, [ids[i]], cameras=cameras[i])
    for matching in (None, MatchingConfig(normalize=True, visibility="ignore", slots=("b",))):
        for where in (None, Filter(not_cameras=1)):
            expected = whole.search(query, k, matching=matching, where=where)
            found = search_many(shards, query, k, matching=matching, where=where)
            assert found.ids == expected.ids
            assert found.slots == expected.slots
            torch.testing.assert_close(found.distances, expected.distances)
            torch.testing.assert_close(found.part_distances, expected.part_distances, equal_nan=True)
            assert torch.equal(found.comparable, expected.comparable)


def test_nothing_to_search() -> None:
    assert search_many([Gallery(), Gallery()], embeddings(2)).ids == ((), ())
    assert search_many([Gallery()], embeddings(2)[:0]).ids == ()
    with pytest.raises(ShapeError, match="at least one gallery"):
        search_many([], embeddings(2))
