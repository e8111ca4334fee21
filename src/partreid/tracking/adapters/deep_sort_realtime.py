"""deep_sort_realtime: a metric that uses the tracks' part memories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from partreid.errors import ConfigError, ShapeError
from partreid.inference.inputs import ImageLike
from partreid.objects import Guided
from partreid.tracking.adapters._appearance import Costs, nobody, take
from partreid.tracking.frame_embedder import FrameEmbedder
from partreid.tracking.memory import AppearanceMemory
from partreid.types import PartEmbeddings, check_comparable
from partreid.types.numbers import as_tensor

Raw = tuple[list[float], float, Any]
"""A detection as ``update_tracks`` takes it: [left, top, width, height], confidence, class."""


class DeepSortAppearance(Guided):
    """A metric for ``DeepSort.tracker.metric``: it compares by Eq. 9, and remembers each confirmed track part by part.

    The cost of a pair is that of :func:`~partreid.tracking.memory.cost`. If nothing of a pair can be compared, its cost
    is infinite. DeepSort then leaves it to its second stage, which uses IoU with the tracks of the previous frame. A
    track that was lost for longer comes back only by its appearance.

    Args:
        embedder: embeds the frames; it needs a calibration.
        max_cost: in [0, 1], the highest cost of a match: DeepSort's ``matching_threshold``.
        momentum: of the tracks' memories (:class:`~partreid.tracking.memory.AppearanceMemory`).
        least_parts: how many body parts both must show.

    Raises:
        ConfigError: a number lies outside its range, or the embedder has no calibration.
    """

    def __init__(
        self, embedder: FrameEmbedder, *, max_cost: float = 0.5, momentum: float = 0.9, least_parts: int = 1
    ) -> None:
        if not 0 <= max_cost <= 1:
            raise ConfigError(f"max_cost lies between 0 and 1, got {max_cost}.")
        self.embedder, self.matching_threshold = embedder, float(max_cost)
        self._costs = Costs(embedder, momentum=momentum, least_parts=least_parts)
        self._tracks: dict[Any, tuple[AppearanceMemory, NDArray[np.float32]]] = {}
        """Of each confirmed track: its memory, and the last row in it."""
        self._like = nobody(embedder)

    def detections(
        self, frame: ImageLike, boxes: ArrayLike | None, confidences: Sequence[float] | None = None
    ) -> tuple[list[Raw], NDArray[np.float32]]:
        """The first two arguments of ``update_tracks``: detections and their packed embeddings.

        Args:
            frame, boxes: as for the embedder. confidences: of the boxes; None = those of the detections, or 1.

        Raises:
            ShapeError: there is not one confidence per box. Others: as the embedder raises them.
        """
        packed = self.pack(self.embedder(frame, boxes))
        corners = np.asarray(getattr(boxes, "xyxy", [] if boxes is None else boxes), dtype=float).reshape(-1, 4)
        given = getattr(boxes, "confidence", None) if confidences is None else confidences
        certain = np.ones(len(corners)) if given is None else as_tensor("confidences", given).double().numpy()
        if certain.shape != (len(corners),):
            raise ShapeError(f"Expected {len(corners)} confidences, one per box, got shape {certain.shape}.")
        # DeepSort leaves out boxes without area, but not what they look like: all that follow would be mixed up.
        area = np.isfinite(corners).all(axis=1) & (corners[:, 2:] > corners[:, :2]).all(axis=1)
        sizes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])[area].tolist()
        raw = [(box, float(score), "person") for box, score in zip(sizes, certain[area], strict=True)]
        return raw, packed[area]

    def pack(self, embeddings: PartEmbeddings) -> NDArray[np.float32]:
        """[N, S·D + S]: a row of numbers per detection, first the vectors and then the visibilities, for DeepSort to
        store.

        Raises:
            ShapeError: the embeddings are not from this adapter's embedder, or a value is not allowed.
        """
        check_comparable(self._like, embeddings)
        embeddings = embeddings.validate().detach().cpu()
        return torch.cat([embeddings.vectors.flatten(1), embeddings.visibility], dim=1).float().numpy()

    def unpack(self, rows: ArrayLike) -> PartEmbeddings:
        """[N, S, D] embeddings from rows that :meth:`pack` made.

        Raises:
            ShapeError: the rows are of another width.
        """
        slots, width = self._like.shape[1:]
        packed = as_tensor("rows", rows)
        if packed.is_complex() or packed.ndim != 2 or packed.shape[1] != slots * (width + 1):
            raise ShapeError(
                f"Expected [N, {slots * (width + 1)}] numbers, {slots} vectors of {width} and {slots} visibilities, "
                f"got {tuple(packed.shape)}. Give DeepSort the embeds of this adapter's detections."
            )
        packed = packed.float()
        vectors = packed[:, : slots * width].reshape(-1, slots, width)
        return replace(self._like, vectors=vectors, visibility=packed[:, slots * width :])

    def partial_fit(self, features: ArrayLike, targets: Iterable[Any], active_targets: Iterable[Any]) -> None:
        """Add detections to tracks, and forget all tracks except the active ones.

        DeepSort passes the last row of a track again before a new one; it counts only once.

        Args:
            features: [F, S·D + S] packed. targets: F names of tracks; rows of one track are together and in order.
            active_targets: names of the tracks that still exist.

        Raises:
            ShapeError: there is not one row per target; others as :meth:`unpack`.
        """
        rows, names = as_tensor("features", features).float().numpy(), list(targets)
        if len(rows) != len(names):
            raise ShapeError(f"Expected a row for each of {len(names)} targets, got {len(rows)}.")
        for track, group in groupby(zip(names, rows, strict=True), key=itemgetter(0)):
            memory, last = self._tracks.get(track, (self._costs.memory(), None))
            for _, row in group:
                if last is None or not np.array_equal(row, last):
                    take(memory, self.unpack(row[None]))
                    self._tracks[track] = memory, row
                last = None
        self._tracks = {track: self._tracks[track] for track in active_targets if track in self._tracks}

    def distance(self, features: ArrayLike, targets: Iterable[Any]) -> NDArray[np.float64]:
        """[T, N] costs of the tracks ``targets`` and N packed detections, infinite if nothing can be compared.

        Raises:
            ShapeError: as :meth:`unpack`.
        """
        memories = [self._tracks[track][0] if track in self._tracks else self._costs.memory() for track in targets]
        costs = self._costs(memories, self.unpack(features))
        return np.where(np.isnan(costs), np.inf, costs)
