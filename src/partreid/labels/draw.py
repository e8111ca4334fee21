"""Draw the 36 pose fields from COCO keypoints: a Gaussian per keypoint, a soft capsule per limb.

All widths are fractions of the person's stature in pixels. They are chosen so that the threshold 0.5 of Eq. 10 falls on
the real outline of the limb: the head keypoints together cover the head, and the ankles cover the feet. If the grid is
too coarse for this, a keypoint grows until it contains at least one node, because a head or foot without a node is
never learned.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from partreid.errors import LabelError
from partreid.parts import KEYPOINTS, LIMBS, NUM_POSE_FIELDS

_KEYPOINT_RADII = {
    "nose": 0.060, "eye": 0.062, "ear": 0.058, "shoulder": 0.046, "elbow": 0.042, "wrist": 0.044,
    "hip": 0.055, "knee": 0.045, "ankle": 0.050,
}  # fmt: skip
"""Distance at which a keypoint's Gaussian falls to one half, as a fraction of the stature."""

_LIMB_RADII = {
    ("ankle", "knee"): 0.040, ("knee", "hip"): 0.050, ("hip", "hip"): 0.060, ("shoulder", "hip"): 0.062,
    ("shoulder", "shoulder"): 0.048, ("shoulder", "elbow"): 0.038, ("elbow", "wrist"): 0.036,
    ("eye", "eye"): 0.055, ("nose", "eye"): 0.055, ("eye", "ear"): 0.055, ("ear", "shoulder"): 0.030,
}  # fmt: skip
"""Half the width of a limb at which its capsule falls to one half, as a fraction of the stature."""

_LIMB_SPANS = {("ankle", "knee"): (0.18, 1.0), ("ear", "shoulder"): (0.0, 0.55)}
"""The drawn part of limbs that are not drawn completely. A shank drawn to the ankle would take the foot's pixels in the
grouping, and a neck drawn to the shoulder the arm's."""

_FOOT_SHIFT = 0.022
"""COCO has no foot: the ankle's Gaussian lies this fraction of the stature further down the shank."""

_TRUNK_FILL = 0.6
"""Value between the two sides of the trunk, so that a broad chest has no hole of background. It is above the threshold
of Eq. 10, and lower than the value of an arm in front of the chest."""

_SEGMENT_LENGTHS = {
    ("left_shoulder", "left_hip"): 0.30, ("right_shoulder", "right_hip"): 0.30,
    ("left_hip", "left_knee"): 0.24, ("right_hip", "right_knee"): 0.24,
    ("left_knee", "left_ankle"): 0.24, ("right_knee", "right_ankle"): 0.24,
    ("nose", "left_ankle"): 0.88, ("nose", "right_ankle"): 0.88,
    ("nose", "left_hip"): 0.42, ("nose", "right_hip"): 0.42,
}  # fmt: skip
"""Length of body segments as fractions of the stature."""


# The kind of joint of each keypoint, and the two kinds that a limb joins: knee, (knee, hip).
_KINDS = [name.split("_")[-1] for name in KEYPOINTS]
_LIMB_KINDS = [(first.split("_")[-1], second.split("_")[-1]) for first, second in LIMBS]
# One row per channel. A keypoint is a line from itself to itself, a limb from its first to its second keypoint.
_FIRST = np.array([*range(len(KEYPOINTS)), *(KEYPOINTS.index(first) for first, _ in LIMBS)])
_SECOND = np.array([*range(len(KEYPOINTS)), *(KEYPOINTS.index(second) for _, second in LIMBS)])
_IS_LIMB = np.arange(NUM_POSE_FIELDS) >= len(KEYPOINTS)
_RADII = np.array([*(_KEYPOINT_RADII[kind] for kind in _KINDS), *(_LIMB_RADII[kinds] for kinds in _LIMB_KINDS)])
_SPANS = np.array([*((0.0, 0.0) for _ in KEYPOINTS), *(_LIMB_SPANS.get(kinds, (0.0, 1.0)) for kinds in _LIMB_KINDS)])
_SHANKS = [(KEYPOINTS.index(f"{side}_ankle"), KEYPOINTS.index(f"{side}_knee")) for side in ("left", "right")]
_TRUNK = [KEYPOINTS.index(k) for k in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]
_TRUNK_SIDES = [len(KEYPOINTS) + i for i, kinds in enumerate(_LIMB_KINDS) if kinds == ("shoulder", "hip")]


def draw_pose_fields(
    keypoints: NDArray[np.floating],
    *,
    image_size: tuple[int, int],
    field_size: tuple[int, int],
    scale: float | None = None,
) -> NDArray[np.float32]:
    """Pose fields of one person.

    Node (i, j) of the fields lies at pixel (i·H/(h-1), j·W/(w-1)) of the image. A keypoint's field is c·exp(-ln
    2·(d/r)²) at distance d, with confidence c; a limb's is the same with d the distance to the segment and c the
    smaller confidence of its two ends, so that a hidden keypoint also hides its limbs. If all shoulders and hips are
    seen, the two sides of the trunk also fill the area between them.

    Args:
        keypoints: [17, 3], x and y in pixels of the image, confidence in [0, 1]; 0 is a keypoint not seen.
        image_size: (H, W) of the image in pixels.
        field_size: (h, w) of the fields in nodes, each at least 2.
        scale: the person's stature in pixels; None estimates it with :func:`estimate_stature`.

    Returns:
        float32 [36, h, w] in [0, 1].

    Raises:
        LabelError: ``keypoints`` is not [17, 3], is not finite, or the fields have fewer than two nodes a side.

    Example:
        >>> person = np.zeros((17, 3))
        >>> person[0] = 32, 16, 0.9  # a nose
        >>> draw_pose_fields(person, image_size=(128, 64), field_size=(17, 9), scale=118)[0, 2, 4].round(2)
        np.float32(0.9)
    """
    points = np.array(keypoints, dtype=np.float64)
    if points.shape != (len(KEYPOINTS), 3):
        raise LabelError(f"Keypoints must be [17, 3] (x, y, confidence in COCO order), got shape {points.shape}.")
    if not np.isfinite(points).all():
        raise LabelError("Keypoints must be finite; give a keypoint that was not found the confidence 0.")
    if min(field_size) < 2:
        raise LabelError(f"Pose fields need at least 2 nodes a side, got field_size {field_size}.")
    points[:, 2] = points[:, 2].clip(0, 1)
    pitch = image_size[0] / (field_size[0] - 1), image_size[1] / (field_size[1] - 1)
    stature = estimate_stature(points, image_size) if scale is None else scale
    # Half the diagonal of a cell, because a disc of this radius contains a node wherever its centre lies.
    least = float(np.hypot(*pitch)) / 2
    x = np.arange(field_size[1]) * pitch[1]
    y = (np.arange(field_size[0]) * pitch[0])[:, None]
    starts, ends = _segments(points, stature)
    radii = np.maximum(_RADII * stature, np.where(_IS_LIMB, least / 2, least))
    confidence = np.minimum(points[_FIRST, 2], points[_SECOND, 2])
    fields = np.exp2(-_squared_distance(x, y, starts, ends) / (radii**2)[:, None, None])
    if (points[_TRUNK, 2] > 0).all():
        fields[_TRUNK_SIDES] = np.maximum(fields[_TRUNK_SIDES], _TRUNK_FILL * _inside(x, y, points[_TRUNK, :2]))
    return np.asarray(fields * confidence[:, None, None], np.float32)


def estimate_stature(keypoints: NDArray[np.floating], image_size: tuple[int, int]) -> float:
    """The person's stature in pixels: the measured one, but at most 1.5·H; 0.9·H if it cannot be measured.

    Args:
        keypoints: [17, 3], x, y in pixels, confidence. image_size: (H, W) in pixels.
    """
    measured = measured_stature(keypoints[:, :2], keypoints[:, 2] > 0)
    return 0.9 * image_size[0] if np.isnan(measured) else min(measured, 1.5 * image_size[0])


def measured_stature(points: NDArray[np.floating], seen: NDArray[np.bool_]) -> float:
    """The person's stature in pixels from the lengths of the visible body segments; NaN if none is visible.

    The largest estimate counts, because a segment seen at an angle looks shorter, never longer.

    Args:
        points: [17, 2], x, y in pixels. seen: [17].
    """
    ends = ((KEYPOINTS.index(a), KEYPOINTS.index(b), fraction) for (a, b), fraction in _SEGMENT_LENGTHS.items())
    estimates = (math.dist(points[a], points[b]) / fraction for a, b, fraction in ends if seen[a] and seen[b])
    return max(estimates, default=math.nan)


def _segments(points: NDArray[np.float64], stature: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end [36, 2] of each channel's segment. A keypoint is a segment of length 0."""
    first, second = points[_FIRST, :2], points[_SECOND, :2]
    along = second - first
    starts, ends = first + _SPANS[:, :1] * along, first + _SPANS[:, 1:] * along
    for ankle, knee in _SHANKS:
        shank = points[ankle, :2] - points[knee, :2]
        length = float(np.hypot(*shank))
        seen = points[knee, 2] > 0 and length > 1e-6
        shift = _FOOT_SHIFT * stature * (shank / length if seen else np.array([0.0, 1.0]))  # straight down if unseen
        starts[ankle] += shift
        ends[ankle] += shift
    return starts, ends


def _squared_distance(
    x: NDArray[np.floating], y: NDArray[np.floating], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of every node to every segment: [S, h, w] for x [w], y [h, 1], and S segments."""
    along = ends - starts
    unit = along / np.maximum((along**2).sum(axis=1), 1e-12)[:, None]
    dx, dy = x - starts[:, 0, None, None], y - starts[:, 1, None, None]
    t = (dx * unit[:, 0, None, None] + dy * unit[:, 1, None, None]).clip(0, 1)
    return np.asarray((dx - t * along[:, 0, None, None]) ** 2 + (dy - t * along[:, 1, None, None]) ** 2)


def _inside(x: NDArray[np.floating], y: NDArray[np.floating], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each node [h, w] lies in the convex polygon [n, 2]. A polygon without area, or one that crosses itself,
    contains no node."""
    edges = np.roll(corners, -1, axis=0) - corners
    side = np.array([ex * (y - cy) - ey * (x - cx) for (cx, cy), (ex, ey) in zip(corners, edges, strict=True)])
    # If a trunk is seen exactly from the side, all edges lie on one line, which continues beyond them.
    return np.asarray((np.all(side >= 0, axis=0) | np.all(side <= 0, axis=0)) & np.any(side != 0, axis=0))
