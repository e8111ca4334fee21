"""People of two colours, and an embedder that knows them by these: quick, and each figure can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from partreid.retrieval import MatchCalibration
from partreid.tracking import FrameEmbedder
from partreid.types import PartEmbeddings

RED, BLUE = ((200, 0, 0), (100, 0, 0)), ((0, 0, 200), (0, 0, 100))
HIDDEN = ((0, 0, 0), (0, 0, 0))

Person = tuple[Sequence[Sequence[int]], float]
"""Colours of the upper and the lower half, and where the box begins."""


class Colours:
    """A ``FrameEmbedder`` with two parts: the colours of both halves at the left edge. Black is not visible."""

    order = "rgb"
    calibration: MatchCalibration | None = MatchCalibration(prior=0.5, offsets=(4.0, 4.0), slopes=(0.1, 0.1))

    def __call__(self, frame: np.ndarray, boxes: object) -> PartEmbeddings:
        corners = np.asarray(getattr(boxes, "xyxy", [] if boxes is None else boxes), dtype=float).reshape(-1, 4)
        vectors = torch.zeros(len(corners), 2, 3)
        for row, (left, top, right, bottom) in enumerate(corners.clip(0).round().astype(int)):
            crop = np.asarray(frame)[top:bottom, left:right][:, :5]
            if crop.size:
                halves = np.array_split(crop.astype(np.float32), 2)
                vectors[row] = torch.from_numpy(np.stack([half.mean(axis=(0, 1)) for half in halves]))
        return PartEmbeddings(vectors, (vectors.sum(2) > 0).float(), ("head", "legs"))


def colours(order: str = "rgb") -> FrameEmbedder:
    """For adapters."""
    made = Colours()
    made.order = order
    return cast(FrameEmbedder, made)


def scene(*people: Person) -> tuple[np.ndarray, np.ndarray]:
    """A frame [120, 400, 3] and its boxes [N, 4], 40 wide and 80 high; whoever stands further right is in front."""
    frame = np.zeros((120, 400, 3), np.uint8)
    boxes = np.array([[left, 20, left + 40, 100] for _, left in people], dtype=float).reshape(-1, 4)
    for halves, left in sorted(people, key=lambda one: one[1]):
        rows, columns = (20, 60, 100), slice(int(left), int(left) + 40)
        frame[rows[0] : rows[1], columns], frame[rows[1] : rows[2], columns] = halves
    return frame, boxes
