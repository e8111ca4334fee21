"""What the adapters share that give costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError
from partreid.tracking.frame_embedder import FrameEmbedder
from partreid.tracking.memory import AppearanceMemory, cost
from partreid.types import PartEmbeddings
from partreid.types.numbers import require_whole


class Costs:
    """Costs of tracks and detections of one embedder; its calibration is needed.

    Args:
        least_parts, gate: as in :func:`~partreid.tracking.memory.cost`. momentum: of the tracks' memories.

    Raises:
        ConfigError: the embedder has no calibration, or a number lies outside its range.
    """

    def __init__(self, embedder: FrameEmbedder, *, momentum: float, least_parts: int, gate: float | None = 1.0) -> None:
        if embedder.calibration is None:
            raise ConfigError(
                "A tracker needs costs, and this model has no calibration that turns distances into them. Fit one with "
                "partreid calibrate, and give it: FrameEmbedder(model, calibration=...)."
            )
        self._calibration = embedder.calibration
        self._momentum = AppearanceMemory(momentum=momentum).momentum
        self._least_parts, self._gate = require_whole("least_parts", least_parts, least=1), gate

    def memory(self) -> AppearanceMemory:
        """Of a new track."""
        return AppearanceMemory(momentum=self._momentum)

    def __call__(self, memories: Sequence[AppearanceMemory], detections: PartEmbeddings) -> NDArray[np.float64]:
        """[T, N] costs in [0, 1], infinite from the gate on, NaN where nothing is known.

        Raises:
            ShapeError: a value is not allowed: a NaN of a broken embedding would look like one of these.
        """
        return cost(
            memories, detections.validate(), self._calibration, gate=self._gate, unknown=math.nan,
            least_parts=self._least_parts,
        )  # fmt: skip


def take(memory: AppearanceMemory, embeddings: PartEmbeddings) -> None:
    """One more detection of a track. Nothing is forgotten here, so that its number will do for the time."""
    memory.update(embeddings, time=len(memory))


def nobody(embedder: FrameEmbedder) -> PartEmbeddings:
    """[0, S, D] of an embedder: its slots, width and model."""
    return embedder(np.zeros((2, 2, 3), np.uint8), None).cpu()
