"""The surroundings of a camera's people: ground, walls and standing clutter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.meshes import Mesh, Surface, join, quad
from partreid.datasets.synthetic.obstacles import make_obstacle
from partreid.datasets.synthetic.panoramas import look_up
from partreid.datasets.synthetic.textures import hash01, noise

_GLASS = np.array([0.10, 0.12, 0.15], np.float32)
_HEDGE = np.array([0.16, 0.30, 0.10], np.float32)
_CLUTTER = (
    "car", "plant", "sign", "bench", "bin", "crates", "fence", "bicycle", "bicycles", "bicycles", "bicycles", "pole",
)  # fmt: skip
_AWAY = 1.8
"""Metres between the strip where people walk and what stands behind it."""


def make_surroundings(
    rng: np.random.Generator, *, near: float, far: float, ground: Surface | None = None, sides: bool = True
) -> Mesh:
    """Ground, a wall behind, sometimes one at a side, and clutter behind the walkers' strip near..far (metres).

    ``ground``: its colour as a function of metres from (-40, -2); if it is given, walls are rarer.
    ``sides``: whether walls may stand at the sides; without them people can walk out of the picture.
    """
    wall = far + rng.uniform(3.0, 12.0)
    open_view = ground is not None and rng.random() < 0.6
    depth = 60.0 if open_view else wall + 3
    parts = [quad((-40, -2, 0), (80, 0, 0), (0, depth, 0), ground or ground_surface(rng))]
    if not open_view:
        parts.append(quad((-40, wall, 0), (80, 0, 0), (0, 0, rng.uniform(3, 9)), _wall_surface(rng)))
    if not open_view and rng.random() < 0.5 and sides:
        side = rng.choice([-1, 1]) * (0.3 * far + rng.uniform(2.6, 4.5))
        parts.append(quad((side, near - 3, 0), (0, wall, 0), (0, 0, rng.uniform(2, 5)), _wall_surface(rng)))
    for _ in range(int(rng.integers(8, 20))):
        angle = rng.uniform(0, 2 * np.pi)
        c, s = np.cos(angle), np.sin(angle)
        turned = make_obstacle(rng, str(rng.choice(_CLUTTER))).moved(
            np.zeros(3), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        )
        y = rng.uniform(far + _AWAY, max(wall - 0.5, far + _AWAY + 1)) - float(turned.vertices[:, 1].min())
        parts.append(turned.moved(np.array([rng.uniform(-0.45, 0.45) * y, y, 0.0])))
    return join(parts)


def panorama_ground(panorama: Floats, up: Floats, height: float, pattern: Surface) -> Surface:
    """The panorama's lower half, projected on the ground from ``height`` metres above the camera's foot.

    ``up``: light [3] on level ground. The panorama's radiance is divided by it, so that shadows can darken the ground.
    ``pattern``: a paving that gives the fine grain that panoramas lack at this distance.
    """

    def colour(coords: Floats) -> Floats:
        down = np.full(len(coords), -height, np.float32)
        towards = np.stack([coords[:, 0] - 40, coords[:, 1] - 2, down], axis=1)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        albedo = np.clip(look_up(panorama, towards) / up, 0.02, 0.9)
        grain = pattern(coords).mean(axis=1, keepdims=True)
        return np.asarray(np.sqrt(albedo) * (grain / max(float(grain.mean()), 0.05)), np.float32)

    return colour


def ground_surface(rng: np.random.Generator) -> Surface:
    """A paving, as a function of metres along the ground."""
    kind = str(rng.choice(["asphalt", "slabs", "slabs", "bricks", "bricks", "grass", "stripes"]))
    tone = _tone(rng, 0.42, 0.75, tint=0.04)
    size = rng.uniform(0.3, 0.9)

    def colour(coords: Floats) -> Floats:
        u, v = coords[:, 0], coords[:, 1]
        shade = 0.8 + 0.25 * noise(u * 1.3, v * 1.3) + 0.15 * noise(u * 17, v * 17)
        out: NDArray[np.floating] = tone * shade[:, None]
        if kind == "slabs":
            out = out * (0.85 + 0.3 * _cell(u / size, v / size))[:, None]
            out[_joint(u / size, v / size, 0.04)] *= 0.6
        elif kind == "bricks":
            row = np.floor(v / 0.25)
            out = out * (0.82 + 0.3 * _cell(u / 0.5 + 0.5 * row, v / 0.25))[:, None] * (1.1, 0.9, 0.8)
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
