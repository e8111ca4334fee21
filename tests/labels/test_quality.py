"""A label broken on purpose in each way gets the reason for it; a whole one gets none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partreid.labels.fields import write_pose_fields
from partreid.labels.grouping import one_hot
from partreid.labels.quality import (
    REASONS,
    LabelRating,
    _pieces,
    describe,
    rate_label_file,
    rate_part_maps,
    worst_first,
)
from partreid.parts import PART_SCHEMAS, get_part_schema

FIVE = get_part_schema("five")
HEAD, ARMS, TORSO, LEGS, FEET = range(1, 6)


def person() -> np.ndarray:
    """A label map [17, 9] with all five parts."""
    label = np.zeros((17, 9), np.int64)
    label[1:4, 3:6], label[4:9, 3:6], label[4:8, 2] = HEAD, TORSO, ARMS
    label[9:14, 3:6], label[14, 3:6] = LEGS, FEET
    return label


def rate(label: np.ndarray) -> LabelRating:
    return rate_part_maps(one_hot(label, 5), FIVE)


def test_a_whole_label_has_no_fault() -> None:
    rating = rate(person())
    assert (rating.reason, rating.size, rating.parts) == (None, (17, 9), FIVE.parts)
    assert rating.coverage == (person() > 0).mean()
    assert describe(rating, FIVE) == "all parts"


def test_each_fault_gets_its_reason() -> None:
    torn, few, small, full = person(), np.zeros((17, 9), np.int64), np.zeros((17, 9), np.int64), person()
    torn[6:9] = 0
    few[1:6, 3:6], few[6:9, 3:6] = HEAD, TORSO
    small[1, 4], small[2, 4], small[3, 4] = HEAD, TORSO, LEGS
    full[:] = HEAD  # as of fields that are 1 everywhere
    for label, reason, words in (
        (np.zeros((17, 9), np.int64), "empty", "no person, strongest value 0.00"),
        (person()[::-1], "upside_down", "head at 88% of the height, legs at 28%"),
        (torn, "torn", "2 pieces, 49% apart"),
        (few, "few_parts", "2 of 5 parts · only head, torso"),
        (small, "small", "covers 2.0% of the image · no arms, feet"),
        (full, "full", "covers 100% of the image · only head"),
    ):
        rating = rate(label)
        assert (rating.reason, describe(rating, FIVE)) == (reason, words)


def test_the_threshold_decides_what_is_there() -> None:
    faint = one_hot(person(), 5) * 0.4
    assert rate_part_maps(faint, FIVE).detail == "no person, strongest value 0.40"
    assert rate_part_maps(faint, FIVE, threshold=0.3).reason is None


def test_a_speck_is_no_piece() -> None:
    label = person()
    label[16, 8] = FEET
    assert rate(label).reason is None


@pytest.mark.parametrize("name", PART_SCHEMAS)
def test_upside_down_is_seen_in_every_schema(name: str) -> None:
    schema = PART_SCHEMAS[name]
    label = np.repeat(np.arange(1, len(schema) + 1), 2)[:, None].repeat(9, axis=1)
    label = np.pad(label, ((0, 12), (0, 0)))
    assert rate_part_maps(one_hot(label, len(schema)), schema).reason != "upside_down"
    assert rate_part_maps(one_hot(label[::-1], len(schema)), schema).reason == "upside_down"


def test_files_that_are_missing_or_cannot_be_read(tmp_path: Path) -> None:
    assert rate_label_file(None, FIVE) == LabelRating(reason="missing", detail="no label file")
    path = tmp_path / "a.npy"
    write_pose_fields(path, np.ones((36, 5, 3), np.float32))
    path.write_bytes(path.read_bytes()[:-10])
    rating = rate_label_file(path, FIVE)
    assert rating.reason == "damaged"
    assert rating.detail.startswith("expected a .npy array of numbers")
    assert describe(rating, FIVE) == rating.detail


def test_worst_first_goes_by_severity_then_badness_then_order() -> None:
    ratings = [
        LabelRating(reason="small", badness=-0.02),
        LabelRating(),
        LabelRating(reason="missing"),
        LabelRating(reason="small", badness=-0.01),
        LabelRating(reason="missing"),
    ]
    assert list(worst_first(ratings).items()) == [("missing", [2, 4]), ("small", [3, 0])]
    assert list(REASONS)[:3] == ["missing", "damaged", "empty"]


def test_pieces_agree_with_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        body = rng.random((int(rng.integers(1, 12)), int(rng.integers(1, 9)))) < 0.4
        assert sorted(_pieces(body)) == sorted(_search(body))


def _search(body: np.ndarray) -> list[int]:
    left = {(int(i), int(j)) for i, j in np.argwhere(body)}
    sizes = []
    while left:
        pending, size = [left.pop()], 0
        while pending:
            i, j = pending.pop()
            size += 1
            near = {(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)} & left
            left -= near
            pending += near
        sizes.append(size)
    return sizes
