"""Roboflow's trackers: an object that converts detections of supervision to vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError
from partreid.objects import Guided
from partreid.tracking.adapters.vectors import UnitVectors
from partreid.tracking.frame_embedder import FrameEmbedder


class RoboflowFeatures(Guided):
    """One vector per detection, as :class:`UnitVectors` makes them, with the interface that Roboflow announced.

    Args:
        embedder: with ``order="bgr"``, as the frames of ``trackers`` are.
        least_parts: how many body parts a detection must show.

    Raises:
        ConfigError: the embedder takes frames in RGB.
    """

    def __init__(self, embedder: FrameEmbedder, *, least_parts: int = 1) -> None:
        if embedder.order != "bgr":
            raise ConfigError('Roboflow\'s packages give frames in BGR. Write FrameEmbedder(..., order="bgr").')
        self._embedder, self._unit = embedder, UnitVectors(least_parts=least_parts)

    def extract_features(self, detections: Any, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, S·D], where row i belongs to detection i.

        Args:
            detections: ``supervision.Detections``, or boxes [N, 4]. frame: uint8 [H, W, 3] in BGR.

        Raises:
            DataError, ShapeError: as the embedder raises them.
        """
        return self._unit(self._embedder(frame, detections)).numpy()
