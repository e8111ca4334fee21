"""CMC, AP and INP against plain loops, the golden file, hand-made cases and their messages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import DataError, ShapeError
from partreid.functional.ranking import (
    ALL_CAMERAS,
    CROSS_CAMERA,
    QueryScores,
    evaluate_ranking,
    rank_block,
    summarize_scores,
)

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "rank.npz")


def loops(
    distances: np.ndarray, ids: tuple[np.ndarray, ...], max_rank: int
) -> tuple[list[float], list[float], list[float]]:
    """CMC, and AP and INP per counted query, as the protocol says them."""
    q_pids, g_pids, q_cams, g_cams = ids
    cmc, aps, inps = [0.0] * max_rank, [], []
    for q in range(len(distances)):
        kept = [
            g
            for g in sorted(range(len(g_pids)), key=lambda g: (distances[q, g], g))
            if not (g_pids[g] == q_pids[q] and g_cams[g] == q_cams[q])
        ]
        ranks = [r for r, g in enumerate(kept, start=1) if g_pids[g] == q_pids[q]]
        if not ranks:
            continue
        aps.append(sum(hit / rank for hit, rank in enumerate(ranks, start=1)) / len(ranks))
        inps.append(len(ranks) / ranks[-1])
        for k in range(1, max_rank + 1):
            cmc[k - 1] += ranks[0] <= k
    return [c / len(aps) for c in cmc], aps, inps


def made_up(seed: int, *, q: int = 17, g: int = 60) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 12, (q, g)).astype(np.float32)  # many ties
    distances[rng.random((q, g)) < 0.1] = np.inf
    ids = rng.integers(0, 9, q), rng.integers(0, 7, g), rng.integers(0, 3, q), rng.integers(0, 3, g)
    return distances, ids


@pytest.mark.parametrize("seed", range(8))
def test_equals_plain_loops(seed: int) -> None:
    distances, ids = made_up(seed)
    cmc, aps, inps = loops(distances, ids, 20)
    result = evaluate_ranking(distances, *ids, max_rank=20)
    np.testing.assert_allclose(result.cmc, cmc)
    counted = ~np.isnan(result.average_precision)
    np.testing.assert_allclose(result.average_precision[counted], aps)
    np.testing.assert_allclose(result.inverse_negative_penalty[counted], inps)
    assert result.mean_ap == pytest.approx(np.mean(aps))
    assert result.mean_inp == pytest.approx(np.mean(inps))
    assert (result.num_queries, result.num_skipped, result.num_gallery) == (len(aps), 17 - len(aps), 60)
    assert ((result.first_match > 0) == counted).all()


def test_golden() -> None:
    ids = (GOLDEN[key] for key in ("qp", "gp", "qc", "gc"))
    result = evaluate_ranking(GOLDEN["dist"], *ids, max_rank=20)
    np.testing.assert_allclose(result.cmc, GOLDEN["cmc"], atol=1e-6)
    assert result.mean_ap == pytest.approx(float(GOLDEN["mAP"]), abs=1e-6)


def test_golden_ranks_do_not_depend_on_the_sentinel() -> None:
    distances = np.where(GOLDEN["dist"] == GOLDEN["dist"].max(), np.inf, GOLDEN["dist"])
    ids = [GOLDEN[key] for key in ("qp", "gp", "qc", "gc")]
    infinite, finite = evaluate_ranking(distances, *ids), evaluate_ranking(GOLDEN["dist"], *ids)
    np.testing.assert_array_equal(infinite.average_precision, finite.average_precision)


@pytest.mark.parametrize("size", [1, 4, 17, 100])
def test_blocks_equal_the_whole(size: int) -> None:
    distances, (qp, gp, qc, gc) = made_up(3)
    whole = evaluate_ranking(distances, qp, gp, qc, gc)
    parts = [
        rank_block(distances[i : i + size], qp[i : i + size], gp, qc[i : i + size], gc) for i in range(0, 17, size)
    ]
    merged = summarize_scores(QueryScores.cat(parts), num_gallery=60, protocol=CROSS_CAMERA)
    assert merged.summary() == whole.summary()
    np.testing.assert_array_equal(merged.cmc, whole.cmc)
    np.testing.assert_array_equal(merged.average_precision, whole.average_precision)
    np.testing.assert_array_equal(merged.first_match, whole.first_match)


def test_junk_skipped_and_distractors_by_hand() -> None:
    # Query 0: gallery 0 is junk (same camera); distractor 1 stays; positives 2 and 3 rank 2nd and 3rd.
    # Query 1 has only junk and is skipped.
    distances = np.array([[0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.1, 0.1, 0.1, 0.1]])
    result = evaluate_ranking(distances, [7, 8], [7, 0, 7, 7, 8], [0, 1], [0, 3, 1, 2, 1])
    assert result.average_precision[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert math.isnan(result.average_precision[1])
    assert result.inverse_negative_penalty[0] == pytest.approx(2 / 3)
    assert result.cmc[:3].tolist() == [0, 1, 1]
    assert (result.num_queries, result.num_skipped) == (1, 1)
    assert result.protocol == CROSS_CAMERA


def test_without_cameras_nothing_is_dropped_and_the_protocol_says_so() -> None:
    result = evaluate_ranking(np.array([[0.1, 0.2]]), [7], [7, 0])
    assert result.rank(1) == 1
    assert result.protocol == ALL_CAMERAS != CROSS_CAMERA


SHOWN = np.array([[0.1, 0.2, 0.3, 0.4]])


def test_market_1501_neglects_junk_on_both_sides() -> None:
    before = evaluate_ranking(SHOWN, [5], [-1, 5, 7, 8], [0], [1, 1, 1, 1])
    assert (before.rank(1), before.mean_ap, before.mean_inp, before.num_gallery) == (1, 1, 1, 3)
    assert before.num_junk == (0, 1)
    with pytest.raises(DataError, match="None of the 1 queries .* 1 queries are of person -1, which is junk"):
        evaluate_ranking(SHOWN, [-1], [-1, 5, 7, 8], [0], [1, 1, 1, 1])
    both = evaluate_ranking(np.repeat(SHOWN, 2, axis=0), [-1, 7], [-1, 5, 7, 8], [0, 0], [1, 1, 1, 1])
    assert both.first_match.tolist() == [0, 2]
    assert (both.num_queries, both.num_skipped, both.num_junk) == (1, 0, (1, 1))


def test_distractors_stay() -> None:
    assert evaluate_ranking(SHOWN, [5], [0, 5, 7, 8]).first_match.tolist() == [2]
    assert evaluate_ranking(SHOWN, [5], [-2, 5, 7, 8]).first_match.tolist() == [2]


def test_unknown_is_refused_with_the_image_and_the_way_out() -> None:
    with pytest.raises(ShapeError, match="query_pids: 1 of 1 are unknown .* image 0.* the id -1"):
        evaluate_ranking(SHOWN, [np.nan], [np.nan, 1.0, 2.0, 3.0])  # type: ignore[list-item]
    with pytest.raises(ShapeError, match="Only one of query_camids and gallery_camids"):
        evaluate_ranking(SHOWN, [1], [1, 5, 6, 1], [np.nan], [np.nan, 0, 0, 0])  # type: ignore[list-item]
    with pytest.raises(ShapeError, match="gallery_camids: 1 of 4 are unknown .* image 2"):
        evaluate_ranking(SHOWN, [1], [1, 5, 6, 1], [0], [1, 0, None, 0])
    unknown = evaluate_ranking(SHOWN, [1], [1, 5, 6, 1], [None], [None] * 4)
    assert unknown.protocol == ALL_CAMERAS


def test_numbers_of_twenty_digits_are_ids() -> None:
    stamp = 20201123000100000000
    result = evaluate_ranking(np.eye(2), [stamp, stamp + 1], [stamp, stamp + 1])
    assert result.first_match.tolist() == [2, 2]


@pytest.mark.parametrize(
    "distances",
    [SHOWN.tolist(), SHOWN[:, ::-1][:, ::-1], SHOWN.astype(">f8"), SHOWN.astype(np.longdouble),
     (10 * SHOWN).astype(np.uint8), (10 * SHOWN).astype(np.uint32), np.ma.array(SHOWN),
     torch.tensor(SHOWN, requires_grad=True)],
)  # fmt: skip
def test_distances_of_every_type_of_array(distances: Any) -> None:
    assert evaluate_ranking(distances, [6], [1, 5, 6, 1]).first_match.tolist() == [3]


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (SHOWN > 0.2, "distances must be numbers that can be ordered, got torch.bool"),
        (SHOWN * 1j, "distances must be numbers that can be ordered, got torch.complex128"),
        (SHOWN.astype(str), "distances must be numbers, got <U"),
        (np.ma.array(SHOWN, mask=SHOWN > 0.2), "distances: some values are masked"),
        (np.array([[0.1, -np.inf, 0.3, 0.4]]), "query 0 to gallery image 1 is -infinity. Use infinity"),
        (SHOWN.T, "query_pids must hold 4 ids"),
    ],
)
def test_distances_that_cannot_be_ranked(distances: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        evaluate_ranking(distances, [1], [1, 5, 6, 1])


def test_data_frames() -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"pid": [1, 5, 6, 1], "cam": ["a", "b", "b", "b"]})
    result = evaluate_ranking(pd.DataFrame(SHOWN), [1], table["pid"], ["a"], table["cam"])
    assert result.first_match.tolist() == [3]


def test_infinite_positive_counts_at_its_stable_place() -> None:
    result = evaluate_ranking(np.array([[np.inf, 0.5, np.inf, np.inf]]), [1], [2, 2, 1, 1])
    assert result.first_match.tolist() == [3]
    assert result.mean_ap == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_curve_is_as_long_as_asked_beyond_a_small_gallery() -> None:
    result = evaluate_ranking(torch.tensor([[0.5, 0.1]]), torch.tensor([1]), torch.tensor([1, 2]), max_rank=5)
    assert result.cmc.tolist() == [0, 1, 1, 1, 1]
    assert result.rank(20) == 1


def test_messages() -> None:
    good = np.zeros((2, 3))
    nan = good.copy()
    nan[1, 2] = np.nan
    with pytest.raises(ShapeError, match="distance of query 1 to gallery image 2 is NaN"):
        evaluate_ranking(nan, [1, 2], [1, 2, 3])
    with pytest.raises(ShapeError, match=r"must be \[Q, G\]"):
        evaluate_ranking(good[0], [1], [1, 2, 3])
    with pytest.raises(ShapeError, match=r"gallery_pids must hold 3 ids, one for each image, got shape \(2,\)"):
        evaluate_ranking(good, [1, 2], [1, 2])
    with pytest.raises(ShapeError, match="Only one of query_camids and gallery_camids"):
        evaluate_ranking(good, [1, 2], [1, 2, 3], [0, 0])
    with pytest.raises(ShapeError, match="query_pids holds text .'anna' at image 0. and gallery_pids whole numbers"):
        evaluate_ranking(good, ["anna", "ben"], [1, 2, 3])
    for wrong in (0, 2.5, 5.0, True, None, "5", np.nan, 10**12):
        with pytest.raises(ShapeError, match="max_rank is a whole number of at"):
            evaluate_ranking(good, [1, 2], [1, 2, 3], max_rank=wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="None of the 2 queries has a positive among the 3 gallery images"):
        evaluate_ranking(good, [8, 9], [1, 2, 3])
    with pytest.raises(DataError, match="None of the 2 queries"):
        evaluate_ranking(good, [1, 2], [1, 2, 3], [0, 0], [0, 0, 0])


@pytest.mark.parametrize(
    "distances", [torch.ones(1, 2).to_sparse(), torch.ones(1, 2, device="meta")], ids=["sparse", "meta"]
)
def test_distances_without_plain_numbers(distances: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="plain tensor"):
        evaluate_ranking(distances, [1], [1, 2])
