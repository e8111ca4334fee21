"""Right arguments of what trackers are given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from partreid.tracking.adapters import boxmot, deep_sort_realtime, norfair, roboflow, tracklab, vectors
from tests.property.fuzzing import Target, fuzz
from tests.tracking.adapters.scene import BLUE, RED, colours, scene

RGB, BGR = colours(), colours("bgr")
FRAME, BOXES = scene((RED, 100), (BLUE, 110))
FOUND = RGB(FRAME, BOXES)
METRICS = st.builds(lambda: deep_sort_realtime.DeepSortAppearance(RGB))
ROWS = deep_sort_realtime.DeepSortAppearance(RGB).pack(FOUND)
NORFAIR = st.builds(lambda: norfair.NorfairAppearance(RGB))
OPTIONS = {"least_parts": st.integers(1, 2), "momentum": st.floats(0, 1)}
TABLE = pd.DataFrame({"bbox_ltwh": [np.array([100.0, 20, 40, 80])]})

TARGETS: list[Target] = [
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
