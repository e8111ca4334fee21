"""TrackLab's columns and comparison, by the interface of tracklab 1.3."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.tracking.adapters import TrackLabDistance, tracklab_columns
from tests.tracking.adapters.scene import BLUE, HIDDEN, RED, Person, colours, scene


def table(*people: Person) -> tuple[np.ndarray, pd.DataFrame]:
    """A frame, and detections of it as TrackLab keeps them."""
    frame, boxes = scene(*people)
    ltwh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    index = [17 + 3 * row for row in range(len(boxes))]
    return frame, pd.DataFrame({"bbox_ltwh": [*ltwh], "image_id": 5}, index=index)


def features(*people: Person) -> dict[str, np.ndarray]:
    columns = tracklab_columns(colours(), *table(*people))
    return {"reid_features": np.stack(columns.embeddings), "visibility_scores": np.stack(columns.visibility_scores)}


def test_columns_are_the_embeddings() -> None:
    frame, detections = table((RED, 0), (HIDDEN, 100))
    columns = tracklab_columns(colours(), frame, detections)
    assert list(columns.index) == [17, 20]
    assert list(columns) == ["embeddings", "visibility_scores"]
    assert columns.embeddings[17].tolist() == [[200, 0, 0], [100, 0, 0]]
    assert [one.tolist() for one in columns.visibility_scores] == [[1, 1], [0, 0]]
    assert {one.dtype for column in columns for one in columns[column]} == {np.dtype(np.float32)}
    assert list(detections) == ["bbox_ltwh", "image_id"]


def test_nobody_outside_and_wrong_tables() -> None:
    frame, detections = table((RED, 0))
    empty = tracklab_columns(colours(), frame, detections[:0])
    assert (len(empty), list(empty)) == (0, ["embeddings", "visibility_scores"])
    outside = detections.assign(bbox_ltwh=[np.array([900.0, 0, 10, 10])])
    assert tracklab_columns(colours(), frame, outside).visibility_scores[17].tolist() == [0, 0]
    with pytest.raises(DataError, match="bbox_ltwh"):
        tracklab_columns(colours(), frame, detections.drop(columns="bbox_ltwh"))
    with pytest.raises(ConfigError, match='order="rgb"'):
        tracklab_columns(colours("bgr"), frame, detections)


def test_costs_of_a_track_are_calibrated_and_unknown_ones_infinite() -> None:
    distance = TrackLabDistance(colours())
    track = {name: values[0] for name, values in features((RED, 0)).items()}
    found = distance([features((BLUE, 0)), track], features((RED, 0), (BLUE, 100), (HIDDEN, 200)))
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert np.isinf(found[1:]).all()  # less probable than 2 %; nothing to compare
    hidden = {name: values[0] for name, values in features((HIDDEN, 0)).items()}
    assert np.isinf(distance([hidden], features((RED, 0)))).all()
    assert distance([track], {name: values[:0] for name, values in features((RED, 0)).items()}).shape == (0,)


def test_other_slots_and_broken_values_are_refused() -> None:
    distance = TrackLabDistance(colours())
    right = features((RED, 0))
    track = {name: values[0] for name, values in right.items()}
    for wrong in (
        right | {"reid_features": right["reid_features"][:, :1]},
        right | {"reid_features": right["reid_features"] * np.nan},
        right | {"visibility_scores": right["visibility_scores"] + 1},
    ):
        with pytest.raises(ShapeError):
            distance([track], wrong)


def test_the_strongsort_in_tracklab_tracks_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tracklab is installed: it is no dependency of the tests, as it brings some fifty packages."""
    nn_matching = pytest.importorskip("bpbreid_strong_sort.sort.nn_matching")
    import torch
    from bpbreid_strong_sort.strong_sort import StrongSORT

    monkeypatch.setattr(nn_matching, "_nn_part_based", TrackLabDistance(colours()))
    tracker = StrongSORT(
        ema_alpha=0.9, mc_lambda=0.995, max_dist=0.5, motion_criterium="iou", max_iou_distance=0.8,
        max_oks_distance=0.7, max_age=30, n_init=0, nn_budget=100, min_bbox_confidence=0.0,
        only_position_for_kf_gating=False, max_kalman_prediction_without_update=7,
        matching_strategy="strong_sort_matching", gating_thres_factor=1, w_kfgd=1, w_reid=1, w_st=1,
    )  # fmt: skip

    def step(*people: Person) -> list[int]:
        frame, detections = table(*people)
        made = tracklab_columns(colours(), frame, detections)
        found = tracker.update(
            torch.tensor(detections.index.to_numpy()),
            *(torch.from_numpy(np.stack(one).astype(np.float32))
              for one in (detections.bbox_ltwh, made.embeddings, made.visibility_scores)),
            torch.ones(len(people)), torch.zeros(len(people)), torch.ones(len(people)), None,
        )  # fmt: skip
        return [int(found.track_id[row]) for row in detections.index]

    for _ in range(3):
        red, blue = step((RED, 100), (BLUE, 106))
    assert step((BLUE, 100), (RED, 106)) == [blue, red]
    assert step((HIDDEN, 101), (HIDDEN, 107)) == [blue, red]
