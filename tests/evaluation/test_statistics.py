"""Bootstrap intervals and paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from partreid.errors import DataError, ShapeError
from partreid.evaluation import bootstrap_interval, paired_difference, with_confidence
from partreid.evaluation import statistics as module
from partreid.functional.ranking import evaluate_ranking
from partreid.types import EvaluationResult


def result(seed: int, *, shift: float = 0.0, pid: int = 1) -> EvaluationResult:
    rng = np.random.default_rng(seed)
    distances = rng.random((200, 10))
    distances[:, 0] -= shift  # the positive
    return evaluate_ranking(distances, [pid] * 200, [1] + [2] * 9)


def test_interval_matches_the_normal_approximation() -> None:
    values = np.random.default_rng(0).random(400)
    low, high = bootstrap_interval(values, samples=4000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.004)
    assert high == pytest.approx(values.mean() + half, abs=0.004)


def test_interval_is_seeded_and_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = bootstrap_interval(values, samples=100, seed=4)
    assert whole != bootstrap_interval(values, samples=100, seed=5)
    monkeypatch.setattr(module, "_CHUNK", 150)
    assert bootstrap_interval(values, samples=100, seed=4) == whole


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.binomial(1, 0.7, 300), samples=300, seed=seed)
        hits += low <= 0.7 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_with_confidence_leaves_skipped_queries_out() -> None:
    distances = np.array([[0.1, 0.2]] * 3)
    scored = with_confidence(evaluate_ranking(distances, [1, 1, 9], [1, 2]), samples=20)
    assert scored.confidence == {"rank1": (1.0, 1.0), "mAP": (1.0, 1.0)}


def test_paired_difference_sees_a_real_improvement_and_no_false_one() -> None:
    worse, better = result(0), result(0, shift=0.3)
    difference = paired_difference(worse, better)
    for metric, expected in (("rank1", better.rank(1) - worse.rank(1)), ("mAP", better.mean_ap - worse.mean_ap)):
        assert difference[metric].mean == pytest.approx(expected)
        assert difference[metric].significant
        assert difference[metric].interval.low > 0
    same = paired_difference(worse, worse)["mAP"]
    assert (same.mean, same.interval, same.significant) == (0, (0, 0), False)
    assert not paired_difference(result(1), result(2))["mAP"].significant


def test_paired_interval_is_narrower_than_two_single_ones() -> None:
    worse, better = with_confidence(result(0)), with_confidence(result(0, shift=0.05))
    paired = paired_difference(worse, better)["mAP"].interval
    single = worse.confidence["mAP"]
    assert paired.high - paired.low < single[1] - single[0]


def test_messages() -> None:
    for wrong in (np.nan, np.inf):
        with pytest.raises(ShapeError, match="without NaN"):
            bootstrap_interval(np.array([1.0, wrong]))
    with pytest.raises(ShapeError, match="samples is a whole number of at least 1"):
        bootstrap_interval(np.ones(3), samples=0)
    three = evaluate_ranking(np.zeros((3, 2)), [1, 1, 1], [1, 2])
    two = evaluate_ranking(np.zeros((3, 2)), [1, 9, 1], [1, 2])
    with pytest.raises(DataError, match="counted different queries"):
        paired_difference(three, two)
    cameras = evaluate_ranking(np.zeros((3, 2)), [1, 1, 1], [1, 2], [0, 0, 0], [1, 1])
    with pytest.raises(DataError, match="different protocols"):
        paired_difference(three, cameras)
    larger = evaluate_ranking(np.zeros((3, 3)), [1, 1, 1], [1, 2, 2])
    with pytest.raises(DataError, match="ranked galleries of 2 and 3 images"):
        paired_difference(three, larger)
    for option in ({"samples": 2.5}, {"samples": True}, {"samples": 10**12}, {"seed": -1}, {"seed": 0.5}):
        with pytest.raises(ShapeError, match="is a whole number of at"):
            bootstrap_interval(np.ones(3), **option)
    for share in (0, 1, math.nan, True):
        with pytest.raises(ShapeError, match="confidence must lie in"):
            bootstrap_interval(np.ones(3), confidence=share)
    bare = EvaluationResult(three.cmc, 1, 1, three.average_precision, three.average_precision, 3, 0, 2, "x")
    with pytest.raises(ShapeError, match="first matches"):
        with_confidence(bare)


@pytest.mark.parametrize("values", ["text", ["a"], [1 + 2j], [None]])
def test_an_interval_needs_numbers(values: object) -> None:
    with pytest.raises(ShapeError, match=r"Expected \[N\] numbers"):
        bootstrap_interval(values)  # type: ignore[arg-type]


def test_masked_values_are_no_values() -> None:
    with pytest.raises(ShapeError, match="none of them masked"):
        bootstrap_interval(np.ma.masked_array([0.5, 0.6], mask=[False, True]))
