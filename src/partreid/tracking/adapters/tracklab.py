"""TrackLab: the columns of its pipeline, and the comparison in its part-based StrongSORT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, DataError
from partreid.inference.inputs import ImageLike
from partreid.objects import Guided, guided
from partreid.tracking.adapters._appearance import Costs, nobody, take
from partreid.tracking.frame_embedder import FrameEmbedder
from partreid.types import PartEmbeddings
from partreid.types.numbers import as_tensor


@guided
def tracklab_columns(embedder: FrameEmbedder, image: ImageLike, detections: Any) -> Any:
    """The output of a TrackLab module for one image: ``embeddings`` and ``visibility_scores`` of its detections.

    Args:
        embedder: with ``order="rgb"``, as TrackLab's images are.
        image: uint8 [H, W, 3]. detections: of this image, a table of pandas with ``bbox_ltwh``.

    Returns:
        A table with the same index and two columns: arrays float32 [S, D] and [S].

    Raises:
        ConfigError: the embedder takes frames in BGR.
        DataError: there is no such column. Others: as the embedder raises them.
    """
    if embedder.order != "rgb":
        raise ConfigError('TrackLab reads images in RGB. Write FrameEmbedder(..., order="rgb").')
    if "bbox_ltwh" not in detections:
        raise DataError(f"Expected detections with the column bbox_ltwh, got {list(detections)!s:.200}.")
    boxes = np.array([*detections["bbox_ltwh"]], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    found = embedder(image, boxes).to("cpu")
    made = detections[[]].copy()
    made["embeddings"] = [*found.vectors.float().numpy()]
    made["visibility_scores"] = [*found.visibility.float().numpy()]
    return made


class TrackLabDistance(Guided):
    """The distance in TrackLab's part-based StrongSORT, which otherwise needs a package that is not on PyPI.

    The cost of a pair is that of :func:`~partreid.tracking.memory.cost`. If nothing of a pair can be compared, its cost
    is infinite, and StrongSORT leaves it to its second stage, IoU with the tracks of the previous frame. The cost is
    also infinite if the probability is below 2 %. StrongSORT averages the tracks itself.

    Args:
        embedder: filled the columns; it needs a calibration.
        least_parts: how many body parts both must show.

    Raises:
        ConfigError: the embedder has no calibration.
    """

    def __init__(self, embedder: FrameEmbedder, *, least_parts: int = 1) -> None:
        self._costs = Costs(embedder, momentum=1, least_parts=least_parts)
        self._like = nobody(embedder)

    def __call__(
        self, samples: Sequence[Mapping[str, Any]], detections: Mapping[str, Any], normalize_features: bool = False
    ) -> NDArray[np.float64]:
        """[N] costs of one track and N detections.

        Args:
            samples: of the track, with ``reid_features`` [S, D] and ``visibility_scores`` [S]; the last one counts.
            detections: the same of N detections, [N, S, D] and [N, S].
            normalize_features: has no effect: the model's calibration knows how its vectors are compared.

        Raises:
            ShapeError: slots or widths are not the embedder's, or a value is not allowed.
        """
        memory = self._costs.memory()
        take(memory, self._read(samples[-1])[:1])
        costs = self._costs([memory], self._read(detections))[0]
        return np.where(np.isnan(costs), np.inf, costs)

    def _read(self, features: Mapping[str, Any]) -> PartEmbeddings:
        vectors = as_tensor("reid_features", features["reid_features"]).float()
        visibility = as_tensor("visibility_scores", features["visibility_scores"]).float()
        if vectors.ndim == 2:
            vectors, visibility = vectors[None], visibility[None]
        return replace(self._like, vectors=vectors, visibility=visibility)
