"""norfair itself with the adapter's distances."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import norfair
import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.tracking.adapters import NorfairAppearance
from tests.tracking.adapters.scene import BLUE, HIDDEN, RED, Colours, Person, colours, scene


def tracker(appearance: NorfairAppearance | None, **options: Any) -> norfair.Tracker:
    made = norfair.Tracker("iou", distance_threshold=0.8, initialization_delay=1, **options)
    return made if appearance is None else appearance.attach(made)


def step(tracker: norfair.Tracker, *people: Person) -> dict[float, int]:
    """Which object stands where."""
    frame, boxes = scene(*people)
    found = tracker.update(
        [
            norfair.Detection(corners, embedding=row)
            for corners, row in zip(boxes.reshape(-1, 2, 2), colours()(frame, boxes), strict=True)
        ]
    )
    return {float(one.last_detection.points[0, 0]): one.id for one in found if one.last_detection.age == one.age}


def ids(tracker: norfair.Tracker, *frames: tuple[Person, ...]) -> list[dict[float, int]]:
    return [step(tracker, *people) for people in frames]


STANDING = [((RED, 100), (BLUE, 120))] * 4


@pytest.mark.parametrize(("weight", "changed"), [(0.8, False), (0.0, True)])
def test_people_who_change_places_keep_their_ids_by_appearance(weight: float, changed: bool) -> None:
    ours = tracker(NorfairAppearance(colours(), weight=weight, gate=None), past_detections_length=10**6)
    before = ids(ours, *STANDING)[-1]
    after = step(ours, (BLUE, 100), (RED, 120))
    assert sorted(before) == sorted(after) == [100, 120]
    assert (after[120] != before[100]) == changed


def test_who_shows_nothing_goes_by_the_boxes() -> None:
    ours = tracker(NorfairAppearance(colours(), weight=1.0), past_detections_length=10**6)
    before = ids(ours, *STANDING)[-1]
    assert step(ours, (HIDDEN, 101), (HIDDEN, 121)) == {101: before[100], 121: before[120]}


def test_distances_are_as_they_are_said() -> None:
    appearance = NorfairAppearance(colours(), weight=0.25, gate=0.9)
    ours = tracker(appearance)
    ids(ours, *STANDING)
    frame, boxes = scene((RED, 110), (HIDDEN, 130), (BLUE, 115), (RED, 200))
    candidates = [
        norfair.Detection(corners, embedding=row)
        for corners, row in zip(boxes.reshape(-1, 2, 2), colours()(frame, boxes), strict=True)
    ]
    red, _ = ours.tracked_objects
    found = ours.distance_function.get_distances([red], candidates)
    # 30 of 40 columns are shared: IoU 30 / 50. The same appearance costs nothing.
    np.testing.assert_allclose(found[:2, 0], [0.75 * 0.4, 1 - 10 / 70], rtol=1e-4)
    assert np.isinf(found[2:, 0]).all()  # another person; no overlap
    candidates[0].label = "bag"
    assert np.isinf(ours.distance_function.get_distances([red], candidates)[0, 0])


@pytest.mark.parametrize("reid", [True, False])
def test_who_was_lost_comes_back_elsewhere_by_appearance(reid: bool) -> None:
    options = {"reid_distance_threshold": 0.5, "reid_hit_counter_max": 50} if reid else {}
    ours = tracker(NorfairAppearance(colours()), hit_counter_max=4, past_detections_length=10**6, **options)
    first = ids(ours, *[((RED, 40),)] * 6)[-1][40]
    ids(ours, *[()] * 10)
    back = ids(ours, *[((BLUE, 200), (RED, 300))] * 6)[-1]
    assert (back[300] == first) == reid
    assert back[200] != first


def test_who_comes_back_hidden_stays_new() -> None:
    ours = tracker(NorfairAppearance(colours()), hit_counter_max=4, past_detections_length=10**6,
                   reid_distance_threshold=1.0, reid_hit_counter_max=50)  # fmt: skip
    first = ids(ours, *[((RED, 40),)] * 6)[-1][40]
    ids(ours, *[()] * 10)
    assert ids(ours, *[((HIDDEN, 300),)] * 6)[-1][300] != first


def test_memories_die_with_their_objects() -> None:
    appearance = NorfairAppearance(colours())
    ours = tracker(appearance, hit_counter_max=3)
    ids(ours, *[((RED, 40),)] * 4)
    assert len(appearance._known) == 1
    ids(ours, *[()] * 6)
    gc.collect()
    assert ours.tracked_objects == []
    assert len(appearance._known) == 0


def test_nobody_and_nothing_to_compare() -> None:
    ours = tracker(NorfairAppearance(colours()))
    assert ours.update([]) == []
    assert step(ours, (RED, 40)) == {}
    assert ours.distance_function.get_distances([], []).shape == (0, 0)


def test_wrong_detections_are_told() -> None:
    frame, boxes = scene((RED, 40))
    corners, row = boxes.reshape(2, 2), colours()(frame, boxes)
    broken = replace(row, vectors=torch.full_like(row.vectors, torch.nan))
    for wrong, error, words in (
        (norfair.Detection(corners), DataError, r"embedding=embeddings\[i\]"),
        (norfair.Detection(corners, embedding=row[[0, 0]]), DataError, "one row"),
        (norfair.Detection(corners[:1], embedding=row), ShapeError, "two corners"),
        (norfair.Detection(corners, embedding=broken), ShapeError, "finite"),
    ):
        ours = tracker(NorfairAppearance(colours()))
        ours.update([norfair.Detection(corners, embedding=row)])
        with pytest.raises(error, match=words):
            ours.update([wrong])


def test_wrong_settings_are_told() -> None:
    with pytest.raises(ConfigError, match="weight lies between"):
        NorfairAppearance(colours(), weight=1.5)
    with pytest.raises(ConfigError, match="gate lies between"):
        NorfairAppearance(colours(), gate=float("nan"))
    with pytest.raises(ConfigError, match="momentum"):
        NorfairAppearance(colours(), momentum=2)
    with pytest.raises(ShapeError, match="least_parts"):
        NorfairAppearance(colours(), least_parts=0)
    uncalibrated = colours()
    uncalibrated.calibration = None
    assert Colours.calibration is not None
    with pytest.raises(ConfigError, match="partreid calibrate"):
        NorfairAppearance(uncalibrated)
