"""Re-association over a frame gap: small cases by hand, plain loops over random ones, and wrong input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.evaluation import MatchingConfig, Reassociation, ReassociationRow, bootstrap_interval, reassociate
from partreid.evaluation.reassociation import check_levels
from partreid.types import PartEmbeddings

SLOTS = ("foreground", "head", "legs")


def line(*places: float) -> PartEmbeddings:
    """Boxes whose only vector is a number: the distance of two is their difference."""
    return PartEmbeddings(torch.tensor(places, dtype=torch.float32)[:, None, None])


def rows(found: Reassociation, **options: Any) -> dict[tuple[str, str, str], ReassociationRow]:
    return {(row.way, row.gap, row.level): row for row in found.rows(**{"bootstrap": 0, **options})}


def test_every_number_by_hand() -> None:
    # Frame 0: a at 0, b at 10, c at 4. Frame 2: a at 1, b at 3, c has gone, d at 12.
    found = reassociate(
        line(0, 10, 4, 1, 3, 12), [0, 0, 0, 2, 2, 2], list("abcabd"), [0.9, 0.5, 1, 0.2, 0.7, 1], gaps=[2]
    )
    # a: own 1, others 3 and 12: found, margin 2. b: own 7, others 9 and 2: not found, margin -5, one of two farther.
    table = rows(found, by="query")
    every = table["all", "2", "all"]
    assert (every.queries, every.persons, every.rank1, every.margin) == (2, 2, 0.5, -1.5)
    assert every.chance == pytest.approx(1 / 3)
    assert (every.separation, every.not_comparable) == (0.75, 0.0)
    assert {level for *_, level in table} == {"all", "[0.8, 1]", "[0.3, 0.6)"}
    assert (table["all", "2", "[0.8, 1]"].rank1, table["all", "2", "[0.3, 0.6)"].margin) == (1.0, -5.0)
    assert {level for *_, level in rows(found, by="target")} == {"all", "[0, 0.3)", "[0.6, 0.8)"}
    assert {level for *_, level in rows(found)} == {"all", "[0, 0.3)", "[0.3, 0.6)"}
    at_border = rows(found, by="query", levels=[0.5])  # belongs to what is above
    assert {level for *_, level in at_border} == {"all", "[0.5, 1]"}
    assert found.alone == (0,)


def test_who_is_alone_is_left_out_and_counted() -> None:
    found = reassociate(line(0, 5, 0, 0, 5), [0, 0, 1, 2, 2], list("abaab"), gaps=[1, 2])
    assert found.alone == (1, 0)
    table = rows(found)
    assert {key: row.queries for key, row in table.items() if key[2] == "all"} == {
        ("all", "1", "all"): 1, ("all", "2", "all"): 2}  # fmt: skip
    assert {level for *_, level in table} == {"all", "unknown"}


def test_nothing_in_common_is_not_found_and_ties_are_not_found() -> None:
    vectors = torch.zeros(6, 3, 1)
    vectors[[3, 5]] = 1  # a is in the same place, b and c are farther
    seen = torch.ones(6, 3)
    seen[0] = torch.tensor([0.0, 1, 0])  # a's head is seen, then its legs
    seen[3] = torch.tensor([0.0, 0, 1])
    e = PartEmbeddings(vectors, seen, SLOTS)
    found = reassociate(e, [0, 0, 0, 1, 1, 1], list("abcabc"), gaps=[1], alone=["legs"])
    table = rows(found)
    own = dict(zip(range(3), found.pairs.own["all"].tolist(), strict=True))
    assert math.isinf(own[0])
    # a: nothing in common, not found, both others nearer. b: 0 to itself, 1 to c, 1 to a by the legs: found.
    # c: 1 to itself, 0 to b: not found; a is as far as itself.
    assert found.pairs.found("all").tolist() == [False, True, False]
    assert found.pairs.separation["all"].tolist() == [0.0, 1.0, 0.25]
    one = table["all", "1", "all"]
    assert (one.not_comparable, one.rank1, one.margin) == (1 / 3, 1 / 3, 0.0)
    assert found.ways == ("all", "legs")
    constant = reassociate(line(1, 1, 1, 1), [0, 0, 1, 1], list("abab"), gaps=[1])
    (same, *_) = constant.rows(bootstrap=0)
    assert (same.rank1, same.separation, same.margin) == (0.0, 0.5, 0.0)


def test_no_other_in_common_is_found_and_has_no_margin() -> None:
    seen = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    e = PartEmbeddings(torch.randn(4, 2, 3), seen, ("head", "legs"))
    (row, *_) = reassociate(e, [0, 0, 1, 1], list("abab"), gaps=[1]).rows()
    assert (row.rank1, row.separation, row.margin, row.not_comparable) == (1.0, 1.0, None, 0.0)
    assert set(row.confidence) == {"rank1"}
    assert row.summary()["margin_low"] is None


def crowd(seed: int = 0) -> tuple[PartEmbeddings, list[int], list[str], np.ndarray, list[str]]:
    """Boxes of up to six people of one name in two sequences."""
    random = np.random.default_rng(seed)
    boxes = [(s, t, p) for s in ("x", "y") for t in range(9) for p in range(6) if random.random() < 0.7]
    torch.manual_seed(seed)
    seen = (torch.rand(len(boxes), 3) > 0.4).float()
    e = PartEmbeddings(torch.randn(len(boxes), 3, 4), seen, SLOTS)
    visible = np.where(random.random(len(boxes)) < 0.1, np.nan, random.random(len(boxes)))
    return e, [t for _, t, _ in boxes], [str(p) for *_, p in boxes], visible, [s for s, *_ in boxes]


@pytest.mark.parametrize("rule", [{}, {"visibility": "ignore", "normalize": True}, {"slots": ("head", "legs")}])
def test_equals_plain_loops(rule: dict[str, Any]) -> None:
    e, frames, people, visible, sequences = crowd()
    matching = MatchingConfig(**rule)
    found = reassociate(e, frames, people, visible, sequences=sequences, gaps=[1, 3], matching=matching)
    assert found.ways == ("all", "foreground")
    for way in found.ways:
        side = e if way == "all" else e.select(way)
        distances = matching.model_copy(update={} if way == "all" else {"slots": None}).distances(side, side).numpy()
        for gap in (1, 3):
            right, chance, ahead = [], [], []
            for i in range(len(e)):
                then = [j for j in range(len(e)) if (sequences[j], frames[j]) == (sequences[i], frames[i] + gap)]
                own = [j for j in then if people[j] == people[i]]
                if not own or len(then) < 2:
                    continue
                others = [distances[i, j] for j in then if j != own[0]]
                right.append(distances[i, own[0]] < min(others))
                ahead.append(np.mean([(d > distances[i, own[0]]) + (d == distances[i, own[0]]) / 2 for d in others]))
                chance.append(1 / len(then))
            row = rows(found)[way, str(gap), "all"]
            assert (row.queries, row.rank1, row.chance) == (len(right), np.mean(right), pytest.approx(np.mean(chance)))
            assert row.separation == pytest.approx(np.mean(ahead))


def test_order_of_boxes_changes_nothing() -> None:
    e, frames, people, visible, sequences = crowd(1)
    order = np.random.default_rng(2).permutation(len(e))
    options: dict[str, Any] = {"bootstrap": 50, "by": "lower"}
    straight = reassociate(e, frames, people, visible, sequences=sequences, gaps=[2]).rows(**options)
    mixed = reassociate(
        e[order], np.array(frames)[order], [people[i] for i in order], visible[order],
        sequences=[sequences[i] for i in order], gaps=[2],
    ).rows(**options)  # fmt: skip
    for one, other in zip(straight, mixed, strict=True):
        assert (one.way, one.level) == (other.way, other.level)
        mine, theirs = ([v for v in row.summary().values() if isinstance(v, float | int)] for row in (one, other))
        assert mine == pytest.approx(theirs, rel=1e-5)


def test_one_name_in_two_sequences_is_two_persons() -> None:
    e, frames, people, visible, sequences = crowd(3)
    found = reassociate(e, frames, people, visible, sequences=sequences, gaps=[1])
    parts = [
        reassociate(e[rows], np.array(frames)[rows], [people[i] for i in rows], visible[rows], gaps=[1])
        for rows in ([i for i, s in enumerate(sequences) if s == name] for name in "xy")
    ]
    whole, *halves = (next(iter(one.rows(bootstrap=0))) for one in (found, *parts))
    assert whole.persons == sum(half.persons for half in halves) == 12
    assert whole.queries == sum(half.queries for half in halves)
    assert whole.rank1 == pytest.approx(sum(h.rank1 * h.queries for h in halves) / whole.queries)
    with pytest.raises(DataError, match="has two boxes in frame 0"):
        reassociate(e, frames, people, visible, gaps=[1])


def test_difference_of_two_ways_is_of_the_same_queries() -> None:
    e, frames, people, visible, sequences = crowd(4)
    found = reassociate(e, frames, people, visible, sequences=sequences, gaps=[1])
    table, gained = rows(found), found.differences("foreground", "all", bootstrap=99)
    for (gap, level), difference in gained.items():
        expected = table["all", gap, level].rank1 - table["foreground", gap, level].rank1
        assert difference.mean == pytest.approx(expected)
        assert difference.interval.low <= difference.mean <= difference.interval.high
    with pytest.raises(ConfigError, match="Nothing was compared by 'head'"):
        found.differences("head", "all")


def test_one_person_alone_gives_no_interval() -> None:
    found = reassociate(line(0, 5, 0, 7), [0, 0, 1, 1], list("abac"), gaps=[1], alone=["slot_0"])
    assert [(row.rank1, row.persons, row.confidence) for row in found.rows() if row.level == "all"] == [
        (1.0, 1, {})
    ] * 2
    assert found.differences("slot_0", "all") == {}


def test_values_of_a_group_are_drawn_together() -> None:
    values, groups = np.repeat([0.0, 1.0], 50), np.repeat([7, 3], 50)
    assert bootstrap_interval(values, groups=groups) == (0.0, 1.0)
    narrow = bootstrap_interval(values)
    assert 0.39 < narrow.low < narrow.high < 0.61
    assert bootstrap_interval(values, groups=np.arange(100)) == narrow
    for wrong in (groups[:-1], groups * 1.0, [[1]]):
        with pytest.raises(ShapeError, match="100 whole numbers as groups"):
            bootstrap_interval(values, groups=np.asarray(wrong))


RIGHT: dict[str, Any] = {
    "embeddings": line(0, 5, 0, 5), "frames": [0, 0, 1, 1], "persons": list("abab"), "visibility": [1, 1, 1, 1],
    "gaps": [1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"embeddings": line(0, 5, math.nan, 5)}, ShapeError, "finite"),
        ({"frames": [0, 0, 1]}, ShapeError, r"frames must be \[4\] whole numbers"),
        ({"frames": [0, 0, 1.5, 1]}, ShapeError, "whole numbers"),
        ({"frames": [0, 0, -1, 1]}, ShapeError, "from 0"),
        ({"persons": ["a", "b", "a", None]}, DataError, "None of box 3"),
        ({"persons": ["a", "b", "a", -1]}, DataError, "names none"),
        ({"persons": ["a", "b"]}, ShapeError, "persons must be a list of 4"),
        ({"persons": "abab"}, ShapeError, "list"),
        ({"persons": list("abaa")}, DataError, "'a' has two boxes in frame 1"),
        ({"visibility": [1, 1, 1, 1.5]}, ShapeError, "Box 3: expected a visible fraction"),
        ({"visibility": [1, 1, 1, math.inf]}, ShapeError, "Box 3"),
        ({"visibility": [1, 1]}, ShapeError, r"\[4\] numbers"),
        ({"sequences": ["x", "x", "x"]}, ShapeError, "sequences must be a list of 4"),
        ({"sequences": ["x", "x", "y", "y"]}, DataError, "gap 1 is longer than every sequence.* 0 frames apart"),
        ({"frames": [3, 3, 3, 3], "persons": list("abcd")}, DataError, "longer than every sequence"),
        ({"gaps": [1, 100]}, DataError, "gap 100 is longer than every sequence"),
        ({"gaps": [0]}, ShapeError, "gap in frames"),
        ({"gaps": []}, DataError, "one gap"),
        ({"persons": list("abcd")}, DataError, "No person has a box again"),
        ({"alone": ["head"]}, ShapeError, "No slot 'head' to compare alone"),
        ({"embeddings": line(), "frames": [], "persons": [], "visibility": None}, DataError, "one box"),
    ],
)
def test_wrong_input_is_told(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    assert reassociate(**RIGHT).rows(bootstrap=0)[0].rank1 == 1
    with pytest.raises(error, match=message):
        reassociate(**{**RIGHT, **wrong})


@pytest.mark.parametrize("levels", [[0.5, 0.3], [0.0, 0.5], [1.0], [math.nan], ["high"], "0.5", [0.5, 0.5], [math.inf]])
def test_wrong_levels(levels: Any) -> None:
    with pytest.raises(ConfigError, match="ascending borders between 0 and 1"):
        check_levels(levels)
    with pytest.raises(ConfigError):
        reassociate(**RIGHT).rows(levels=levels)
