"""deep_sort_realtime itself with the adapter's metric."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from deep_sort_realtime.deepsort_tracker import DeepSort

from partreid.errors import ConfigError, ShapeError
from partreid.tracking import AppearanceMemory
from partreid.tracking.adapters import DeepSortAppearance
from partreid.types import PartEmbeddings
from tests.tracking.adapters.scene import BLUE, HIDDEN, RED, Person, colours, scene


@pytest.fixture
def appearance() -> DeepSortAppearance:
    return DeepSortAppearance(colours())


def tracker(appearance: DeepSortAppearance, **options: Any) -> DeepSort:
    made = DeepSort(embedder=None, n_init=2, **options)
    made.tracker.metric = appearance
    return made


def step(tracker: DeepSort, *people: Person) -> dict[float, str]:
    """Which track stands where."""
    tracks = tracker.update_tracks(*tracker.tracker.metric.detections(*scene(*people)))
    return {
        float(one.original_ltwh[0]): one.track_id for one in tracks if one.is_confirmed() and not one.time_since_update
    }


def test_people_who_change_places_keep_their_ids(appearance: DeepSortAppearance) -> None:
    ours = tracker(appearance)
    for _ in range(4):
        before = step(ours, (RED, 100), (BLUE, 106))
    assert step(ours, (BLUE, 100), (RED, 106)) == {100: before[106], 106: before[100]}


def test_who_shows_nothing_goes_by_the_boxes_but_only_in_the_next_frame(appearance: DeepSortAppearance) -> None:
    ours = tracker(appearance)
    for _ in range(4):
        before = step(ours, (RED, 100), (BLUE, 120))
    assert step(ours, (HIDDEN, 101), (HIDDEN, 121)) == {101: before[100], 121: before[120]}
    step(ours)
    assert step(ours, (HIDDEN, 101), (BLUE, 120)) == {120: before[120]}


def test_packed_rows_are_the_embeddings(appearance: DeepSortAppearance) -> None:
    frame, boxes = scene((RED, 100), (HIDDEN, 200))
    made = colours()(frame, boxes)
    rows = appearance.pack(made)
    assert (rows.dtype, rows.shape) == (np.float32, (2, 2 * 3 + 2))
    assert rows[0].tolist() == [200, 0, 0, 100, 0, 0, 1, 1]
    again = appearance.unpack(rows)
    assert torch.equal(again.vectors, made.vectors)
    assert torch.equal(again.visibility, made.visibility)
    assert (again.slots, again.model) == (made.slots, made.model)
    for wrong in (rows[:, :-1], rows[0], [["a"] * 8], []):
        with pytest.raises(ShapeError):
            appearance.unpack(wrong)
    with pytest.raises(ShapeError, match="slots differ"):
        appearance.pack(PartEmbeddings(torch.ones(1, 2, 3)))
    rows[0, 0] = np.nan
    with pytest.raises(ShapeError, match="finite"):
        appearance.distance(rows, ["1"])


def test_a_row_that_deepsort_gives_again_counts_once(appearance: DeepSortAppearance) -> None:
    a, b, c = (appearance.pack(colours()(*scene((person, 100)))) for person in (RED, BLUE, RED))
    appearance.partial_fit(np.vstack([a, b]), np.array(["1", "1"]), ["1"])
    appearance.partial_fit(np.vstack([b, c]), np.array(["1", "1"]), ["1"])  # as deep_sort_realtime does
    appearance.partial_fit(c, np.array(["1"]), ["1"])  # a frame without the person
    memory, expected = appearance._tracks["1"][0], AppearanceMemory()
    for time, row in enumerate((a, b, c)):
        expected.update(appearance.unpack(row), time=time)
    assert len(memory) == 3
    assert torch.equal(memory.embeddings.vectors, expected.embeddings.vectors)


def test_costs_of_known_and_unknown(appearance: DeepSortAppearance) -> None:
    rows = appearance.pack(colours()(*scene((RED, 0), (BLUE, 50), (HIDDEN, 100))))
    appearance.partial_fit(rows[:1], ["7"], ["7"])
    found = appearance.distance(rows, ["7", "unheard of"])
    assert found[0, 0] == pytest.approx(0, abs=1e-3)
    assert np.isinf(found[0, 1:]).all()  # less probable than 2 %; nothing to compare
    assert np.isinf(found[1]).all()
    assert appearance.distance(rows[:0], ["7"]).shape == (1, 0)
    assert appearance.distance(rows, []).shape == (0, 3)


def test_tracks_that_die_are_forgotten(appearance: DeepSortAppearance) -> None:
    ours = tracker(appearance, max_age=2)
    assert step(ours) == {}
    for _ in range(3):
        step(ours, (RED, 100))
    assert len(appearance._tracks) == 1
    for _ in range(4):
        step(ours)
    assert appearance._tracks == {}
    for _ in range(3):
        step(ours, (RED, 100))
    ours.delete_all_tracks()  # ids begin at 1 again
    for _ in range(3):
        step(ours, (BLUE, 300))
    assert appearance._tracks["1"][0].embeddings["head"].vectors.tolist() == [[[0, 0, 200]]]


def test_boxes_outside_and_without_area(appearance: DeepSortAppearance) -> None:
    frame, _ = scene((RED, 100), (BLUE, 200))
    boxes = [[100, 20, 100, 100], [500, 20, 540, 100], [200, 20, 240, 100]]
    raw, embeds = appearance.detections(frame, boxes, [0.1, 0.2, 0.3])
    assert raw == [([500, 20, 40, 80], 0.2, "person"), ([200, 20, 40, 80], 0.3, "person")]
    assert embeds[:, -2:].tolist() == [[0, 0], [1, 1]]
    assert embeds[1, :3].tolist() == [0, 0, 200]
    found = SimpleNamespace(xyxy=np.array(boxes), confidence=np.array([0.1, 0.2, 0.3], np.float32))
    assert [score for _, score, _ in appearance.detections(frame, found)[0]] == pytest.approx([0.2, 0.3])
    with pytest.raises(ShapeError, match="3 confidences"):
        appearance.detections(frame, boxes, [0.1])


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_wrong_settings_are_told(wrong: float) -> None:
    with pytest.raises(ConfigError, match="max_cost"):
        DeepSortAppearance(colours(), max_cost=wrong)
