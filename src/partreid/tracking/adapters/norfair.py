"""norfair: boxes and appearance in one matrix, and only appearance for lost objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ConfigError, DataError, ShapeError, WrongTypeError
from partreid.objects import Guided
from partreid.tracking.adapters._appearance import Costs, take
from partreid.tracking.frame_embedder import FrameEmbedder
from partreid.tracking.memory import AppearanceMemory
from partreid.types import PartEmbeddings

Tracker = TypeVar("Tracker")


class NorfairAppearance(Guided):
    """Distances for a ``norfair.Tracker``. Its detections are boxes with a row of the embedder as ``embedding=``.

    The distance between a detection and an object is ``(1 - weight) · (1 - IoU) + weight · cost``, with the cost of
    :func:`~partreid.tracking.memory.cost`. If the cost is unknown, it is ``1 - IoU``. It is infinite if the boxes do
    not overlap, the labels differ or the cost reaches ``gate``.

    Lost objects are compared with new ones by the cost only, wherever they are. If the cost is unknown, they stay two
    objects.

    The memory of an object lives as long as the object.

    Args:
        embedder: made the detections' embeddings; it needs a calibration.
        weight: of appearance, in [0, 1]. gate: in [0, 1]; pairs with at least this cost never match; None = no limit.
        momentum: of the tracks' memories (:class:`~partreid.tracking.memory.AppearanceMemory`).
        least_parts: how many body parts both must show.

    Raises:
        ConfigError: a number lies outside its range, or the embedder has no calibration.
    """

    def __init__(
        self,
        embedder: FrameEmbedder,
        *,
        weight: float = 0.5,
        gate: float | None = 1.0,
        momentum: float = 0.9,
        least_parts: int = 1,
    ) -> None:
        for name, value in (("weight", weight), ("gate", 1 if gate is None else gate)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} lies between 0 and 1, got {value}.")
        self.weight, self.gate = float(weight), gate
        self._costs = Costs(embedder, momentum=momentum, least_parts=least_parts, gate=gate)
        self._known: WeakKeyDictionary[Any, tuple[AppearanceMemory, Any]] = WeakKeyDictionary()
        """Of each object: its memory, and the last detection in it."""

    def attach(self, tracker: Tracker) -> Tracker:
        """Set the distances of a tracker, and return it: the distance of detections, and that of lost objects if its
        ``reid_distance_threshold`` is above 0.

        This happens after construction, because norfair's constructor would call a function for each pair.

        Raises:
            WrongTypeError: it is not a tracker of norfair.
        """
        if not hasattr(tracker, "reid_distance_threshold"):
            raise WrongTypeError(f"Expected a norfair.Tracker, got {type(tracker).__name__}.")
        tracker.distance_function = _Distance(self.distances)  # type: ignore[attr-defined]
        if tracker.reid_distance_threshold > 0:
            tracker.reid_distance_function = _Distance(self.reid_distances)  # type: ignore[attr-defined]
        return tracker

    def distances(self, objects: Sequence[Any], detections: Sequence[Any]) -> NDArray[np.float64]:
        """[detections, objects] distances from boxes and appearance.

        Raises:
            ShapeError: points are not two corners. DataError: a detection has no embedding.
        """
        if not objects or not detections:
            return np.empty((len(detections), len(objects)))
        costs = self._compared(objects, PartEmbeddings.cat(map(_embedding, detections)))
        overlap = _iou(_corners([one.points for one in detections]), _corners([one.estimate for one in objects]))
        known = np.where(np.isfinite(costs), costs, 1)
        mixed = (1 - self.weight) * (1 - overlap) + self.weight * known
        found = np.where(np.isnan(costs), 1 - overlap, mixed)
        return self._possible(found, objects, detections, (overlap > 0) & ~np.isinf(costs))

    def reid_distances(self, objects: Sequence[Any], new: Sequence[Any]) -> NDArray[np.float64]:
        """[new objects, lost objects] distances from appearance only.

        Raises:
            DataError: a detection has no embedding.
        """
        if not objects or not new:
            return np.empty((len(new), len(objects)))
        costs = self._compared(objects, PartEmbeddings.cat(self._memory(one).embeddings for one in new))
        return self._possible(costs, objects, new, ~np.isnan(costs))

    def _compared(self, objects: Sequence[Any], embeddings: PartEmbeddings) -> NDArray[np.float64]:
        return self._costs([self._memory(one) for one in objects], embeddings).T

    @staticmethod
    def _possible(
        found: NDArray[np.float64], objects: Sequence[Any], others: Sequence[Any], possible: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        alike = np.array([[one.label == other.label for one in objects] for other in others])
        return np.where(possible & alike, found, np.inf)

    def _memory(self, tracked: Any) -> AppearanceMemory:
        """Of an object, with the detection that it was matched with since it was looked at."""
        memory, last = self._known.get(tracked, (self._costs.memory(), None))
        if tracked.last_detection is not last:
            take(memory, _embedding(tracked.last_detection))
            self._known[tracked] = memory, tracked.last_detection
        return memory


class _Distance:
    """As norfair's ``Distance``."""

    def __init__(self, distances: Any) -> None:
        self.get_distances = distances


def _embedding(detection: Any) -> PartEmbeddings:
    embedding = detection.embedding
    if not isinstance(embedding, PartEmbeddings) or len(embedding) != 1:
        raise DataError(
            f"Expected a detection with one row of the frame's embeddings, got {embedding!r:.80}. Write "
            "norfair.Detection(points, embedding=embeddings[i])."
        )
    return embedding


def _corners(points: Sequence[Any]) -> NDArray[np.float64]:
    """[N, 4] of N boxes as norfair has them, [2, 2] each."""
    for one in points:
        if np.shape(one) != (2, 2):
            raise ShapeError(f"Expected boxes as two corners, [[x1, y1], [x2, y2]], got {np.shape(one)}.")
    return np.asarray(points, dtype=np.float64).reshape(-1, 4)


def _iou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, M] intersection over union; 0 where a box has no area."""
    upper = np.maximum(boxes[:, None, :2], others[:, :2])
    lower = np.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = (lower - upper).clip(0).prod(axis=2)
    areas, other_areas = ((one[:, 2:] - one[:, :2]).clip(0).prod(axis=1) for one in (boxes, others))
    union = areas[:, None] + other_areas - shared
    found: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found
