"""Which of several persons a crop is about."""

import numpy as np
import pytest

from partreid.errors import LabelError
from partreid.labels.target import choose_target


def person(x: float, top: float, height: float = 100) -> np.ndarray:
    """A standing skeleton: head, shoulders, hips, knees, ankles below each other."""
    rows = [0.05] * 5 + [0.2] * 2 + [0.35] * 2 + [0.5] * 2 + [0.52] * 2 + [0.75] * 2 + [0.95] * 2
    return np.array([[x, top + r * height, 1.0] for r in rows])


def test_the_head_nearest_the_top_centre_wins() -> None:
    persons = np.stack([person(8, 0), person(32, 10), person(60, 0)])
    assert choose_target(persons, (128, 64)) == 1
    assert choose_target(persons[::-1], (128, 64)) == 1


def test_a_hidden_head_is_taken_to_be_above_the_shoulders() -> None:
    hidden, lower = person(32, 0), person(36, 30)
    hidden[:5, 2] = 0
    hidden[:5, :2] = 1000  # what an unseen keypoint holds must not matter
    assert choose_target(np.stack([lower, hidden]), (128, 64)) == 1
    hidden[11:13, 2] = 0
    assert choose_target(np.stack([lower, hidden]), (128, 64)) == 1


def test_a_fragment_is_no_candidate() -> None:
    fragment = person(32, 0)
    fragment[6:, 2] = 0
    assert choose_target(np.stack([fragment, person(20, 20)]), (128, 64)) == 1


def test_who_walks_in_the_background_is_no_candidate_but_who_is_cut_off_is() -> None:
    target = person(20, 20)
    assert choose_target(np.stack([person(32, 0, height=50), target]), (128, 64)) == 1
    assert choose_target(np.stack([person(32, 0, height=70), target]), (128, 64)) == 0
    behind = person(32, 5)
    behind[11:, 2] = 0  # the lower half is hidden by the other person
    assert choose_target(np.stack([target, behind]), (128, 64)) == 1
    scattered = person(32, 0)
    scattered[[0, 5, 6, 13, 14, 15, 16], 2] = 0  # no segment is whole: its stature is not known
    assert choose_target(np.stack([target, scattered]), (128, 64)) == 1


def test_nobody_or_another_shape_is_refused() -> None:
    for wrong in (np.zeros((0, 17, 3)), np.zeros((17, 3)), np.zeros((1, 18, 3))):
        with pytest.raises(LabelError, match=r"\[P, 17, 3\]"):
            choose_target(wrong, (128, 64))
