"""Right arguments of what trackers are given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from partreid.retrieval import MatchCalibration
from partreid.tracking import frame_embedder, memory, memory_file
from partreid.tracking.adapters import boxmot, deep_sort_realtime, norfair, roboflow, tracklab, vectors
from partreid.types import PartEmbeddings
from tests.property.fuzz_inference import extractor
from tests.property.fuzz_types import folder
from tests.property.fuzzing import Target, embeddings, fuzz
from tests.tracking.adapters.scene import BLUE, RED, colours, scene

RGB, BGR = colours(), colours("bgr")
FRAME, BOXES = scene((RED, 100), (BLUE, 110))
FOUND = RGB(FRAME, BOXES)
METRICS = st.builds(lambda: deep_sort_realtime.DeepSortAppearance(RGB))
ROWS = deep_sort_realtime.DeepSortAppearance(RGB).pack(FOUND)
NORFAIR = st.builds(lambda: norfair.NorfairAppearance(RGB))
OPTIONS = {"least_parts": st.integers(1, 2), "momentum": st.floats(0, 1)}
TABLE = pd.DataFrame({"bbox_ltwh": [np.array([100.0, 20, 40, 80])]})

CURVES = MatchCalibration(prior=0.5, offsets=(1.0, 2.0, 3.0), slopes=(1.0, 1.0, 1.0))


def remembering(first: PartEmbeddings, *, times: int = 1) -> memory.AppearanceMemory:
    """A track that was seen."""
    known = memory.AppearanceMemory(forget_after=5.0)
    for time in range(times):
        known.update(first, time=time)
    return known


MEMORIES = st.builds(remembering, embeddings(n=1), times=st.integers(0, 2))
SEEN = st.builds(remembering, embeddings(n=1))
FRAMES = st.builds(lambda: frame_embedder.FrameEmbedder(extractor(), order="rgb"))

TARGETS: list[Target] = [
    fuzz(memory.AppearanceMemory, momentum=st.floats(0, 1), window=st.integers(1, 3), forget_after=st.floats(0, 9)),
    fuzz(memory.AppearanceMemory.update, self=MEMORIES, embeddings=embeddings(n=1), time=st.floats(2, 9),
         confidence=st.floats(0, 1)),
    fuzz(memory.AppearanceMemory.at, self=SEEN, time=st.floats(2, 9)),
    fuzz(memory.cost, nan=True, memories=st.lists(MEMORIES, max_size=3), detections=embeddings(), calibration=CURVES,
         time=st.floats(2, 9), gate=st.floats(0, 1), unknown=0.5, least_parts=st.integers(1, 2),
         prior=st.floats(0.01, 0.99)),
    fuzz(memory.single_vector, embeddings=embeddings(), matching=None, least_parts=st.integers(1, 2)),
    fuzz(memory_file.save_memories, path=st.builds(lambda: folder() / "memories"),
         memories=st.builds(dict, a=MEMORIES)),
    fuzz(memory_file.load_memories, path=st.builds(
        lambda known: memory_file.save_memories(folder() / "memories", {"a": known}), MEMORIES)),
    fuzz(frame_embedder.FrameEmbedder, model=st.builds(extractor), order=st.sampled_from(["rgb", "bgr"]),
         calibration=None, runtime=None, fixed=("model",)),
    fuzz(frame_embedder.FrameEmbedder.__call__, self=FRAMES, frame=FRAME, boxes=BOXES, fixed=("frame",)),
    fuzz(norfair.NorfairAppearance, embedder=RGB, weight=st.floats(0, 1), gate=st.floats(0, 1), **OPTIONS),
    fuzz(norfair.NorfairAppearance.attach, self=NORFAIR, tracker=SimpleNamespace(reid_distance_threshold=0.5)),
    fuzz(deep_sort_realtime.DeepSortAppearance, embedder=RGB, max_cost=st.floats(0, 1), **OPTIONS),
    fuzz(deep_sort_realtime.DeepSortAppearance.detections, self=METRICS, frame=FRAME, boxes=BOXES,
         confidences=[0.5, 1.0], fixed=("frame", "boxes")),
    fuzz(deep_sort_realtime.DeepSortAppearance.pack, self=METRICS, embeddings=FOUND),
    fuzz(deep_sort_realtime.DeepSortAppearance.unpack, self=METRICS, rows=ROWS),
    fuzz(deep_sort_realtime.DeepSortAppearance.partial_fit, self=METRICS, features=ROWS, targets=["1", "2"],
         active_targets=["1"], fixed=("targets", "active_targets")),
    fuzz(deep_sort_realtime.DeepSortAppearance.distance, self=METRICS, features=ROWS, targets=["1", "2"],
         fixed=("targets",)),
    fuzz(vectors.UnitVectors, least_parts=st.integers(1, 9)),
    fuzz(boxmot.BoxMOTEncoder, embedder=RGB, requirements=None, least_parts=1),
    fuzz(roboflow.RoboflowFeatures, embedder=BGR, least_parts=1),
    fuzz(roboflow.RoboflowFeatures.extract_features, self=roboflow.RoboflowFeatures(BGR),
         detections=SimpleNamespace(xyxy=BOXES), frame=FRAME, fixed=("detections", "frame")),
    fuzz(tracklab.tracklab_columns, embedder=RGB, image=FRAME, detections=TABLE, fixed=("image",)),
    fuzz(tracklab.TrackLabDistance, embedder=RGB, least_parts=st.integers(1, 2)),
]  # fmt: skip
