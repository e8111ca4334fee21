"""Poses of people in streets: a rotation for each bone that moves (x left, y back, z up, radians)."""

from __future__ import annotations

from collections.abc import Mapping
from math import acos, atan2, cos, exp, hypot, pi, radians, sin
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats

Rotation = NDArray[np.float64]
Vector = NDArray[np.floating]
Heads = Mapping[str, Floats]
"""Head [3] of each bone in the body at rest, in metres."""

_SIGN = {"L": 1.0, "R": -1.0}


class ArmPose(NamedTuple):
    """Directions for the left arm; the right arm's x is mirrored. Upper arm, forearm: x outward, y back, z up."""

    upper: tuple[float, float, float]
    fore: tuple[float, float, float]


class Gait(NamedTuple):
    """``phase``: in the cycle of two steps, in [0, 1). ``stride``: swing of the legs, 1 as usual, 0 standing."""

    phase: float
    stride: float


_SWING = 23.0
"""Degrees by which a leg swings forward and back at stride 1."""


def cycle_length(leg: NDArray[np.floating], stride: NDArray[np.floating]) -> NDArray[np.floating]:
    """Metres walked in one cycle of the gait if feet do not slide. ``leg``: length of a leg in metres."""
    return np.asarray(4 * leg * np.sin(np.radians(_SWING * stride)))


ARMS: dict[str, ArmPose] = {
    "down": ArmPose((0.14, 0.03, -1), (0.08, -0.16, -1)),
    "pocket": ArmPose((0.26, 0.22, -1), (-0.12, -0.42, -0.9)),
    "phone": ArmPose((0.16, -0.30, -1), (-0.42, -0.8, 0.35)),
    "call": ArmPose((0.42, -0.5, -0.8), (-0.35, 0.05, 0.95)),
    "crossed": ArmPose((0.12, -0.32, -1), (-0.9, -0.42, 0.05)),
    "strap": ArmPose((0.22, -0.05, -1), (-0.25, -0.45, 0.8)),
    "akimbo": ArmPose((0.75, 0.25, -0.8), (-0.75, -0.25, -0.55)),
    "behind": ArmPose((0.14, 0.35, -1), (-0.45, 0.3, -0.8)),
    "bent": ArmPose((0.15, 0.12, -1), (-0.1, -0.95, -0.25)),
}
"""Arm poses of standing people, by name; a walker may have one of them on one arm."""


Pose = Literal["walking", "standing", "sitting", "cycling", "pushing"]

_SHARES: dict[Pose, float] = {"walking": 0.64, "standing": 0.22, "sitting": 0.04, "cycling": 0.06, "pushing": 0.04}
CRANK = (0.20, 0.80)
"""Position of a cyclist's crank relative to the hips: forward and down, as fractions of the leg's length."""
PEDAL = 0.17
"""Length of a crank in metres."""
_PEDAL_TO_ANKLE = 0.10

_HOLDS = {
    "sitting": ArmPose((0.10, -0.28, -1), (-0.10, -0.90, -0.12)),
    "cycling": ArmPose((0.10, -0.72, -0.70), (0.04, -0.86, -0.50)),
    "pushing": ArmPose((0.14, -0.25, -1), (-0.06, -1.0, -0.10)),
}
"""Pose of both arms when the hands lie on knees, handlebar or handle."""
_UMBRELLA = ArmPose((0.16, -0.22, -1), (-0.12, -0.62, 0.78))
"""Pose of the right arm when it holds an umbrella: the hand is in front of the shoulder."""


def choose_pose(rng: np.random.Generator) -> Pose:
    """A random pose of somebody in a street: mostly walking."""
    shares = np.array(list(_SHARES.values()))
    return list(_SHARES)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def draw_pose(
    rng: np.random.Generator,
    heads: Heads,
    pose: Pose | None = None,
    *,
    carrying: bool = False,
    umbrella: bool = False,
    gait: Gait | None = None,
) -> dict[str, Rotation]:
    """A random pose: a rotation for each bone that :func:`pose_skeleton` is to turn.

    ``pose``: what the person does; None: walking or standing, at random. ``carrying``: the left arm hangs down with a
    hand bag. ``umbrella``: the right arm holds one.
    ``gait``: of a walker, instead of a random one; all else is drawn from ``rng``.
    """
    walking = rng.random() < 0.7 if pose is None else pose in ("walking", "pushing")
    phase, stride = rng.random(), rng.uniform(0.55, 1.15) if walking else 0.0
    if gait is not None:
        phase, stride = gait
    busy = str(rng.choice(list(ARMS))) if rng.random() < (0.25 if walking else 0.8) else "down"
    both = rng.random() < 0.4
    turn: dict[str, Rotation] = {}
    _spine(rng, turn, phase, stride, lean=24.0 if pose == "cycling" else 2.5)
    for side in "LR":
        leg = (phase + (0.0 if side == "L" else 0.5)) % 1
        if pose == "sitting":
            _place_leg(turn, heads, side, radians(rng.uniform(78, 92)), radians(rng.uniform(75, 100)), 0.10)
        elif pose == "cycling":
            _pedal(turn, heads, side, leg)
        else:
            _leg(rng, turn, heads, side, leg, stride)
        swing = -rng.uniform(12, 30) * stride * cos(2 * pi * leg)
        arms = ARMS[busy] if both or side == "R" or busy == "crossed" else ARMS["down"]
        if carrying and side == "L":
            arms, swing = ARMS["down"], swing * 0.3
        if pose in _HOLDS:
            arms, swing = _HOLDS[pose], 0.0
        elif umbrella and side == "R":
            arms, swing = _UMBRELLA, 0.0
        _arm(rng, turn, heads, side, arms, swing if arms is ARMS["down"] else 0.3 * swing)
    return turn


def about_z(angle: float) -> Rotation:
    """Rotation about the vertical, counter-clockwise seen from above."""
    c, s = cos(angle), sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def about_x(angle: float) -> Rotation:
    """Rotation about the left-right axis; positive tips the head forward (towards -y)."""
    c, s = cos(angle), sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def between(a: Vector, b: Vector) -> Rotation:
    """The smallest rotation that turns direction ``a`` into ``b``."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    cosine = float(a @ b)
    (p, q, r), (s, t, u) = a.tolist(), b.tolist()
    x, y, z = q * u - r * t, r * s - p * u, p * t - q * s  # numpy's cross takes five times as long
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / max(1 + cosine, 1e-6))


def _spine(rng: np.random.Generator, turn: dict[str, Rotation], phase: float, stride: float, *, lean: float) -> None:
    """``lean``: how far the trunk is bent forward on average, in degrees."""
    twist = radians(8) * stride * cos(2 * pi * phase)
    bent = radians(lean + rng.uniform(-4.5, 4.5))
    turn["root"] = about_z(-0.5 * twist)
    for bone, share in (("spine05", 0.2), ("spine04", 0.4), ("spine03", 0.6), ("spine02", 0.8), ("spine01", 1.0)):
        turn[bone] = about_z(twist * (share - 0.3)) @ about_x(bent * share)
    look = about_z(radians(rng.normal(0, 18))) @ about_x(radians(rng.normal(4, 9)))
    turn["neck02"], turn["head"] = turn["spine01"], look


def _leg(
    rng: np.random.Generator, turn: dict[str, Rotation], heads: Heads, side: str, phase: float, stride: float
) -> None:
    """Gait curves over the cycle from heel strike (0) to heel strike, after clinical gait tables."""
    sign = _SIGN[side]
    if stride:
        hip = radians(4 + _SWING * stride * cos(2 * pi * phase))
        knee = radians(
            6 + 12 * exp(-(((phase - 0.13) / 0.08) ** 2)) + 52 * stride * exp(-(((phase - 0.72) / 0.11) ** 2))
        )
        foot = radians(
            -14 * stride * exp(-((min(phase, 1 - phase) / 0.06) ** 2))
            + 38 * stride * exp(-(((phase - 0.62) / 0.1) ** 2))
        )
        out = 0.02
    else:
        hip, knee, foot = radians(rng.uniform(-4, 6)), radians(rng.uniform(2, 9)), 0.0
        out = rng.uniform(0.02, 0.11)
    _place_leg(turn, heads, side, hip, knee, out)
    turn[f"foot.{side}"] = about_z(sign * radians(rng.uniform(0, 14))) @ about_x(foot)


def _place_leg(turn: dict[str, Rotation], heads: Heads, side: str, hip: float, knee: float, out: float) -> None:
    """Swing the thigh forward by ``hip``, bend the knee by ``knee``, spread the leg by ``out`` metres a metre down."""
    sign = _SIGN[side]
    thigh = np.array([sign * out, -sin(hip), -cos(hip)])
    shank = np.array([sign * out * 0.8, -sin(hip - knee), -cos(hip - knee)])
    hip_at, knee_at, foot_at = (heads[f"{bone}.{side}"] for bone in ("upperleg01", "lowerleg01", "foot"))
    upper = between(knee_at - hip_at, thigh)
    turn[f"upperleg01.{side}"] = upper
    turn[f"lowerleg01.{side}"] = between(upper @ (foot_at - knee_at), shank) @ upper
    turn[f"foot.{side}"] = np.eye(3)


def _pedal(turn: dict[str, Rotation], heads: Heads, side: str, phase: float) -> None:
    """Put the foot on its pedal: two bones reach from the hip to the pedal, by the law of cosines."""
    hip_at, knee_at, foot_at = (heads[f"{bone}.{side}"] for bone in ("upperleg01", "lowerleg01", "foot"))
    thigh, shank = (float(np.linalg.norm(b - a)) for a, b in ((hip_at, knee_at), (knee_at, foot_at)))
    leg = thigh + shank
    forward = CRANK[0] * leg + PEDAL * sin(2 * pi * phase)
    down = CRANK[1] * leg + PEDAL * cos(2 * pi * phase) - _PEDAL_TO_ANKLE
    reach = min(hypot(forward, down), 0.995 * leg)
    at_hip = acos((thigh**2 + reach**2 - shank**2) / (2 * thigh * reach))
    at_knee = acos((thigh**2 + shank**2 - reach**2) / (2 * thigh * shank))
    _place_leg(turn, heads, side, atan2(forward, down) + at_hip, pi - at_knee, 0.03)


def _arm(
    rng: np.random.Generator, turn: dict[str, Rotation], heads: Heads, side: str, pose: ArmPose, swing: float
) -> None:
    mirror = np.array([_SIGN[side], 1.0, 1.0])
    swung, bent = about_x(radians(-swing)), about_x(radians(-1.6 * max(swing, 0)))
    upper_to = swung @ (np.array(pose.upper) * mirror + rng.normal(0, 0.03, 3))
    fore_to = swung @ bent @ (np.array(pose.fore) * mirror + rng.normal(0, 0.05, 3))
    trunk = turn["spine01"]
    shoulder, elbow, wrist = (heads[f"{bone}.{side}"] for bone in ("upperarm01", "lowerarm01", "wrist"))
    upper_rest, fore_rest = elbow - shoulder, wrist - elbow
    upper = between(trunk @ upper_rest, trunk @ upper_to) @ trunk
    lower = between(upper @ fore_rest, trunk @ fore_to) @ upper
    # A collar bone that follows a little keeps the shoulder from caving in.
    turn[f"clavicle.{side}"] = (
        between(upper_rest, 0.85 * upper_rest / np.linalg.norm(upper_rest) + 0.15 * upper_to) @ trunk
    )
    turn[f"upperarm01.{side}"], turn[f"lowerarm01.{side}"] = upper, lower
