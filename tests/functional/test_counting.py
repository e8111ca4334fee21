"""Counted ranks against a stable sort: ties, infinities, junk, types; each way of counting gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import ShapeError
from partreid.functional import _counting as counting
from partreid.functional._counting import nearer
from partreid.functional.ranking import rank_block


def sorting(distances: torch.Tensor, *ids: Any) -> tuple[list[float], list[float], list[int]]:
    """AP, INP and first match of each query by sorting its row: how they were computed before they were counted."""
    q_pids, g_pids, q_cams, g_cams = (None if i is None else torch.as_tensor(i) for i in ids)
    order = torch.sort(distances, dim=1, stable=True).indices
    aps, inps, firsts = [], [], []
    for q, row in enumerate(order):
        same = g_pids[row] == q_pids[q]
        junk = torch.zeros_like(same) if q_cams is None else same & (g_cams[row] == q_cams[q])
        ranks = (same & ~junk)[~junk].nonzero()[:, 0].double() + 1
        hits = torch.arange(1, len(ranks) + 1)
        aps.append(float((hits / ranks).mean()))
        inps.append(len(ranks) / float(ranks[-1]) if len(ranks) else float("nan"))
        firsts.append(int(ranks[0]) if len(ranks) else 0)
    return aps, inps, firsts


def problem(seed: int, *, levels: int, cameras: bool = True, queries: int = 9, gallery: int = 50) -> tuple[Any, ...]:
    """Distances of few levels, so many ties, a tenth infinite; some persons are missing on either side."""
    rng = np.random.default_rng(seed)
    distances = torch.from_numpy(rng.integers(0, levels, (queries, gallery)).astype(np.float32))
    distances[torch.from_numpy(rng.random((queries, gallery)) < 0.1)] = torch.inf
    cams = (rng.integers(0, 3, queries), rng.integers(0, 3, gallery)) if cameras else (None, None)
    return distances, rng.integers(0, 8, queries), rng.integers(0, 6, gallery), *cams


def places(distances: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some images of each query in the order of its ranking, and how many rank before each."""
    order = torch.sort(distances, dim=1, stable=True).indices.numpy()
    rank = np.stack([np.sort(np.random.default_rng(q).permutation(order.shape[1])[:7]) for q in range(len(order))])
    return np.repeat(np.arange(len(order)), 7), np.take_along_axis(order, rank, 1).ravel(), rank.ravel()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 5, 10_000]), st.booleans())
def test_equals_sorting(seed: int, levels: int, cameras: bool) -> None:
    distances, *ids = problem(seed, levels=levels, cameras=cameras)
    scores = rank_block(distances, *ids)
    aps, inps, firsts = sorting(distances, *ids)
    np.testing.assert_allclose(scores.average_precision, aps, rtol=1e-6)
    np.testing.assert_allclose(scores.inverse_negative_penalty, inps, rtol=1e-12)
    assert scores.first_match.tolist() == firsts


@pytest.mark.parametrize("levels", [1, 3, 10_000])
@pytest.mark.parametrize("way", ["shrinking", "comparing", "compiled"])
def test_each_way_counts_the_place_in_the_stable_order(way: str, levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = problem(3, levels=levels, gallery=300)[0]
    row, column, expected = places(distances)
    if way == "comparing":  # what other devices do
        monkeypatch.setattr(counting, "_COMPARED", 1000)
        assert counting._compare(distances, row, column).tolist() == expected.tolist()
        return
    if way == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr("partreid.functional._loops._WORTH_COMPILING", 0)
    assert nearer(distances, row, column).tolist() == expected.tolist()


def test_a_good_ranking_looks_at_few_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    distances = torch.arange(1000.0)[None]
    seen: list[int] = []
    count = np.count_nonzero
    monkeypatch.setattr(counting.np, "count_nonzero", lambda x: seen.append(len(x)) or count(x))
    assert nearer(distances, np.zeros(4, np.int64), np.array([2, 5, 30, 100])).tolist() == [2, 5, 30, 100]
    assert seen == [1000, 100, 100, 5]  # 30 of 100 are too many to be worth copying


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.int8])
def test_any_type_of_distance(dtype: torch.dtype) -> None:
    distances, *ids = problem(5, levels=20)
    distances = distances.nan_to_num(posinf=50).to(dtype)
    np.testing.assert_allclose(rank_block(distances, *ids).average_precision, sorting(distances, *ids)[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_without_ties_of_right_and_wrong(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(3)
    distances = torch.from_numpy(rng.permuted(np.tile(np.arange(50.0), (9, 1)), axis=1)).to(dtype)
    distances[:, 45:] = torch.inf  # ties of what cannot be compared are no matter of precision
    _, *ids = problem(5, levels=20)
    np.testing.assert_allclose(rank_block(distances, *ids).average_precision, sorting(distances, *ids)[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_that_ties_right_and_wrong_is_refused(dtype: torch.dtype) -> None:
    exact = torch.tensor([[0.9, 0.5], [0.50000001, 0.5]], dtype=torch.float64)  # the second query finds another first
    assert rank_block(exact, [1, 1], [1, 2]).first_match.tolist() == [2, 2]
    with pytest.raises(ShapeError, match=r"Query 1 is as far from .* because the distances are torch\..*float16"):
        rank_block(exact.to(dtype), [1, 1], [1, 2])
    assert rank_block(exact.to(dtype)[1:], [1], [1, 1]).first_match.tolist() == [1]  # both right
    assert rank_block(exact.to(dtype)[1:], [1], [1, 1, 2][:2], [0], [0, 1]).first_match.tolist() == [1]


def test_zero_and_negative_zero_are_one_distance_and_similarities_may_be_negative() -> None:
    distances = torch.tensor([[0.0, -0.0, -1.0, 0.0]])
    assert rank_block(distances, [1], [2, 2, 1, 1]).average_precision.tolist() == [(1 + 2 / 4) / 2]


def test_minus_infinity_is_no_distance() -> None:
    for row in ([torch.inf, -torch.inf, 0.0], [3.0, -torch.inf, 0.0]):
        with pytest.raises(ShapeError, match="query 0 to gallery image 1 is -infinity"):
            rank_block(torch.tensor([row]), [1], [1, 2, 1])
    large = torch.tensor([[3e38, 3e38, 2e38]])  # whose sum is infinite
    assert rank_block(large, [1], [1, 2, 2]).first_match.tolist() == [2]
    assert rank_block(-large, [1], [1, 2, 2]).first_match.tolist() == [1]


def test_whole_distances_are_compared_exactly() -> None:
    distances = torch.tensor([[2**60 + 1, 2**60]])  # one and the same as floats
    assert rank_block(distances, [1], [1, 2]).first_match.tolist() == [2]
    assert rank_block(distances, [1], [1, 1]).average_precision.tolist() == [1]


def test_nobody_to_count() -> None:
    none = np.zeros(0, np.int64)
    assert (
        nearer(torch.zeros(2, 3), none, none).tolist()
        == counting._compare(torch.zeros(2, 0), none, none).tolist()
        == []
    )
    assert rank_block(torch.zeros(2, 0), [1, 2], []).first_match.tolist() == [0, 0]
