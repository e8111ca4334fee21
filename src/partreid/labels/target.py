"""Choosing the target among several persons in a crop (paper, supplementary materials)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError
from partreid.labels.draw import measured_stature
from partreid.parts import KEYPOINTS

_HEAD = range(5)
_SHOULDERS = [KEYPOINTS.index("left_shoulder"), KEYPOINTS.index("right_shoulder")]
_HIPS = [KEYPOINTS.index("left_hip"), KEYPOINTS.index("right_hip")]
_HEAD_ABOVE_SHOULDERS = 0.45
"""Height of the head's middle above the shoulders, as a fraction of the trunk's length (adult proportions)."""

_MIN_CONFIDENCE = 0.05
_FRAGMENT, _SMALL = 0.4, 0.6
"""Fractions of the most complete person's keypoints, and of the tallest one's stature; see :func:`choose_target`."""


def choose_target(persons: NDArray[np.floating], image_size: tuple[int, int]) -> int:
    """Index of the ReID target: the person whose head is closest to the middle of the box's upper edge.

    The position of the head is the mean of its seen keypoints. If none is seen, it is assumed above the shoulders, and
    without shoulders at the topmost seen keypoint. Two kinds of persons are excluded, which the paper does not mention.
    A person with less than 0.4 times as many seen keypoints as the most complete person is a fragment (an arm cut off
    by a weak affinity, or a passer-by's foot). A person with less than 0.6 times the stature of the tallest remaining
    person is in the background. In a tie the first person wins.

    Args:
        persons: [P, 17, 3] keypoints (x, y in pixels, confidence; seen from 0.05 on). image_size: (H, W) of the crop
            in pixels.

    Raises:
        LabelError: another shape, or no person.
    """
    if persons.ndim != 3 or persons.shape[1:] != (len(KEYPOINTS), 3) or not len(persons):
        raise LabelError(f"Expected keypoints [P, {len(KEYPOINTS)}, 3] of at least one person, got {persons.shape}.")
    if len(persons) == 1:
        return 0
    top_centre = np.array([image_size[1] / 2, 0.0])
    heads = np.stack([_head(person) for person in persons])
    seen = (persons[:, :, 2] >= _MIN_CONFIDENCE).sum(axis=1)
    distance = np.linalg.norm(heads - top_centre, axis=1)
    candidate = seen >= _FRAGMENT * seen.max()
    # A stature that cannot be measured is NaN, which is never smaller than a number, so the person stays.
    stature = np.array([measured_stature(person[:, :2], person[:, 2] >= _MIN_CONFIDENCE) for person in persons])
    tallest = np.max(stature, where=candidate & ~np.isnan(stature), initial=0.0)
    candidate &= ~(stature < _SMALL * tallest)
    return int(np.where(candidate, distance, np.inf).argmin())


def _head(person: NDArray[np.floating]) -> NDArray[np.float64]:
    """(x, y) of the head's middle, infinity for a person without any seen keypoint."""
    seen = person[:, 2] >= _MIN_CONFIDENCE
    points = person[:, :2].astype(np.float64)
    if not seen.any():
        return np.full(2, np.inf)
    head, shoulders, hips = ([i for i in joints if seen[i]] for joints in (_HEAD, _SHOULDERS, _HIPS))
    if not head and not shoulders:
        return np.asarray(points[np.where(seen, points[:, 1], np.inf).argmin()])
    place = np.asarray(points[head or shoulders].mean(axis=0))
    return place if head or not hips else place + _HEAD_ABOVE_SHOULDERS * (place - points[hips].mean(axis=0))
