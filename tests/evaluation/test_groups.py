"""Scores by groups of queries."""

from __future__ import annotations

import numpy as np
import pytest

from partreid.errors import ShapeError
from partreid.evaluation import bootstrap_interval, score_groups


def test_a_group_has_the_mean_of_its_queries_and_an_interval_over_persons() -> None:
    rng = np.random.default_rng(0)
    persons = np.repeat(np.arange(40), 3)
    values = (rng.random(40) < 0.5).astype(float).repeat(3)  # one person's queries are all alike
    groups = (persons < 25).astype(int)
    values[0] = np.nan
    few, many = score_groups({"rank1": values, "mAP": values / 2}, persons, groups, ["few", "many"])
    inside = (groups == 1) & ~np.isnan(values)
    assert (many.queries, many.persons, few.queries, few.persons) == (74, 25, 45, 15)
    assert many.scores["rank1"].value == pytest.approx(values[inside].mean())
    interval = bootstrap_interval(values[inside], groups=persons[inside], samples=4000)
    assert many.scores["rank1"].interval == interval
    assert interval.high - interval.low > 0.35, "25 persons, not 74 queries"
    assert many.differences["mAP"].value == pytest.approx((values[inside].mean() - few.scores["rank1"].value) / 2)
    assert few.differences["mAP"].value == -many.differences["mAP"].value


def test_too_few_persons_give_no_figure_however_many_queries() -> None:
    persons = np.concatenate([np.arange(9).repeat(20), np.arange(100, 140)])
    groups = np.concatenate([np.zeros(180, int), np.ones(40, int)])
    few, many = score_groups({"mAP": np.ones(220)}, persons, groups, ["few", "many"])
    assert (few.persons, few.queries, dict(few.scores), dict(few.differences)) == (9, 180, {}, {})
    assert many.scores["mAP"].value == 1.0
    assert not many.differences, "the others are too few"


def test_a_real_difference_is_found_and_chance_seldom_is() -> None:
    rng = np.random.default_rng(1)
    persons = np.arange(120).repeat(2)
    groups = persons % 4
    wrong = 0
    for _ in range(60):
        values = np.clip(rng.normal(0.6, 0.2, 120).repeat(2) + rng.normal(0, 0.05, 240), 0, 1)
        rows = score_groups({"mAP": values}, persons, groups, list("abcd"), samples=500)
        wrong += any(
            not row.differences["mAP"].interval.low <= 0 <= row.differences["mAP"].interval.high for row in rows
        )
    assert wrong <= 8, "one in twenty, in all four together"
    values = np.where(groups == 2, 0.3, 0.6) + rng.normal(0, 0.1, 240)
    row = score_groups({"mAP": values}, persons, groups, list("abcd"))[2]
    assert row.differences["mAP"].interval.high < -0.2


def test_persons_on_both_sides_are_drawn_with_all_their_queries() -> None:
    rng = np.random.default_rng(2)
    easy = rng.normal(0.5, 0.2, 50)  # the same person is as easy by day as by night
    values = np.stack([easy, easy - 0.1]).T.ravel()
    day, night = score_groups({"mAP": values}, np.arange(50).repeat(2), np.tile([0, 1], 50), ["day", "night"])
    assert night.differences["mAP"].interval == pytest.approx((-0.1, -0.1))
    assert day.scores["mAP"].interval.high - day.scores["mAP"].interval.low > 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": {}}, "Expected metrics"),
        ({"values": {"mAP": np.ones(3)}}, "Expected metrics"),
        ({"groups": np.array([0, 2])}, "places in 2 names"),
        ({"groups": np.array([0.0, 1.0])}, "groups: expected"),
        ({"persons": np.array(["a", "b"])}, "persons: expected"),
        ({"values": {"mAP": np.array([1.0, np.inf])}}, "infinity"),
        ({"samples": 0}, "samples"),
    ],
)
def test_wrong_arguments(change: dict[str, object], words: str) -> None:
    right = {"values": {"mAP": np.ones(2)}, "persons": np.arange(2), "groups": np.arange(2), "names": ["a", "b"]}
    with pytest.raises(ShapeError, match=words):
        score_groups(**right | change)  # type: ignore[arg-type]
