"""Cameras: where each hangs, what it looks at, and how it spoils its images."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.meshes import Mesh
from partreid.datasets.synthetic.scene import make_surroundings

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at (0, 0, height) that looks along +y and down, with its surroundings and its faults.

    Attributes:
        height: metres over the ground. pitch, roll: radians. near, far: people's distance along y in metres.
        sun: unit vector to the light. sun_strength, ambient: light, linear. sky: its colour, linear RGB.
        softness: radius of the light in radians. gain: colour cast. exposure, contrast, saturation: 1 = neutral.
        blur: standard deviation in pixels of an image 128 high. noise: standard deviation, of 255.
        quality: of the JPEG.
    """

    height: float
    pitch: float
    roll: float
    near: float
    far: float
    sun: Vector
    sun_strength: float
    ambient: Vector
    sky: Vector
    softness: float
    gain: Vector
    exposure: float
    contrast: float
    saturation: float
    blur: float
    noise: float
    quality: int
    surroundings: Mesh

    @property
    def origin(self) -> Vector:
        """Place of the lens [3]."""
        return np.array([0.0, 0.0, self.height])

    def axes(self) -> Vector:
        """Rows: right, down, forward of the image, in the world [3, 3]."""
        forward = np.array([0.0, cos(self.pitch), -sin(self.pitch)])
        down = np.array([0.0, -sin(self.pitch), -cos(self.pitch)])
        right = np.array([1.0, 0.0, 0.0])
        c, s = cos(self.roll), sin(self.roll)
        return np.stack([c * right + s * down, -s * right + c * down, forward])

    def project(self, points: NDArray[np.floating]) -> Vector:
        """World points [N, 3] -> [N, 2] right and down in the image plane at distance 1."""
        seen = np.einsum("ab,nb->na", self.axes(), points - self.origin)
        return np.asarray(seen[:, :2] / np.maximum(seen[:, 2:], 1e-6))

    def rays(self, plane: NDArray[np.floating]) -> Floats:
        """Unit directions [N, 3] through places [N, 2] of the image plane."""
        axes = self.axes().astype(np.float32)
        x, y = plane[:, :1].astype(np.float32), plane[:, 1:].astype(np.float32)
        # The axes are orthonormal, so the length is known.
        return np.asarray((x * axes[0] + y * axes[1] + axes[2]) / np.sqrt(1 + x * x + y * y), np.float32)


def make_cameras(rng: np.random.Generator, count: int) -> list[Camera]:
    """Cameras that differ on purpose: heights, light and colour are spread evenly and dealt out at random."""
    heights = rng.permutation(np.linspace(1.7, 5.2, count))
    hues = rng.permutation(np.linspace(0, 2 * np.pi, count, endpoint=False))
    qualities = rng.permutation(np.linspace(48, 92, count))
    exposures = rng.permutation(np.linspace(0.68, 1.35, count))
    return [
        _camera(rng, *(float(x) for x in values)) for values in zip(heights, hues, qualities, exposures, strict=True)
    ]


def _camera(rng: np.random.Generator, height: float, hue: float, quality: float, exposure: float) -> Camera:
    near = rng.uniform(5, 8) + 0.6 * height
    far = near + rng.uniform(3, 6)
    elevation, azimuth = radians(rng.uniform(25, 65)), rng.uniform(0, 2 * np.pi)
    sun = np.array([cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation)])
    indoor = rng.random() < 0.35
    warmth = rng.normal(0, 0.06)
    cast = 1 + 0.10 * np.array([cos(hue), cos(hue - 2 * np.pi / 3), cos(hue + 2 * np.pi / 3)])
    return Camera(
        height=height,
        pitch=radians(rng.uniform(2, 6)) + height * 0.035,
        roll=radians(rng.normal(0, 1.5)),
        near=near,
        far=far,
        sun=np.array([0.15, -0.25, 0.95]) if indoor else sun,
        sun_strength=0.45 if indoor else float(rng.uniform(0.4, 1.3)),
        ambient=np.array([0.55 + warmth, 0.55, 0.57 - warmth]) * rng.uniform(0.8, 1.15),
        sky=np.array([0.55, 0.66, 0.8]) * rng.uniform(0.7, 1.2),
        softness=0.35 if indoor else 0.05,
        gain=cast,
        exposure=exposure,
        contrast=float(rng.uniform(0.8, 1.25)),
        saturation=float(rng.uniform(0.65, 1.2)),
        blur=float(rng.uniform(0.15, 0.75)),
        noise=float(rng.uniform(1.0, 6.0)),
        quality=round(quality),
        surroundings=make_surroundings(rng, near=near, far=far),
    )
