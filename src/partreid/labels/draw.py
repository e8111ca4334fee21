"""Draw the 36 pose fields from COCO keypoints: a Gaussian per keypoint, a soft capsule per limb.

All widths are fractions of the person's stature in pixels, chosen so that the threshold 0.5 of Eq. 10 falls on the
limb's real outline: head keypoints together cover the head, ankles the feet. Where the grid is coarser than that, a
keypoint grows until it holds at least one node: a head or foot that owns no pixel is never learned.
"""

from __future__ import annotations

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
"""Part of a limb that is drawn, where not all: a shank that ran to the ankle would take the foot's pixels in the
grouping, a neck that ran to the shoulder the arm's."""

_FOOT_SHIFT = 0.022
"""COCO has no foot: the ankle's Gaussian lies this fraction of the stature further down the shank."""

_SEGMENT_LENGTHS = {
    ("left_shoulder", "left_hip"): 0.30, ("right_shoulder", "right_hip"): 0.30,
    ("left_hip", "left_knee"): 0.24, ("right_hip", "right_knee"): 0.24,
    ("left_knee", "left_ankle"): 0.24, ("right_knee", "right_ankle"): 0.24,
    ("nose", "left_ankle"): 0.88, ("nose", "right_ankle"): 0.88,
    ("nose", "left_hip"): 0.42, ("nose", "right_hip"): 0.42,
}  # fmt: skip
"""Length of body segments as fractions of the stature."""


def draw_pose_fields(
    keypoints: NDArray[np.floating],
    *,
    image_size: tuple[int, int],
    field_size: tuple[int, int],
    scale: float | None = None,
) -> NDArray[np.float32]:
    """Pose fields of one person.

    Node (i, j) of the fields lies at pixel (i·H/(h-1), j·W/(w-1)) of the picture. A keypoint's field is
    c·exp(-ln 2·(d/r)²) at distance d, with confidence c; a limb's is the same with d the distance to the segment
    and c the smaller confidence of its two ends, so that a hidden keypoint hides its limbs too.

    Args:
        keypoints: [17, 3], x and y in pixels of the picture, confidence in [0, 1]; 0 is a keypoint not seen.
        image_size: (H, W) of the picture in pixels.
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
    points = _checked(keypoints, field_size)
    pitch = image_size[0] / (field_size[0] - 1), image_size[1] / (field_size[1] - 1)
    stature = estimate_stature(points, image_size) if scale is None else scale
    rows, columns = (np.arange(n) * step for n, step in zip(field_size, pitch, strict=True))
    nodes = np.stack(np.meshgrid(columns, rows), axis=-1)  # [h, w, 2] as x, y
    # Half the diagonal of a cell: a disc of this radius holds a node wherever its centre lies.
    least = float(np.hypot(*pitch)) / 2
    fields = np.zeros((NUM_POSE_FIELDS, *field_size), np.float32)
    centres = _moved_to_feet(points, stature)
    for channel, name in enumerate(KEYPOINTS):
        if points[channel, 2] > 0:
            radius = max(_KEYPOINT_RADII[_kind(name)] * stature, least)
            distance = np.linalg.norm(nodes - centres[channel], axis=-1)
            fields[channel] = points[channel, 2] * _falloff(distance, radius)
    for channel, (first, second) in enumerate(LIMBS, start=len(KEYPOINTS)):
        a, b = points[KEYPOINTS.index(first)], points[KEYPOINTS.index(second)]
        confidence = min(a[2], b[2])
        if confidence > 0:
            kinds = _kind(first), _kind(second)
            start, end = (a[:2] + t * (b[:2] - a[:2]) for t in _LIMB_SPANS.get(kinds, (0.0, 1.0)))
            radius = max(_LIMB_RADII[kinds] * stature, least / 2)
            fields[channel] = confidence * _falloff(_distance_to_segment(nodes, start, end), radius)
    return fields


def estimate_stature(keypoints: NDArray[np.floating], image_size: tuple[int, int]) -> float:
    """The person's stature in pixels, from the lengths of the body segments that are seen.

    A segment seen at an angle looks shorter, never longer: the largest estimate counts.

    Args:
        keypoints: [17, 3], x, y in pixels, confidence. image_size: (H, W) in pixels.

    Returns:
        Pixels, at most 1.5·H; 0.9·H where no segment is seen.
    """
    estimates = []
    for (first, second), fraction in _SEGMENT_LENGTHS.items():
        a, b = keypoints[KEYPOINTS.index(first)], keypoints[KEYPOINTS.index(second)]
        if min(a[2], b[2]) > 0:
            estimates.append(float(np.hypot(*(a[:2] - b[:2]))) / fraction)
    return min(max(estimates), 1.5 * image_size[0]) if estimates else 0.9 * image_size[0]


def _checked(keypoints: NDArray[np.floating], field_size: tuple[int, int]) -> NDArray[np.float64]:
    points = np.asarray(keypoints, dtype=np.float64)
    if points.shape != (len(KEYPOINTS), 3):
        raise LabelError(f"Keypoints must be [17, 3] (x, y, confidence in COCO order), got shape {points.shape}.")
    if not np.isfinite(points).all():
        raise LabelError("Keypoints must be finite; give a keypoint that was not found the confidence 0.")
    if min(field_size) < 2:
        raise LabelError(f"Pose fields need at least 2 nodes a side, got field_size {field_size}.")
    points[:, 2] = points[:, 2].clip(0, 1)
    return points


def _moved_to_feet(points: NDArray[np.float64], stature: float) -> NDArray[np.float64]:
    """Centres of the Gaussians [17, 2]: the keypoints, ankles moved down the shank (straight down without a knee)."""
    centres = points[:, :2].copy()
    for side in ("left", "right"):
        ankle, knee = KEYPOINTS.index(f"{side}_ankle"), KEYPOINTS.index(f"{side}_knee")
        direction = centres[ankle] - centres[knee]
        length = float(np.hypot(*direction))
        if points[knee, 2] <= 0 or length < 1e-6:
            direction, length = np.array([0.0, 1.0]), 1.0
        centres[ankle] += direction / length * _FOOT_SHIFT * stature
    return centres


def _falloff(distance: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """1 at distance 0, one half at ``radius``."""
    return np.exp2(-((distance / radius) ** 2))


def _distance_to_segment(
    nodes: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    along = end - start
    square = max(float(along @ along), 1e-12)
    t = ((nodes - start) @ along / square).clip(0, 1)
    return np.asarray(np.linalg.norm(nodes - start - t[..., None] * along, axis=-1), dtype=np.float64)


def _kind(keypoint: str) -> str:
    return keypoint.split("_")[-1]
