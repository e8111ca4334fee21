"""The places of a scene's cameras along a street, and the obstacles there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import atan2, pi, radians, tan

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.cameras import Camera, make_camera
from partreid.datasets.synthetic.meshes import Mesh
from partreid.datasets.synthetic.obstacles import OBSTACLES, make_obstacle
from partreid.datasets.synthetic.sequence_config import SequenceConfig

Vector = NDArray[np.float64]

HALF_STREET = 2.2
"""Half the width of the street in metres. Its middle line is the x axis of a scene's world, and z is up."""
_DIFFERENT = 8
"""A scene's cameras are the first ones of this number of cameras that differ on purpose."""
_SMALL = 0.75
"""Greatest radius in metres of an obstacle in the street; larger ones stand between the street and the camera."""
_WAIST = 0.9
"""Height in metres above the street's middle line at which the camera aims."""
_PACE = 0.6
"""Metres by which a camera's place extends beyond the picture, so that nobody outside the place is in the picture."""


@dataclass(frozen=True)
class Obstacle:
    """A thing on the ground in a camera's own frame, and the circle [x, y, radius] around it in metres."""

    mesh: Mesh
    circle: tuple[float, float, float]


@dataclass(frozen=True)
class Site:
    """A camera, its position in the world, and the obstacles at its place.

    Attributes:
        middle: x of the camera in the world. away: metres from the street's middle line.
        turned: whether it hangs at y > 0 and looks to -y; else at y < 0, looking to +y.
        half: half the width of the place that it sees, in metres.
    """

    camera: Camera
    middle: float
    away: float
    turned: bool
    half: float
    obstacles: tuple[Obstacle, ...]

    def own(self, places: NDArray[np.floating]) -> Vector:
        """Places [N, 2] of the world in the camera's frame."""
        sign = -1.0 if self.turned else 1.0
        return np.asarray((places - [self.middle, 0.0]) * sign + [0.0, self.away])

    def world(self, places: NDArray[np.floating]) -> Vector:
        """The reverse of :meth:`own`."""
        sign = -1.0 if self.turned else 1.0
        return np.asarray((places - [0.0, self.away]) * sign + [self.middle, 0.0])

    def own_yaw(self, yaw: float) -> float:
        """An angle about the vertical in the camera's frame."""
        return yaw + (pi if self.turned else 0.0)

    def extrinsics(self) -> tuple[Vector, Vector]:
        """Rotation R [3, 3] and shift t [3]: a place X of the world is R X + t in the image's right, down, forward."""
        sign = -1.0 if self.turned else 1.0
        rotation = self.camera.axes() @ np.diag([sign, sign, 1.0])
        lens = np.array([self.middle, -sign * self.away, self.camera.height])
        return rotation, -rotation @ lens


def make_sites(config: SequenceConfig, seed: tuple[int, ...], panoramas: Sequence[Floats | None]) -> list[Site]:
    """A scene's cameras along the street, alternately on its two sides.

    ``panoramas``: of each camera, as :func:`make_camera` takes it.
    """
    sites: list[Site] = []
    end = 0.0
    for number in range(config.cameras):
        made = make_camera(seed, number, _DIFFERENT, panoramas[number], sides=False)
        away = (made.near + made.far) / 2
        camera = replace(made, pitch=atan2(made.height - _WAIST, away))
        half = (away + HALF_STREET) * tan(radians(config.field_of_view / 2)) + _PACE
        rng = np.random.default_rng([*seed, 1, number])
        things = _obstacles(rng, config.obstacles, away, config.field_of_view)
        sites.append(Site(camera, end + half, away, number % 2 == 1, half, things))
        end += 2 * half + config.gap
    return sites


def _obstacles(rng: np.random.Generator, count: int, away: float, field_of_view: float) -> tuple[Obstacle, ...]:
    """Up to ``count`` things, at least one, in the street or between it and the camera, apart from each other."""
    chosen: list[Obstacle] = []
    across = tan(radians(field_of_view / 2))
    for _ in range(12 * count):
        mesh = make_obstacle(rng, str(rng.choice(list(OBSTACLES))))
        reach = float(np.hypot(*np.abs(mesh.vertices[:, :2]).max(axis=0)))
        depth = float(mesh.vertices[:, 1].max())
        if reach <= _SMALL and rng.random() < 0.6:
            y = away + rng.uniform(-1, 1) * (HALF_STREET - 0.5)
        else:
            y = away - HALF_STREET - depth - rng.uniform(0.3, 1.2)
        x = rng.uniform(-0.8, 0.8) * y * across
        if all(np.hypot(x - o.circle[0], y - o.circle[1]) > reach + o.circle[2] + 0.9 for o in chosen):
            chosen.append(Obstacle(mesh.moved(np.array([x, y, 0.0])), (float(x), float(y), reach)))
        if len(chosen) == count:
            break
    return tuple(chosen)
