"""The examples in docs/tracking.md, with the trackers themselves and people of the shipped set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.synthetic.shipped import shipped_split
from partreid.tracking import FrameEmbedder

PAGE = (Path(__file__).parents[3] / "docs/tracking.md").read_text(encoding="utf-8")


def example(heading: str) -> str:
    """The Python under a heading."""
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What all examples begin with. Two people walk for four frames, then one of them alone."""
    people: dict[str, Image.Image] = {}
    for path in sorted((shipped_split() / "query").glob("*.jpg")):
        people.setdefault(path.name[:4], Image.open(path).resize((40, 80)))
    first, second = list(people.values())[:2]
    video = []
    for time in range(5):
        frame, boxes = Image.new("RGB", (240, 120), (90, 100, 90)), [[20 + 2 * time, 20], [150 - 2 * time, 25]]
        for person, corner in zip((first, second), boxes[: 2 - (time == 4)], strict=False):
            frame.paste(person, (corner[0], corner[1]))
        corners = np.array([[x, y, x + 40, y + 80] for x, y in boxes[: 2 - (time == 4)]], dtype=float)
        video.append((np.asarray(frame)[..., ::-1].copy(), corners))
    begin: dict[str, Any] = {"video": [*video, (video[0][0], np.empty((0, 4)))]}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], begin)
    return begin


def test_your_own_tracker(names: dict[str, Any]) -> None:
    found = dict(names)
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], found)
    assert [len(memory) for memory in found["memories"]] == [5, 4]


def test_norfair(names: dict[str, Any]) -> None:
    found = dict(names)
    exec(example("norfair").replace('"iou",', '"iou", initialization_delay=1,'), found)
    tracks = found["tracker"].tracked_objects
    assert sorted(one.id for one in tracks) == [1, 2]
    assert {len(found["appearance"]._known[one][0]) for one in tracks} == {4}


def test_deep_sort_realtime(names: dict[str, Any]) -> None:
    found = dict(names)
    exec(example("deep-sort-realtime"), found)
    assert [one.track_id for one in found["tracks"] if one.is_confirmed()] == ["1", "2"]
    assert {name: len(memory) for name, (memory, _) in found["appearance"]._tracks.items()} == {"1": 5, "2": 4}


def test_supervision_and_trackers(names: dict[str, Any]) -> None:
    found = dict(names)
    exec(example("supervision and trackers"), found)
    assert sorted(len(memory) for memory in found["memories"].values()) == [3, 4]
    assert found["features"].shape == (0, 6 * 256)


def test_boxmot(names: dict[str, Any]) -> None:
    pytest.importorskip("boxmot")
    found = dict(names)
    exec(example("BoxMOT"), found)
    assert found["encoder"].embedding_dim == 6 * 256


def test_tracklab(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tracklab.pipeline")
    import pandas as pd
    import torch
    from bpbreid_strong_sort.sort import nn_matching

    monkeypatch.setattr(nn_matching, "_nn_part_based", None)
    found = dict(names)
    exec(example("TrackLab"), found)
    module = found["PartReID"](device="cpu", tracking_dataset=None)
    assert module.level == "image"
    frame = found["video"][0][0]
    detections = pd.DataFrame({"bbox_ltwh": [np.array([20.0, 20, 40, 80])], "image_id": 0}, index=[3])
    batch = torch.from_numpy(module.preprocess(frame, detections, None))[None]
    assert module.process(batch, detections, None).embeddings[3].shape == (6, 256)
    assert isinstance(nn_matching._nn_part_based, found["TrackLabDistance"])


def test_the_embedder_is_the_shipped_model(names: dict[str, Any]) -> None:
    assert isinstance(names["embedder"], FrameEmbedder)
    assert names["embedder"].calibration is not None
