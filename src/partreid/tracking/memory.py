"""A tracker's memory of each person's appearance, part by part, and its comparison with new detections."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.functional.merging import SlotSums
from partreid.functional.visibility import slot_weights
from partreid.objects import Guided, guided
from partreid.parts import HOLISTIC
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, check_comparable
from partreid.types.numbers import require_whole

_AT_ONCE = 4096  # tracks, so that a block stays far below 1 GB
FAR = 0.02
"""The probability of one person at which a pair costs 1. Chosen on rendered sequences (docs/tracking.md)."""


class Sight(NamedTuple):
    """One detection of a track: its sums [1, S, D], the weights of its slots [S], and its time."""

    sums: SlotSums
    weight: Tensor
    time: float


class AppearanceMemory(Guided):
    """One track's appearance: for each slot an exponential average, which changes only when the slot is visible.

    A detection with visibility v and confidence c has the weight v·c. A slot's vector is the mean of all its
    detections, each weighted by v·c and by a factor ``1 - (1 - momentum)·v·c`` for every later detection. With
    ``momentum=1`` this is the mean of :class:`~partreid.tracking.tracklets.Tracklet`: both add up
    :class:`~partreid.functional.merging.SlotSums`. A slot's visibility is the largest so far.

    Args:
        momentum: in [0, 1]; the share of the past that a detection keeps. Trackers usually use 0.9.
        window: number of latest detections that count; None = all.
        forget_after: a slot that was not visible for longer than this counts as never seen, in units of ``time``; None
            = never.

    Raises:
        ConfigError: a number lies outside its range.

    Example:
        >>> slots = ("head", "legs")
        >>> memory = AppearanceMemory(momentum=0.5)
        >>> memory.update(PartEmbeddings(torch.ones(1, 2, 1), torch.tensor([[1.0, 0.0]]), slots), time=0.0)
        >>> memory.update(PartEmbeddings(torch.full((1, 2, 1), 4.0), torch.tensor([[1.0, 1.0]]), slots), time=0.1)
        >>> memory.embeddings.vectors.flatten(), memory.last_seen
        (tensor([3., 4.]), {'head': 0.1, 'legs': 0.1})
    """

    def __init__(self, *, momentum: float = 0.9, window: int | None = None, forget_after: float | None = None) -> None:
        if not 0 <= momentum <= 1:
            raise ConfigError(f"momentum lies between 0 (only the last detection) and 1 (plain mean), got {momentum}.")
        if forget_after is not None and not forget_after >= 0:
            raise ConfigError(f"forget_after is a time of at least 0 or None, got {forget_after}.")
        self.momentum = float(momentum)
        self.window = None if window is None else require_whole("window", window, least=1)
        self.forget_after = None if forget_after is None else float(forget_after)
        self._sights: deque[Sight] = deque(maxlen=self.window)
        self._sums: SlotSums | None = None
        self._seen: Tensor | None = None  # [S] float64, when each slot was seen last; -inf = never
        self._like: PartEmbeddings | None = None
        self._time = -math.inf
        self._count = 0

    def __repr__(self) -> str:
        return f"AppearanceMemory({self._count} detections, last at {self._time:g})"

    def __len__(self) -> int:
        """Number of detections so far, those that showed nothing included."""
        return self._count

    @property
    def known(self) -> bool:
        """Whether any slot was visible and is not forgotten."""
        return self._seen is not None and bool((self._seen > -math.inf).any())

    @property
    def time(self) -> float:
        """The time of the last detection; minus infinity before the first."""
        return self._time

    @property
    def last_seen(self) -> dict[str, float | None]:
        """When each slot was last visible; None = never, or forgotten. Empty before the first detection."""
        if self._seen is None or self._like is None:
            return {}
        times = self._seen.tolist()
        return {slot: None if t == -math.inf else t for slot, t in zip(self._like.slots, times, strict=True)}

    def update(self, embeddings: PartEmbeddings, *, time: float, confidence: float = 1.0) -> None:
        """Add a detection of the track.

        Args:
            embeddings: [1, S, D], from the same model as those before; all slots may be hidden.
            time: of the frame, in any unit; it must not decrease.
            confidence: of the detection, in [0, 1].

        Raises:
            ShapeError: there is not exactly one row, slots or width differ from those before, or a value is not
                allowed.
            DataError: the time is not finite or runs backwards, or the confidence lies outside [0, 1]. The memory stays
                as it was.
        """
        if len(embeddings) != 1:
            raise ShapeError(f"A track has one detection in a frame: expected [1, S, D], got {embeddings!r}.")
        if self._like is not None:
            check_comparable(self._like, embeddings)
        embeddings.validate()
        if not 0 <= confidence <= 1:
            raise DataError(f"Expected a confidence between 0 and 1, got {confidence}.")
        if not (math.isfinite(time) and time >= self._time):
            raise DataError(f"Expected a finite time of at least {self._time}, the last detection's, got {time}.")
        embeddings = embeddings.detach()
        weight = embeddings.visibility[0].double() * float(confidence)
        # Rows are one "image" [1, 1, S, D] of one track.
        sums = SlotSums.of(embeddings.vectors[:, None], weight[None, None])
        shown = embeddings.visibility * (weight > 0)  # a confidence says how much to trust, not how much is seen
        self._take(Sight(replace(sums, visibility=shown.to(sums.weight)), weight, float(time)))
        self._like = embeddings[[]]

    def _take(self, sight: Sight) -> None:
        never = torch.full_like(sight.weight, -math.inf)
        past, seen = self._sums, never if self._seen is None else self._seen
        self._sights.append(sight)
        if self.window is not None:  # the sums of the last detections, from the first of them on
            past, seen = None, never
            for earlier in list(self._sights)[:-1]:
                past, seen = self._after(past, seen, earlier)
        else:
            self._sights.clear()
        self._sums, self._seen = self._after(past, seen, sight)
        self._time, self._count = sight.time, self._count + 1

    def _after(self, past: SlotSums | None, seen: Tensor, sight: Sight) -> tuple[SlotSums, Tensor]:
        """The sums after a detection, and when each slot was seen last."""
        if past is not None:
            if self.forget_after is not None:
                fresh = sight.time - seen <= self.forget_after
                past, seen = past.kept(fresh.double()), torch.where(fresh, seen, -math.inf)
            past = past.decayed(1 - (1 - self.momentum) * sight.weight)
        sums = sight.sums if past is None else past + sight.sums
        return sums, torch.where(sight.weight > 0, sight.time, seen)

    @property
    def embeddings(self) -> PartEmbeddings:
        """[1, S, D] after the last detection; a slot that was never visible has visibility 0.

        Raises:
            ShapeError: there was no detection yet.
        """
        return self.at(self._time)

    def at(self, time: float) -> PartEmbeddings:
        """[1, S, D] at a later time; slots that were not visible for ``forget_after`` have visibility 0.

        Raises:
            ShapeError: there was no detection yet. DataError: the time is earlier than the last detection, or NaN.
        """
        return _known([self], time)

    def _state(self, time: float | None) -> tuple[SlotSums, PartEmbeddings]:
        """The sums at a time (None = after the last detection), and embeddings with their slots and types."""
        if self._sums is None or self._like is None or self._seen is None:
            raise ShapeError("This track has no detection yet. Call update first, or check len(memory).")
        time = self._time if time is None else time
        if not time >= self._time:
            raise DataError(f"Expected a time of at least {self._time}, the track's last detection, got {time}.")
        if self.forget_after is None:
            return self._sums, self._like
        return self._sums.kept((time - self._seen <= self.forget_after).double()), self._like


def _known(memories: Sequence[AppearanceMemory], time: float | None) -> PartEmbeddings:
    """[T, S, D] the content of memories at a time; None = of each after its last detection."""
    sums, like = zip(*(memory._state(time) for memory in memories), strict=True)
    for other in like[1:]:
        check_comparable(like[0], other)
    return SlotSums.cat(sums).mean(like[0])


@guided
def cost(
    memories: Sequence[AppearanceMemory],
    detections: PartEmbeddings,
    calibration: MatchCalibration,
    *,
    time: float | None = None,
    gate: float | None = None,
    unknown: float = math.nan,
    least_parts: int = 1,
    prior: float = 0.5,
) -> NDArray[np.float64]:
    """The cost of assigning each detection to each track: the distance of Eq. 9 on one scale for all pairs.

    A cost of 0 means the same appearance. A cost of 1 means a distance of at least the one at which the probability of
    one person falls to 2 %. The calibration gives this distance for each number of shared slots. The cost is not 1 - P,
    because within a track nearly all probabilities are close to 1 and could not rank the candidates.

    Args:
        memories: of T tracks. detections: [N, S, D] from one frame.
        calibration: of the model that made both; it converts distances to probabilities.
        time: of the frame, for memories that forget; None = the time of each track's last detection.
        gate: pairs with at least this cost become infinite, because they must not match; 1 excludes those below 2 %;
            None = no gate.
        unknown: the cost of pairs that share fewer than ``least_parts`` parts, and of tracks without a known part. The
            default is NaN, because such a pair is neither near nor far. Use 0.5, or let the motion decide.
        least_parts: how many body parts both must show. The foreground does not count, because behind a wall it shows
            the wall. For a model without parts its only vector counts.
        prior: the prior probability of a match.

    Returns:
        [T, N] float64 in [0, 1], ``unknown`` or infinity. Without tracks or detections it is empty.

    Raises:
        ShapeError: slots or widths differ, a value is not allowed, or ``least_parts`` is more than there are.
        DataError: the embeddings are from another model than the calibration's, or ``time`` is earlier than a
            detection.
        ConfigError: ``gate`` or ``prior`` lies outside [0, 1].

    Example:
        >>> calibration = MatchCalibration(prior=0.5, offsets=(2.0, 6.0), slopes=(1.0, 2.0))
        >>> here = PartEmbeddings(torch.tensor([[[0.0], [0.0]], [[2.0], [2.0]], [[9.0], [9.0]], [[0.0], [0.0]]]),
        ...     torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), ("head", "legs"))
        >>> memory = AppearanceMemory()
        >>> memory.update(here[0], time=0)
        >>> cost([memory], here, calibration).round(3)
        array([[0.   , 0.404, 1.   ,   nan]])
    """
    if gate is not None and not 0 <= gate <= 1:
        raise ConfigError(f"A gate is a cost between 0 and 1, got {gate}.")
    least_parts = require_whole("least_parts", least_parts, least=1)
    matching, calibration = calibration.matching, calibration.with_prior(prior)
    calibration.check_models(detections.validate().model)
    parts = parts_of(detections if matching.slots is None else detections.select(*matching.slots))
    if least_parts > len(parts):
        raise ShapeError(f"least_parts is at most {len(parts)}, the parts of these embeddings, got {least_parts}.")
    result = np.full((len(memories), len(detections)), float(unknown))
    known = [row for row, memory in enumerate(memories) if memory.known] if len(detections) else []
    for start in range(0, len(known), _AT_ONCE):
        rows = known[start : start + _AT_ONCE]
        tracks = _known([memories[row] for row in rows], time)
        calibration.check_models(tracks.model)
        far = _far(calibration)[matching.comparable(tracks, detections).long()]
        costs = torch.where(far > 0, matching.distances(tracks, detections).double() / far, 1).clamp(max=1)
        if gate is not None:
            costs[costs >= gate] = math.inf
        shared = matching.model_copy(update={"slots": parts}).comparable(tracks, detections)
        result[rows] = torch.where(shared < least_parts, float(unknown), costs).cpu().numpy()
    return result


def _far(calibration: MatchCalibration) -> Tensor:
    """[S + 1] at which distance the probability falls to ``FAR``, by the number of compared slots; 0 for none, as
    nothing was compared."""
    odds = math.log(calibration.prior / (1 - calibration.prior)) - math.log(FAR / (1 - FAR))
    curves = zip(calibration.offsets, calibration.slopes, strict=True)
    return torch.tensor([0.0, *((offset + odds) / slope for offset, slope in curves)], dtype=torch.float64)


def parts_of(embeddings: PartEmbeddings) -> tuple[str, ...]:
    """The slots that are body parts; all slots of a model that has none.

    Example:
        >>> parts_of(PartEmbeddings(torch.ones(1, 2, 3), slots=("foreground", "head")))
        ('head',)
    """
    return tuple(slot for slot in embeddings.slots if slot not in HOLISTIC) or embeddings.slots


@guided
def single_vector(
    embeddings: PartEmbeddings, *, matching: MatchingConfig | None = None, least_parts: int = 1
) -> Tensor:
    """One vector per image, whose cosine replaces Eq. 9, for trackers that accept nothing else.

    The vectors of the visible slots are divided by their lengths, multiplied by their visibilities, and concatenated.
    The result is divided by its length. If two images have equal visibilities, their cosine is the mean of their slots'
    cosines. If they show different slots, the cosine is smaller, by the number of shared slots divided by the geometric
    mean of the two numbers of visible slots. docs/tracking.md has the cost in mAP.

    Args:
        embeddings: [N, S, D].
        matching: which slots are compared, and their weights; None = as the model was made for.
        least_parts: an image with fewer visible body parts gets zeros. ultralytics' trackers treat them as unknown, and
            use only motion.

    Returns:
        [N, S·D] float32 of length 1, or 0.

    Raises:
        ShapeError: a value is not allowed, or there is no such slot.

    Example:
        >>> e = PartEmbeddings(torch.tensor([[[3.0], [4.0]], [[2.0], [1.0]]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
        >>> single_vector(e)
        tensor([[0.7071, 0.7071],
                [0.0000, 0.0000]])
    """
    matching = MatchingConfig.given(matching).resolved(embeddings)
    compared = matching.prepare(embeddings.validate()).normalized()
    least_parts = require_whole("least_parts", least_parts, least=1)
    weights = compared.visibility.new_tensor([(matching.slot_weights or {}).get(slot, 1.0) for slot in compared.slots])
    seen = slot_weights(compared.visibility, matching.visibility)
    long = (compared.vectors * (seen * weights.sqrt())[..., None]).float().flatten(1)
    shown = (seen[:, [compared.slots.index(part) for part in parts_of(compared)]] > 0).sum(1)
    return torch.nn.functional.normalize(long, dim=1) * (shown >= least_parts)[:, None]
