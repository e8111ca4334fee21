"""Things that stand in streets: in front of people they hide the people, behind people they are clutter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from partreid.datasets.synthetic.body import Floats
from partreid.datasets.synthetic.meshes import Mesh, Surface, box, cylinder, join, plain, superellipsoid
from partreid.datasets.synthetic.poses import about_z
from partreid.datasets.synthetic.props import parked_bicycle
from partreid.datasets.synthetic.textures import noise
from partreid.datasets.synthetic.wardrobe import COLOURS

Rng = np.random.Generator


def make_obstacle(rng: Rng, kind: str | None = None) -> Mesh:
    """A random thing on the ground at the origin. ``kind``: one of :data:`OBSTACLES`, None for any."""
    name = kind or str(rng.choice(list(OBSTACLES)))
    return OBSTACLES[name](rng)


def _colour(rng: Rng) -> tuple[float, float, float]:
    r, g, b = np.asarray(COLOURS[str(rng.choice(list(COLOURS)))]) * rng.uniform(0.8, 1.2)
    return float(r), float(g), float(b)


def _rough(rng: Rng, *, period: float = 0.1) -> Surface:
    base = np.asarray(_colour(rng), np.float32)

    def colour(coords: Floats) -> Floats:
        shade = 1 - 0.5 * noise(coords[:, 0] / period + coords[:, 1] / period, coords[:, 2] / period)
        return np.asarray(base * shade[:, None], np.float32)

    return colour


def _two_tone(rng: Rng, period: float) -> Surface:
    """Bands, as on barriers and signs."""
    first, second = np.asarray(_colour(rng), np.float32), np.asarray(_colour(rng), np.float32)

    def colour(coords: Floats) -> Floats:
        band = ((coords[:, 0] + coords[:, 2]) / period % 1 < 0.5)[:, None]
        return np.where(band, first, second).astype(np.float32)

    return colour


def _car(rng: Rng) -> Mesh:
    paint, glass, tyre = plain(_colour(rng)), plain((0.08, 0.09, 0.11)), plain((0.04, 0.04, 0.04))
    high = rng.uniform(0.9, 1.5)
    parts = [
        superellipsoid((0, 0, 0.28 + 0.25 * high), (2.1, 0.85, 0.28 * high), paint, squareness=0.35),
        superellipsoid((-0.2, 0, 0.28 + 0.62 * high), (1.25, 0.74, 0.24 * high), glass, squareness=0.45),
        superellipsoid((-0.2, 0, 0.30 + 0.85 * high), (1.0, 0.66, 0.04), paint, squareness=0.4),
    ]
    for x in (-1.3, 1.3):
        for y in (-0.75, 0.75):
            parts.append(superellipsoid((x, y, 0.31), (0.31, 0.12, 0.31), tyre, segments=12))
    return join(parts)


def _block(rng: Rng, size: tuple[float, float, float], period: float) -> Mesh:
    return box((0, 0, size[2] / 2), size, _rough(rng, period=period))


def _bollard(rng: Rng) -> Mesh:
    posts = [cylinder((x, 0, 0), 1.0, 0.13, _two_tone(rng, 0.35)) for x in (-0.45, 0.0, 0.45)]
    return join(posts[: int(rng.integers(2, 4))])


def _plant(rng: Rng) -> Mesh:
    pot = cylinder((0, 0, 0), 0.45, 0.22, _rough(rng), top=0.3)
    tone = np.array([rng.uniform(0.10, 0.25), rng.uniform(0.28, 0.48), rng.uniform(0.06, 0.18)], np.float32)

    def leaves(coords: Floats) -> Floats:
        return np.asarray(tone * (0.5 + noise(coords[:, 0] * 25, coords[:, 2] * 25 + coords[:, 1] * 19))[:, None])

    height = rng.uniform(0.3, 1.0)
    blobs = [
        superellipsoid(
            (rng.normal(0, 0.18), rng.normal(0, 0.1), 0.5 + height * rng.random()),
            tuple(rng.uniform(0.16, 0.34, 3)),
            leaves,
        )
        for _ in range(7)
    ]
    return join([pot, *blobs])


def _sign(rng: Rng) -> Mesh:
    width, height = rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.1)
    low = rng.uniform(0.2, 1.0)
    post = cylinder((0, 0.04, 0), low + height, 0.035, plain((0.4, 0.4, 0.4)))
    return join([post, box((0, 0, low + height / 2), (width, 0.03, height), _two_tone(rng, rng.uniform(0.2, 0.6)))])


def _bench(rng: Rng) -> Mesh:
    wood = _rough(rng)
    boards = [box((0, 0, z), (1.7, 0.06, 0.13), wood) for z in (0.5, 0.68, 0.86)]
    seat = box((0, -0.22, 0.44), (1.7, 0.42, 0.06), wood)
    legs = [box((x, -0.1, 0.22), (0.07, 0.45, 0.44), plain((0.1, 0.1, 0.1))) for x in (-0.7, 0.7)]
    return join([*boards, seat, *legs])


def _crates(rng: Rng) -> Mesh:
    heights = [0.22 + 0.42 * i for i in range(int(rng.integers(2, 4)))]
    return join([box((rng.normal(0, 0.06), 0, z), (rng.uniform(0.5, 0.75), 0.45, 0.41), _rough(rng)) for z in heights])


def _fence(rng: Rng) -> Mesh:
    metal = plain(_colour(rng))
    height = rng.uniform(0.9, 1.3)
    bars = [box((x, 0, height / 2), (0.035, 0.035, height), metal) for x in np.arange(-1.2, 1.21, 0.13)]
    rails = [box((0, 0, z), (2.5, 0.05, 0.06), metal) for z in (0.12, height)]
    return join([*bars, *rails])


def _bicycles(rng: Rng) -> Mesh:
    """A row of them, as at a rack."""
    step = rng.uniform(0.45, 0.7)
    return join([parked_bicycle(rng).moved(np.array([0, step * k, 0]), about_z(rng.normal(0, 0.1))) for k in range(4)])


OBSTACLES: dict[str, Callable[[Rng], Mesh]] = {
    "car": _car,
    "low wall": lambda rng: _block(rng, (rng.uniform(1.2, 3.5), 0.25, rng.uniform(0.6, 1.25)), 0.15),
    "pillar": lambda rng: _block(rng, (width := rng.uniform(0.35, 0.7), width, 3.2), 0.2),
    "wall end": lambda rng: _block(rng, (rng.uniform(1.2, 2.0), 0.3, 3.2), 0.3),
    "pole": lambda rng: cylinder((0, 0, 0), 4.0, rng.uniform(0.05, 0.16), _rough(rng)),
    "bollards": _bollard,
    "plant": _plant,
    "sign": _sign,
    "bench": _bench,
    "bin": lambda rng: cylinder((0, 0, 0), rng.uniform(0.9, 1.2), 0.27, _rough(rng), top=0.33),
    "crates": _crates,
    "fence": _fence,
    "bicycle": parked_bicycle,
    "bicycles": _bicycles,
}
"""By name, the function that makes a thing of that kind."""
