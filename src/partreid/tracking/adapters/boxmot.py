"""BoxMOT: an encoder for its protocol. BoxMOT is under the AGPL, so it is never imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from partreid.errors import ConfigError, ShapeError
from partreid.objects import Guided
from partreid.tracking.adapters._appearance import nobody
from partreid.tracking.adapters.vectors import UnitVectors
from partreid.tracking.frame_embedder import FrameEmbedder


class BoxMOTEncoder(Guided):
    """BoxMOT's ``AppearanceEncoder``: one vector per detection, as :class:`UnitVectors` makes them.

    Args:
        embedder: with ``order="rgb"``, as BoxMOT's frames are.
        requirements: BoxMOT's own ``EncoderRequirements()``, by which it recognises an encoder.
        least_parts: how many body parts a detection must show.

    Attributes:
        embedding_dim: the width of every vector, S·D.

    Raises:
        ConfigError: the embedder takes frames in BGR.
    """

    def __init__(self, embedder: FrameEmbedder, requirements: Any, *, least_parts: int = 1) -> None:
        if embedder.order != "rgb":
            raise ConfigError('BoxMOT gives its encoder frames in RGB. Write FrameEmbedder(..., order="rgb").')
        self.requirements = requirements
        self._embedder, self._unit = embedder, UnitVectors(least_parts=least_parts)
        self.embedding_dim = self._unit(nobody(embedder)).shape[1]

    def encode(self, frames: Sequence[Any], detections: Sequence[Any]) -> list[Tensor]:
        """A tensor [N, S·D] float32 for each frame.

        Args:
            frames: with ``image``, uint8 [3, H, W].
            detections: for each frame, with the corners [N, 4] in ``geometry.values``.

        Raises:
            ShapeError: the numbers of frames and of lists of detections differ, or boxes do not have four numbers
                (oriented boxes have five).
        """
        if len(frames) != len(detections):
            raise ShapeError(f"Expected detections for each frame, got {len(frames)} and {len(detections)}.")
        return [
            self._unit(self._embedder(frame.image.permute(1, 2, 0).numpy(), found.geometry.values))
            for frame, found in zip(frames, detections, strict=True)
        ]
