"""Distances by blocks of gathered rows: with PyTorch alone and with compiled loops, near-duplicates, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from partreid.functional import _blocks as blocks
from partreid.functional._blocks import even_slices
from partreid.functional._loops import compiled_loops
from partreid.functional.distance import SlotMean, distance_rows, mean_rows, part_distances
from partreid.types import PartEmbeddings

WAYS = ["plain", "gathered", "compiled"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to the distances, in blocks so small that there are several of them."""
    monkeypatch.setattr(blocks, "_LARGEST", (16, 32))
    monkeypatch.setattr(blocks, "_WORTH_GATHERING", 10**9 if request.param == "plain" else 1)
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr("partreid.functional._loops._WORTH_COMPILING", 0)
    return str(request.param)


def random_embeddings(n: int, seed: int, *, seen: str, width: int = 6) -> PartEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    visibility = torch.rand(n, 4, generator=generator)
    hidden = visibility < 0.4
    visibility = {"all": torch.ones(n, 4), "some": (~hidden).float(), "partly": visibility.masked_fill(hidden, 0)}[seen]
    if seen != "all":
        visibility[: n // 4] = 0  # whole blocks show nothing
        visibility[n // 2 :, 1] = 0
    return PartEmbeddings(torch.randn(n, 4, width, generator=generator), visibility, tuple("abcd"))


def expected(query: PartEmbeddings, gallery: PartEmbeddings, rule: str, normalize: bool) -> torch.Tensor:
    """Eq. 9 in double precision, everything at once."""
    q, g = (e.to(dtype=torch.float64) for e in (query, gallery))
    q, g = (e.normalized() if normalize else e for e in (q, g))
    distances = (q.vectors[:, None] - g.vectors[None]).norm(dim=3)
    weights = q.visibility[:, None] * g.visibility[None]
    weights = {"product": weights, "geometric": weights.sqrt(), "ignore": torch.ones_like(weights)}[rule]
    mean = (distances * weights).sum(dim=2) / weights.sum(dim=2)
    return mean.nan_to_num(nan=torch.inf).float()


@pytest.mark.parametrize("seen", ["all", "some", "partly"])
@pytest.mark.parametrize("rule", ["product", "geometric", "ignore"])
@pytest.mark.parametrize("normalize", [True, False])
def test_every_way_gives_the_equation(way: str, seen: str, rule: Any, normalize: bool) -> None:
    query, gallery = random_embeddings(40, 1, seen=seen), random_embeddings(70, 2, seen=seen)
    got = part_distances(query, gallery, visibility=rule, normalize=normalize)
    torch.testing.assert_close(got, expected(query, gallery, rule, normalize), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_precisions(way: str, dtype: torch.dtype) -> None:
    query, gallery = (random_embeddings(n, n, seen="some").to(dtype=dtype) for n in (40, 70))
    got = part_distances(query, gallery, normalize=True)
    assert got.dtype == (torch.float32 if dtype == torch.float16 else torch.float64)
    torch.testing.assert_close(got.float(), expected(query, gallery, "product", True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [10.0**e for e in range(-6, 2)])
def test_near_duplicates_are_exact(way: str, scale: float) -> None:
    first = random_embeddings(60, 3, seen="some", width=64)
    noise = torch.randn(first.vectors.shape, generator=torch.Generator().manual_seed(4))
    second = PartEmbeddings(first.vectors + 3 + scale * noise, first.visibility, first.slots)
    first = PartEmbeddings(first.vectors + 3, first.visibility, first.slots)
    got = part_distances(first, second)
    torch.testing.assert_close(got, expected(first, second, "product", False), rtol=1e-4, atol=0)
    itself = part_distances(first, first).diagonal()
    assert (itself[first.visibility.sum(dim=1) > 0] == 0).all()


def test_threads_share_the_work(way: str) -> None:
    query, gallery = random_embeddings(40, 1, seen="some"), random_embeddings(70, 2, seen="some")
    one = part_distances(query, gallery)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        torch.testing.assert_close(part_distances(query, gallery), one)
    finally:
        torch.set_num_threads(threads)


def test_some_rows_of_a_part_of_the_queries(way: str) -> None:
    query, gallery = random_embeddings(40, 1, seen="some"), random_embeddings(70, 2, seen="some")
    rows = distance_rows(query, gallery)
    got = rows.write(slice(7, 29), rows.room(22))
    torch.testing.assert_close(got, part_distances(query, gallery)[7:29])


@pytest.mark.parametrize("normalize", [True, False])
def test_several_means_are_each_alone(way: str, normalize: bool) -> None:
    query, gallery = random_embeddings(40, 1, seen="partly"), random_embeddings(70, 2, seen="partly")
    choices: list[tuple[tuple[str, ...], str, dict[str, float]]] = [
        (("a",), "product", {}), (("c", "b"), "geometric", {"b": 3.0}), (("a", "b", "c", "d"), "product", {}),
        (("b", "d"), "product", {"d": 0.5}),
    ]  # fmt: skip
    pairs = [(query.select(*slots), gallery.select(*slots)) for slots, _, _ in choices]
    means = [SlotMean(*pair, rule, weights) for pair, (_, rule, weights) in zip(pairs, choices, strict=True)]
    together = mean_rows(query, gallery, means, normalize=normalize)
    got = together.write(slice(7, 29), together.room(4 * 22).view(4, 22, 70))
    for mean, distances in zip(means, got, strict=True):
        alone = part_distances(
            mean.query, mean.gallery, normalize=normalize, visibility=mean.visibility, weights=mean.weights
        )[7:29]
        torch.testing.assert_close(distances, alone)
        assert torch.equal(distances.isinf(), alone.isinf())
        assert distances.isinf().any()


def test_blocks_cover_the_queries_and_leave_room_for_the_caller() -> None:
    query, gallery = random_embeddings(1000, 1, seen="some"), random_embeddings(50, 2, seen="some")
    rows = distance_rows(query, gallery, memory_budget=2**20)
    few, many = (len(rows.blocks(beside=beside)) for beside in (10_000, 0))
    assert few > 3 * many
    covered = [i for some in rows.blocks(beside=10_000) for i in range(some.start, some.stop)]
    assert covered == list(range(1000))


def test_small_work_is_not_compiled() -> None:
    assert compiled_loops(10**6) is None


@pytest.mark.parametrize(("count", "largest"), [(0, 5), (1, 5), (10, 3), (3368, 1024), (7, 0)])
def test_even_slices(count: int, largest: int) -> None:
    slices = even_slices(count, largest)
    assert [i for some in slices for i in range(some.start, some.stop)] == list(range(count))
    sizes = np.array([some.stop - some.start for some in slices])
    assert (sizes <= max(1, largest)).all()
    assert len(slices) == -(-count // max(1, largest))
