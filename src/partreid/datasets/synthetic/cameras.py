"""Cameras: where each hangs, its surroundings (ground, walls, standing clutter), and how it spoils its images."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.meshes import Mesh, Surface, join, quad
from partreid.datasets.synthetic.obstacles import make_obstacle
from partreid.datasets.synthetic.textures import hash01, noise

Vector = NDArray[np.float64]

_GLASS = np.array([0.10, 0.12, 0.15], np.float32)
_HEDGE = np.array([0.16, 0.30, 0.10], np.float32)


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
        surroundings=_surroundings(rng, near=near, far=far),
    )


def _surroundings(rng: np.random.Generator, *, near: float, far: float) -> Mesh:
    """Ground, a wall behind, sometimes one at a side, and clutter behind the walkers' strip near..far (metres)."""
    wall = far + rng.uniform(2.0, 9.0)
    parts = [
        quad((-40, -2, 0), (80, 0, 0), (0, wall + 3, 0), _ground(rng)),
        quad((-40, wall, 0), (80, 0, 0), (0, 0, rng.uniform(3, 9)), _wall_surface(rng)),
    ]
    if rng.random() < 0.5:
        side = rng.choice([-1, 1]) * (0.3 * far + rng.uniform(0.5, 2))
        parts.append(quad((side, near - 3, 0), (0, wall, 0), (0, 0, rng.uniform(2, 5)), _wall_surface(rng)))
    for _ in range(int(rng.integers(8, 20))):
        y = rng.uniform(far + 0.8, max(wall - 0.5, far + 1.5))
        place = np.array([rng.uniform(-0.55, 0.55) * y, y, 0.0])
        angle = rng.uniform(0, 2 * np.pi)
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        kind = rng.choice(["car", "plant", "sign", "bench", "bin", "crates", "fence", "bicycle", "bicycle", "pole"])
        parts.append(make_obstacle(rng, str(kind)).moved(place, turn))
    return join(parts)


def _ground(rng: np.random.Generator) -> Surface:
    """A paving, as a function of metres along the ground."""
    kind = str(rng.choice(["asphalt", "slabs", "bricks", "grass", "stripes"]))
    tone = _tone(rng, 0.30, 0.62, tint=0.05)
    size = rng.uniform(0.3, 0.9)

    def colour(coords: Floats) -> Floats:
        u, v = coords[:, 0], coords[:, 1]
        shade = 0.8 + 0.25 * noise(u * 1.3, v * 1.3) + 0.15 * noise(u * 17, v * 17)
        out: NDArray[np.floating] = tone * shade[:, None]
        if kind == "slabs":
            out = out * (0.85 + 0.3 * _cell(u / size, v / size))[:, None]
            out[_joint(u / size, v / size, 0.04)] *= 0.6
        elif kind == "bricks":
            row = np.floor(v / 0.12)
            out = out * (0.75 + 0.4 * _cell(u / 0.25 + 0.5 * row, v / 0.12))[:, None] * (1.1, 0.9, 0.8)
        elif kind == "grass":
            out = out * (0.72, 0.88, 0.50) * (0.6 + 0.6 * noise(u * 30, v * 30))[:, None]
        elif kind == "stripes":
            out[(u / 1.1 % 1 < 0.45) & (v % 9 < 3.2)] = 0.85
        return np.asarray(out, np.float32)

    return colour


def _wall_surface(rng: np.random.Generator) -> Surface:
    """A facade, as a function of metres along it and up."""
    kind = str(rng.choice(["concrete", "bricks", "windows", "shop", "hedge"]))
    tone, other = _tone(rng, 0.25, 0.8, tint=0.10), _tone(rng, 0.1, 0.9, tint=0.25)
    width, height = rng.uniform(1.2, 3.0), rng.uniform(1.6, 2.8)

    def colour(coords: Floats) -> Floats:
        u, v = coords[:, 0], coords[:, 1]
        out: NDArray[np.floating] = tone * (0.85 + 0.2 * noise(u * 0.9, v * 0.9) + 0.1 * noise(u * 8, v * 8))[:, None]
        if kind == "concrete":
            out[_joint(u / width, v / height, 0.015)] *= 0.55
        elif kind == "bricks":
            row = np.floor(v / 0.09)
            out = out * (0.7 + 0.5 * _cell(u / 0.24 + 0.5 * row, v / 0.09))[:, None] * (1.15, 0.75, 0.65)
        elif kind in ("windows", "shop"):
            inside = (np.abs(u / width % 1 - 0.5) < 0.36) & (np.abs(v / height % 1 - 0.5) < 0.36)
            pane = np.where((_cell(u / width, v / height) < 0.35)[:, None], other, _GLASS)
            out[inside] = (pane * (0.7 + 0.6 * noise(u * 3, v * 2))[:, None])[inside]
            if kind == "shop":
                out[(v > 2.3) & (v < 2.9)] = other
        elif kind == "hedge":
            out = _HEDGE * (0.3 + noise(u * 12, v * 12) + 0.6 * noise(u * 35, v * 35))[:, None]
        return np.asarray(out, np.float32)

    return colour


def _tone(rng: np.random.Generator, low: float, high: float, *, tint: float) -> Floats:
    return np.asarray(rng.uniform(low, high) * (1 + rng.uniform(-tint, tint, 3)), np.float32)


def _cell(u: Floats, v: Floats) -> Floats:
    """One number in [0, 1) for each cell of a unit grid."""
    return hash01(np.floor(u).astype(np.int64), np.floor(v).astype(np.int64))


def _joint(u: Floats, v: Floats, width: float) -> NDArray[np.bool_]:
    return ((u % 1) < width) | ((v % 1) < width)
