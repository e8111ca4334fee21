"""Cameras: place, surroundings, light, and the faults of the images."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.light import Light, made_up_light
from partreid.datasets.synthetic.meshes import Mesh
from partreid.datasets.synthetic.optics import Optics, make_optics
from partreid.datasets.synthetic.panoramas import light_of
from partreid.datasets.synthetic.surroundings import ground_surface, make_surroundings, panorama_ground

Vector = NDArray[np.float64]

_EYE = 2.5
"""Greatest height in metres from which a panorama's ground is seen, because standing people take panoramas."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at (0, 0, height) that looks along +y and down, with its surroundings and its faults.

    Attributes:
        height: metres above the ground. pitch, roll: radians. near, far: limits of people's y in metres.
    """

    height: float
    pitch: float
    roll: float
    near: float
    far: float
    light: Light
    optics: Optics
    surroundings: Mesh

    @property
    def origin(self) -> Vector:
        """Place of the lens [3]."""
        return np.array([0.0, 0.0, self.height])

    def axes(self) -> Vector:
        """[3, 3], whose rows are the image's directions right, down and forward in the world."""
        forward = np.array([0.0, cos(self.pitch), -sin(self.pitch)])
        down = np.array([0.0, -sin(self.pitch), -cos(self.pitch)])
        right = np.array([1.0, 0.0, 0.0])
        c, s = cos(self.roll), sin(self.roll)
        return np.stack([c * right + s * down, -s * right + c * down, forward])

    def project(self, points: NDArray[np.floating]) -> Vector:
        """World points [N, 3] -> [N, 2] right and down in the image plane at distance 1."""
        right, down, forward = self.axes()
        x, y, z = (points - self.origin).T
        deep = np.maximum(x * forward[0] + y * forward[1] + z * forward[2], 1e-6)
        across = (x * right[0] + y * right[1] + z * right[2]) / deep
        return np.stack([across, (x * down[0] + y * down[1] + z * down[2]) / deep], axis=1)

    def rays(self, plane: NDArray[np.floating]) -> Floats:
        """Unit directions [N, 3] through places [N, 2] of the image plane."""
        axes = self.axes().astype(np.float32)
        x, y = plane[:, :1].astype(np.float32), plane[:, 1:].astype(np.float32)
        # The axes are orthonormal, so the length of the result is known without them.
        return np.asarray((x * axes[0] + y * axes[1] + axes[2]) / np.sqrt(1 + x * x + y * y), np.float32)


def make_camera(
    seed: tuple[int, ...], number: int, count: int, panorama: Floats | None = None, *, sides: bool = True
) -> Camera:
    """Camera ``number`` of ``count`` that differ on purpose.

    Heights, colour casts, exposures, sharpness and headings are spread evenly over all cameras and assigned at random,
    the same for the same ``seed``. All else is drawn for each camera separately, so that one can be made without the
    others.

    Args:
        panorama: [h, w, 3] as :func:`read_panorama` gives it, for light and background; None makes them up.
        sides: as of :func:`make_surroundings`.
    """
    shared = np.random.default_rng(seed)
    height, hue, quality, exposure, sharpness, heading = (
        float(shared.permutation(np.linspace(low, high, count, endpoint=closed))[number])
        for low, high, closed in (
            (1.7, 5.2, True), (0, 2 * np.pi, False), (45, 95, True), (0.5, 0.95, True), (0, 1, True),
            (0, 2 * np.pi, False),
        )
    )  # fmt: skip
    rng = np.random.default_rng([*seed, number])
    near = rng.uniform(5, 8) + 0.6 * height
    far = near + rng.uniform(3, 6)
    if panorama is None:
        light, ground = made_up_light(rng), None
    else:
        light, turned = light_of(panorama, heading)
        up = light.ambient(np.array([[0, 0, 1]], np.float32))[0] + max(light.sun[2], 0) * light.sun_colour
        ground = panorama_ground(turned, up.astype(np.float32), min(height, _EYE), ground_surface(rng))
    return Camera(
        height=height,
        pitch=radians(rng.uniform(2, 6)) + height * 0.035,
        roll=radians(rng.normal(0, 1.5)),
        near=near,
        far=far,
        light=light,
        optics=make_optics(rng, hue, exposure, quality, sharpness),
        surroundings=make_surroundings(rng, near=near, far=far, ground=ground, sides=sides),
    )
