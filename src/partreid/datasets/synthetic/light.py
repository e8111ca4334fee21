"""The light of a scene: ambient light by direction, a sun, and the sky behind everything.

The ambient light is stored as nine spherical harmonics, which give the light on a diffuse surface to about 1 %
(R. Ramamoorthi and P. Hanrahan, "An efficient representation for irradiance environment maps", SIGGRAPH 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats

Vector = NDArray[np.float64]

_COSINE = np.array([1.0, 2 / 3, 2 / 3, 2 / 3, 0.25, 0.25, 0.25, 0.25, 0.25])
"""Share of each harmonic that a diffuse surface reflects."""
_ROWS = 32
"""Height of the small map that a made-up sky is drawn on."""


@dataclass(frozen=True)
class Light:
    """The light at a camera, in units in which a white surface is about 1.

    Attributes:
        harmonics: [9, 3] of the ambient light. sun: unit vector [3] towards the sun. sun_colour: [3], 0 without a sun.
        softness: the sun's radius in radians. sky: radiance [N, 3] along directions [N, 3].
        haze: colour [3] of distant air.
    """

    harmonics: Floats
    sun: Vector
    sun_colour: Vector
    softness: float
    sky: Callable[[Floats], Floats]
    haze: Vector

    def ambient(self, normals: Floats) -> Floats:
        """Light [N, 3] that falls on white surfaces with these unit normals [N, 3], without the sun."""
        light = np.einsum("nk,kc->nc", harmonic_basis(normals), self.harmonics)
        return np.asarray(np.maximum(light, 0.01), np.float32)


def harmonic_basis(directions: NDArray[np.floating]) -> Floats:
    """The nine real spherical harmonics [N, 9] up to degree 2."""
    x, y, z = (directions[..., k] for k in range(3))
    one = np.full_like(x, 0.282095)
    basis = [
        one, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z,
        0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y),
    ]  # fmt: skip
    return np.stack(basis, axis=-1).astype(np.float32)


def map_directions(rows: int, columns: int) -> tuple[Vector, Vector]:
    """Unit directions [h, w, 3] of an equirectangular map's pixels, and their solid angles [h, w].

    Row 0 is at the top. The middle of column 0 is just right of +y, and the columns continue clockwise as seen from
    above.
    """
    theta = (np.arange(rows) + 0.5) / rows * np.pi
    azimuth = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    t, a = np.meshgrid(theta, azimuth, indexing="ij")
    directions = np.stack([np.sin(t) * np.sin(a), np.sin(t) * np.cos(a), np.cos(t)], axis=-1)
    return directions, np.sin(t) * (np.pi / rows) * (2 * np.pi / columns)


def harmonics_of(radiance: NDArray[np.floating]) -> Floats:
    """Harmonics [9, 3] of the ambient light under a map of radiance [h, w, 3]; white under radiance 1 is 1."""
    directions, solid_angle = map_directions(*radiance.shape[:2])
    basis = harmonic_basis(directions).astype(float)
    weighted = radiance.astype(float) * solid_angle[..., None]
    return np.asarray(np.einsum("hwk,hwc->kc", basis, weighted) * _COSINE[:, None], np.float32)


def made_up_light(rng: np.random.Generator) -> Light:
    """Daylight between walls, an overcast sky, or lamps under a ceiling."""
    kind = str(rng.choice(["sun", "overcast", "indoor"], p=[0.42, 0.33, 0.25]))
    directions, _ = map_directions(_ROWS, 2 * _ROWS)
    up = directions[..., 2]
    warmth = rng.normal(0, 0.06)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    blue = np.array([0.80, 0.92, 1.10]) if kind == "sun" else white
    bright = {"sun": 0.62, "overcast": 1.0, "indoor": 0.85}[kind] * rng.uniform(0.9, 1.1)
    zenith = bright * (rng.uniform(0.9, 1.3) if kind == "sun" else rng.uniform(1.1, 1.5))
    over = np.clip(up, 0, 1)[..., None]
    ground = white * bright * rng.uniform(0.25, 0.5)
    radiance = np.where(up[..., None] > 0, blue * (bright + (zenith - bright) * over), ground)
    # Walls keep the sky's light off one side, as in a street.
    side = rng.uniform(0, 2 * np.pi)
    towards = directions[..., 0] * cos(side) + directions[..., 1] * sin(side)
    wall = (towards > 0.25) & (np.abs(up) < rng.uniform(0.2, 0.7))
    radiance[wall] *= rng.uniform(0.3, 0.9)
    elevation, azimuth = radians(rng.uniform(25, 65)), rng.uniform(0, 2 * np.pi)
    sun = np.array([cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation)])
    strength, softness = {"sun": (rng.uniform(0.5, 1.4), 0.03), "overcast": (0.0, 0.3), "indoor": (0.45, 0.35)}[kind]
    if kind == "indoor":
        sun = np.array([0.15, -0.25, 0.95]) / np.linalg.norm([0.15, -0.25, 0.95])
    horizon = (blue * bright * rng.uniform(0.8, 1.1)).astype(np.float32)
    return Light(
        harmonics=harmonics_of(radiance),
        sun=sun,
        sun_colour=strength * np.array([1.06, 1.0, 0.9]),
        softness=softness,
        sky=lambda rays: np.broadcast_to(horizon, rays.shape),
        haze=horizon.astype(float),
    )
