"""Persons from an OpenPose-type network's maps: peaks of the heat maps are joined along the affinity fields.

Greedy bipartite matching per limb, as in Cao et al., "Realtime Multi-Person 2D Pose Estimation using Part Affinity
Fields", CVPR 2017, §2.3-2.4. All coordinates here are map cells, (x, y), cell centres at integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partreid.parts import mirrored

OPENPOSE_KEYPOINTS: tuple[str, ...] = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""The 18 heat maps in order; a 19th is the background."""

OPENPOSE_LIMBS: tuple[tuple[int, int, int], ...] = (
    (1, 2, 12), (1, 5, 20), (2, 3, 14), (3, 4, 16), (5, 6, 22), (6, 7, 24), (1, 8, 0), (8, 9, 2), (9, 10, 4),
    (1, 11, 6), (11, 12, 8), (12, 13, 10), (1, 0, 28), (0, 14, 30), (14, 16, 34), (0, 15, 32), (15, 17, 36),
    (2, 16, 18), (5, 17, 26),
)  # fmt: skip
"""(from keypoint, to keypoint, first of its two affinity channels: x, then y)."""

_STEPS = np.linspace(0, 1, 10)
"""Positions along a limb at which its field is sampled."""

_MIN_PEAK = 0.05
"""A lower peak of a heat map is no candidate."""
_MIN_AFFINITY, _MIN_AGREEMENT = 0.05, 0.5
"""A sample agrees if its affinity in the limb's direction reaches the first number. The second is the fraction of
samples that must agree."""
_MIN_KEYPOINTS = 3
"""Of a person."""
_MAX_GAP = 0.3
"""Two fragments without a common keypoint are one person if a limb between them is at most this fraction of h long."""


def _mirrored_channels() -> tuple[list[int], list[int], NDArray[np.float32]]:
    """For the mirrored image: the order of heat maps and affinity channels, and the affinities' signs."""
    keypoints = [OPENPOSE_KEYPOINTS.index(mirrored(name)) for name in OPENPOSE_KEYPOINTS]
    first_channel = {(start, end): channel for start, end, channel in OPENPOSE_LIMBS}
    order, sign = [0] * 2 * len(OPENPOSE_LIMBS), np.ones(2 * len(OPENPOSE_LIMBS), np.float32)
    for start, end, channel in OPENPOSE_LIMBS:
        other = first_channel[keypoints[start], keypoints[end]]
        order[channel : channel + 2] = other, other + 1
        sign[channel] = -1  # x points the other way
    return keypoints, order, sign[:, None, None]


_MIRRORED_KEYPOINTS, _MIRRORED_AFFINITY, _MIRRORED_SIGN = _mirrored_channels()


def unmirror(
    heat_maps: NDArray[np.float32], affinity: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Convert a network's maps of the mirrored image into maps of the image itself.

    Args:
        heat_maps: [18 or more, h, w] in the order of :data:`OPENPOSE_KEYPOINTS`. affinity: [38, h, w].

    Returns:
        Heat maps [18, h, w] and affinity [38, h, w].
    """
    return heat_maps[_MIRRORED_KEYPOINTS][..., ::-1], affinity[_MIRRORED_AFFINITY][..., ::-1] * _MIRRORED_SIGN


def find_peaks(heat_maps: NDArray[np.floating], min_peak: float = _MIN_PEAK) -> list[NDArray[np.float64]]:
    """Local maxima over 3×3 cells of maps [M, h, w], refined by a parabola along each axis.

    Returns:
        For each map [n, 3]: x, y, height; highest first.
    """
    count, height, width = heat_maps.shape
    padded = np.full((count, height + 2, width + 2), -np.inf)
    padded[:, 1:-1, 1:-1] = heat_maps
    centre = padded[:, 1:-1, 1:-1]
    left, right, up, down = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:], padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
    corners = np.maximum(
        np.maximum(padded[:, :-2, :-2], padded[:, :-2, 2:]), np.maximum(padded[:, 2:, :-2], padded[:, 2:, 2:])
    )
    # > on one side and >= on the other, so that a plateau of two cells gives one peak.
    peak = (centre >= min_peak) & (centre > left) & (centre >= right) & (centre > up) & (centre >= down)
    peak &= centre >= corners
    maps, rows, columns = np.nonzero(peak)
    middle = centre[peak]
    x = columns + _vertex(left[peak], middle, right[peak])
    y = rows + _vertex(up[peak], middle, down[peak])
    found = np.stack([x, y, middle], axis=1)
    found = found[np.lexsort((-middle, maps))]
    return np.split(found, np.cumsum(np.bincount(maps, minlength=len(heat_maps)))[:-1])


def _vertex(
    before: NDArray[np.float64], middle: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Offset of a parabola's top from the middle of three samples, within half a cell; 0 at the map's border."""
    inside = np.isfinite(before) & np.isfinite(after)
    before, after = np.where(inside, before, middle), np.where(inside, after, middle)
    curvature = before - 2 * middle + after
    offset = 0.5 * (before - after) / np.where(curvature < 0, curvature, -1.0)
    return np.clip(np.where(curvature < 0, offset, 0.0), -0.5, 0.5)


def assemble(heat_maps: NDArray[np.floating], affinity: NDArray[np.floating]) -> NDArray[np.float64]:
    """Persons of one image.

    Args:
        heat_maps: [18 or more, h, w] in the order of :data:`OPENPOSE_KEYPOINTS`. affinity: [38, h, w].

    Returns:
        [P, 18, 3]: x, y in map cells and height of the peak; 0 height = not found. The person with the largest
        sum of heights comes first.
    """
    peaks = find_peaks(heat_maps[: len(OPENPOSE_KEYPOINTS)])
    persons: list[dict[int, int]] = []
    for (start, end, _), pairs in zip(OPENPOSE_LIMBS, _join(peaks, affinity), strict=True):
        for a, b in pairs:
            _attach(persons, (start, a), (end, b))
    found = np.zeros((len(persons), len(OPENPOSE_KEYPOINTS), 3))
    for row, person in zip(found, persons, strict=True):
        for keypoint, index in person.items():
            row[keypoint] = peaks[keypoint][index]
    found = found[np.argsort(-found[:, :, 2].sum(axis=1), kind="stable")]
    found = _join_fragments(found, _MAX_GAP * heat_maps.shape[1])
    return np.asarray(found[(found[:, :, 2] > 0).sum(axis=1) >= _MIN_KEYPOINTS])


def _join(peaks: Sequence[NDArray[np.float64]], affinity: NDArray[np.floating]) -> list[list[tuple[int, int]]]:
    """For each limb, the pairs (start peak, end peak) whose line agrees with its field; best first, each peak once."""
    pairs = [
        (limb, a, b)
        for limb, (start, end, _) in enumerate(OPENPOSE_LIMBS)
        for a in range(len(peaks[start]))
        for b in range(len(peaks[end]))
    ]
    chosen: list[list[tuple[int, int]]] = [[] for _ in OPENPOSE_LIMBS]
    if not pairs:
        return chosen
    starts = np.array([peaks[OPENPOSE_LIMBS[limb][0]][a] for limb, a, _ in pairs])[:, :2]
    ends = np.array([peaks[OPENPOSE_LIMBS[limb][1]][b] for limb, _, b in pairs])[:, :2]
    channels = np.array([OPENPOSE_LIMBS[limb][2] for limb, _, _ in pairs])
    score, agreement = _evidence(starts, ends, channels, affinity)
    accepted = (agreement >= _MIN_AGREEMENT) & (score > 0)
    for _, (limb, a, b) in sorted((-score[n], pairs[n]) for n in np.flatnonzero(accepted)):
        if all(a != c and b != d for c, d in chosen[limb]):
            chosen[limb].append((a, b))
    return chosen


def _evidence(
    starts: NDArray[np.float64], ends: NDArray[np.float64], channels: NDArray[np.int64], affinity: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How well the field agrees with N lines: mean affinity minus a penalty for length; fraction that agrees."""
    height, width = affinity.shape[1:]
    line = ends - starts
    length = np.hypot(line[:, 0], line[:, 1])
    direction = line / np.maximum(length, 1e-6)[:, None]
    points = np.rint(starts + _STEPS[:, None, None] * line).astype(np.int64)  # [samples, N, 2]
    x, y = np.minimum(np.maximum(points, 0), (width - 1, height - 1)).transpose(2, 0, 1)
    along = affinity[channels, y, x] * direction[:, 0] + affinity[channels + 1, y, x] * direction[:, 1]
    # A limb shorter than a cell has no reliable direction, but the small distance is enough evidence.
    along = np.where(length < 1, np.maximum(along, _MIN_AFFINITY), along)
    score = along.mean(axis=0) - np.maximum(length / (0.5 * height) - 1, 0)
    return score, (along >= _MIN_AFFINITY).mean(axis=0)


def _attach(persons: list[dict[int, int]], start: tuple[int, int], end: tuple[int, int]) -> None:
    """Add a limb's two keypoints to the person with one of them. Two persons that fit are merged. If there is no such
    person, a new one is made."""
    holders = [p for p in persons if p.get(start[0]) == start[1] or p.get(end[0]) == end[1]]
    if not holders:
        persons.append(dict((start, end)))
        return
    first = holders[0]
    if len(holders) > 1:
        second = holders[1]
        if first.keys().isdisjoint(second):
            first.update(second)
            persons.remove(second)
        return
    for keypoint, index in (start, end):
        first.setdefault(keypoint, index)


def _join_fragments(found: NDArray[np.float64], max_length: float) -> NDArray[np.float64]:
    """Give each fragment to the first person that lacks all its keypoints and is near enough.

    A weak affinity cuts a body in two, most often at the hips, or at a knee behind a bag. In a crop of one person this
    is much more likely than a second person who shows exactly the missing half.
    """
    whole: list[NDArray[np.float64]] = []
    for fragment in found:
        for person in whole:
            apart = not ((person[:, 2] > 0) & (fragment[:, 2] > 0)).any()
            if apart and _gap(person, fragment) <= max_length:
                np.copyto(person, fragment, where=fragment[:, 2:] > 0)
                break
        else:
            whole.append(fragment.copy())
    return np.array(whole).reshape(-1, *found.shape[1:])


def _gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Length of the shortest limb that would join two persons; infinity if no limb would."""
    ends = [(i, j) for start, end, _ in OPENPOSE_LIMBS for i, j in ((start, end), (end, start))]
    lengths = [float(np.hypot(*(a[i, :2] - b[j, :2]))) for i, j in ends if a[i, 2] > 0 and b[j, 2] > 0]
    return min(lengths, default=np.inf)
