"""Adapters that give one vector: BoxMOT's protocol, Roboflow's names, and what unknown persons become."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv
import torch
import trackers

from partreid.errors import ConfigError, ShapeError
from partreid.tracking import AppearanceMemory, single_vector
from partreid.tracking.adapters import BoxMOTEncoder, RoboflowFeatures, UnitVectors
from partreid.types import PartEmbeddings
from tests.tracking.adapters.scene import BLUE, HIDDEN, RED, Person, colours, scene

REQUIREMENTS = SimpleNamespace(masks=False)
"""In the place of BoxMOT's ``EncoderRequirements()``."""


def as_boxmot(frame: np.ndarray, boxes: np.ndarray) -> tuple[SimpleNamespace, SimpleNamespace]:
    """A stand-in for BoxMOT's Frame and Detections, by their documented fields."""
    image = torch.from_numpy(frame).permute(2, 0, 1).contiguous()
    return SimpleNamespace(image=image), SimpleNamespace(geometry=SimpleNamespace(values=torch.from_numpy(boxes)))


def test_unknown_detections_are_strangers_to_everybody() -> None:
    random = torch.Generator().manual_seed(0)
    embeddings = PartEmbeddings(torch.randn(60, 4, 128, generator=random), torch.ones(60, 4))
    embeddings.visibility[10:] = 0
    unit = UnitVectors()
    vectors = torch.cat([unit(embeddings), unit(embeddings[10:])])
    torch.testing.assert_close(vectors[:10], single_vector(embeddings[:10]))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(110))
    cosines = (vectors @ vectors.T).fill_diagonal_(0)
    assert cosines[10:].abs().max() < 0.25
    assert torch.equal(UnitVectors()(embeddings), vectors[:60])  # the same again in another run


def test_least_parts_counts() -> None:
    half = PartEmbeddings(torch.ones(1, 2, 64), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(UnitVectors()(half), single_vector(half))
    assert not torch.allclose(UnitVectors(least_parts=2)(half), single_vector(half))
    with pytest.raises(ShapeError, match="least_parts"):
        UnitVectors(least_parts=0)


def test_boxmot_gets_a_vector_of_length_1_for_each_detection() -> None:
    encoder = BoxMOTEncoder(colours(), REQUIREMENTS)
    frame, boxes = scene((RED, 0), (BLUE, 100), (HIDDEN, 200))
    crowd, nobody, outside = as_boxmot(frame, boxes), as_boxmot(frame, boxes[:0]), as_boxmot(frame, boxes + 500)
    found = encoder.encode(*zip(crowd, nobody, outside, strict=True))
    assert encoder.embedding_dim == 6
    assert encoder.requirements is REQUIREMENTS
    assert [tuple(one.shape) for one in found] == [(3, 6), (0, 6), (3, 6)]
    assert {one.dtype for one in found} == {torch.float32}
    torch.testing.assert_close(torch.cat(found).norm(dim=1), torch.ones(6))
    torch.testing.assert_close(found[0][0], torch.tensor([0.5**0.5, 0, 0, 0.5**0.5, 0, 0]))
    assert encoder.encode([], []) == []
    with pytest.raises(ShapeError, match="1 and 0"):
        encoder.encode(crowd[:1], [])


def test_boxmot_itself_tracks_with_it() -> None:
    """Where BoxMOT is installed: it is under the AGPL, and no dependency of the tests."""
    pytest.importorskip("boxmot")
    from boxmot import BotSort
    from boxmot.pipelines.tracking import TrackingPipeline
    from boxmot.reid.protocols import AppearanceEncoder, EncoderRequirements
    from boxmot.structures import Boxes, Detections, Frame

    encoder = BoxMOTEncoder(colours(), EncoderRequirements())
    assert isinstance(encoder, AppearanceEncoder)
    pipeline = TrackingPipeline(None, BotSort(use_cmc=False), reid=encoder)

    def step(*people: Person) -> dict[float, int]:
        frame, boxes = scene(*people)
        image = torch.from_numpy(frame).permute(2, 0, 1).contiguous()
        found = Detections(Boxes(torch.tensor(boxes).float()), torch.full((len(boxes),), 0.9),
                           torch.zeros(len(boxes), dtype=torch.int64), "a")  # fmt: skip
        tracks = pipeline.step_detections(Frame(image, "a"), found).tracks
        rows, ids = tracks.detection_indices.tolist(), tracks.track_ids.tolist()
        return {boxes[row, 0]: track for row, track in zip(rows, ids, strict=True)}

    for _ in range(3):
        before = step((RED, 100), (BLUE, 106))
    assert step((BLUE, 100), (RED, 106)) == {100: before[106], 106: before[100]}
    assert step((HIDDEN, 101), (HIDDEN, 107)) == {101: before[106], 107: before[100]}
    assert step() == {}


def test_roboflow_gets_an_array() -> None:
    features = RoboflowFeatures(colours("bgr"))
    frame, boxes = scene((RED, 0), (BLUE, 100))
    found = sv.Detections(xyxy=boxes)
    vectors = features.extract_features(found, frame)
    assert (vectors.dtype, vectors.shape) == (np.float32, (2, 6))
    np.testing.assert_allclose(vectors[1], [0, 0, 0.5**0.5, 0, 0, 0.5**0.5], rtol=1e-6)
    assert features.extract_features(sv.Detections.empty(), frame).shape == (0, 6)


def test_the_order_of_channels_must_be_theirs() -> None:
    with pytest.raises(ConfigError, match='order="rgb"'):
        BoxMOTEncoder(colours("bgr"), REQUIREMENTS)
    with pytest.raises(ConfigError, match='order="bgr"'):
        RoboflowFeatures(colours("rgb"))


def test_roboflows_trackers_take_embeddings_along() -> None:
    """Until they read appearance themselves: their tracks fill memories, which know a person that comes back."""
    tracker, memories = trackers.ByteTrackTracker(minimum_consecutive_frames=1), {}
    embedder = colours()
    for time in range(5):
        frame, boxes = scene((RED, 40 + time), (BLUE, 200))
        found = sv.Detections(xyxy=boxes, confidence=np.full(2, 0.9), data={"row": np.arange(2)})
        embeddings = embedder(frame, found)
        tracked = tracker.update(found)
        for track, row in zip(tracked.tracker_id.tolist(), tracked.data["row"].tolist(), strict=True):
            if track >= 0:
                memories.setdefault(track, AppearanceMemory()).update(embeddings[row], time=time)
    assert sorted(memory.embeddings["head"].vectors.flatten().tolist() for memory in memories.values()) == [
        [0, 0, 200],
        [200, 0, 0],
    ]
