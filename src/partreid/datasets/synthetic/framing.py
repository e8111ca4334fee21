"""The detector's box around a person, and what is hidden of the person inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import BELONGINGS, REGIONS, Floats, Ints
from partreid.datasets.synthetic.cameras import Camera
from partreid.datasets.synthetic.raytrace import Scene, TracedMesh

Vector = NDArray[np.float64]

SAMPLES = {
    1: ((0.0, 0.0),),
    2: ((-0.25, -0.25), (0.25, 0.25)),
    4: ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125)),
}
"""Where the rays of a pixel lie around its centre, in pixels."""

_MEASURE = (72, 36)
"""Numbers of rays down and across that measure occlusion."""


@dataclass(frozen=True)
class Box:
    """A rectangle in the image plane at distance 1: x right, y down."""

    left: float
    top: float
    right: float
    bottom: float

    def contains(self, places: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[N] whether places [N, 2] lie inside."""
        x, y = places.T
        inside: NDArray[np.bool_] = (x >= self.left) & (x <= self.right) & (y >= self.top) & (y <= self.bottom)
        return inside

    def grid(self, rows: int, columns: int) -> Vector:
        """Centres [rows·columns, 2] of a regular grid of cells."""
        x = self.left + (np.arange(columns) + 0.5) / columns * (self.right - self.left)
        y = self.top + (np.arange(rows) + 0.5) / rows * (self.bottom - self.top)
        return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)

    def pixels(self, image_size: tuple[int, int], samples: int) -> Floats:
        """Places [samples·H·W, 2] of the rays of an H×W crop: the first of every pixel, then the second ones, ..."""
        height, width = image_size
        size = np.array([(self.right - self.left) / width, (self.bottom - self.top) / height])
        centres = self.grid(height, width).astype(np.float32)
        return np.concatenate([centres + np.float32(np.array(offset) * size) for offset in SAMPLES[samples]])

    def to_pixels(self, places: NDArray[np.floating], image_size: tuple[int, int]) -> Vector:
        """Places [N, 2] in pixels of the crop."""
        scale = np.array([image_size[1] / (self.right - self.left), image_size[0] / (self.bottom - self.top)])
        return np.asarray((places - [self.left, self.top]) * scale)


@dataclass(frozen=True)
class Occlusion:
    """Hidden fraction of the body's whole silhouette, by others or by the box's edge.

    Attributes:
        degree: in [0, 1]. visible: the fraction seen of each of :data:`REGIONS`, NaN if the body itself hides it all.
    """

    degree: float
    visible: tuple[float, ...]


def bounds(places: NDArray[np.floating]) -> Box:
    """The smallest box around places [N, 2]."""
    (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def detect(rng: np.random.Generator, body: Box, *, faulty: float) -> Box:
    """A detector's box around the body: a little loose, tight or shifted, and badly so with probability ``faulty``."""
    height, width = body.bottom - body.top, body.right - body.left
    x, y = (body.left + body.right) / 2, (body.top + body.bottom) / 2
    h = height * rng.uniform(0.98, 1.10)
    w = max(h * rng.uniform(0.34, 0.46), width * rng.uniform(0.9, 1.1))
    x += rng.normal(0, 0.03) * w
    y += rng.normal(0, 0.015) * h
    if rng.random() < faulty:
        match int(rng.integers(5)):
            case 0:  # loose
                h, w = h * 1.25, w * 1.3
            case 1:  # very loose, the person somewhere in it
                grown = rng.uniform(1.3, 1.6)
                h, w = h * grown, w * grown
                x, y = x + rng.normal(0, 0.08) * w, y + rng.normal(0, 0.06) * h
            case 2:  # feet cut off
                h, y = h * 0.82, y - 0.1 * h
            case 3:  # shifted sideways
                x += rng.choice([-1, 1]) * 0.2 * w
            case _:  # tight
                h, w = h * 0.9, w * 0.8
    return Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2)


@dataclass(frozen=True)
class Silhouette:
    """The rays of a regular grid that hit the body when nothing else is there.

    Attributes:
        rays: [N, 3] unit directions. distance: [N] metres. region: [N] value in a part map. inside: [N] in the box.
    """

    rays: Floats
    distance: Floats
    region: Ints
    inside: NDArray[np.bool_]

    def behind(self, camera: Camera, thing: TracedMesh, shift: Vector | None = None) -> NDArray[np.bool_]:
        """[N] whether a thing is in front of the body. ``shift``: [3] by which the thing is moved for this."""
        origin = camera.origin if shift is None else camera.origin - shift
        distance, _ = thing.distances(origin, self.rays)
        covered: NDArray[np.bool_] = (distance >= 0) & (distance < self.distance)
        return covered

    def hidden(self, covered: NDArray[np.bool_]) -> Occlusion:
        """How much of the body is outside the box or covered (``covered``: [N]). Bags do not count."""
        seen = self.inside & ~covered
        is_body = self.region != BELONGINGS
        visible = tuple(
            float(seen[self.region == value].mean()) if (self.region == value).any() else float("nan")
            for value in range(1, len(REGIONS) + 1)
        )
        return Occlusion(float(1 - seen[is_body].mean()) if is_body.any() else 1.0, visible)


def silhouette(person: TracedMesh, camera: Camera, body: Box, box: Box) -> Silhouette:
    """A person's silhouette from rays spread over ``body``, the box around it."""
    places = body.grid(*_MEASURE)
    rays = camera.rays(places)
    distance, face = person.distances(camera.origin, rays)
    hit = np.flatnonzero(distance >= 0)
    return Silhouette(rays[hit], distance[hit], person.mesh.region[face[hit]], box.contains(places[hit]))


def seen_keypoints(scene: Scene, camera: Camera, keypoints: Floats, box: Box, image_size: tuple[int, int]) -> Vector:
    """Keypoints as a detector could see them.

    A joint lies inside the body, so the rays around it decide. It is hidden if others cover most of these rays, or if
    it is outside the box. If only the person's own body is in front, the confidence is a little lower, because
    detectors infer such joints well.

    ``keypoints``: [17, 3] metres in the world. Returns [17, 3]: x, y in pixels of the crop, confidence in [0, 1].
    """
    offsets = np.array([[0, 0, 0], [0.045, 0, 0], [-0.045, 0, 0], [0, 0, 0.045], [0, 0, -0.045]])
    around = (keypoints[:, None] + offsets).reshape(-1, 3)
    reach = np.linalg.norm(around - camera.origin, axis=1)
    own, other = scene.distances(camera.origin, camera.rays(camera.project(around)))
    covered = ((other >= 0) & (other < reach)).reshape(-1, len(offsets)).mean(axis=1)
    depth = np.where(own >= 0, reach - own, 0).reshape(-1, len(offsets))[:, 0]
    confidence = 0.95 - 0.22 * np.clip((depth - 0.10) / 0.10, 0, 1)
    confidence *= 1 - 0.4 * covered
    places = camera.project(keypoints)
    confidence[(covered > 0.5) | ~box.contains(places)] = 0
    return np.column_stack([box.to_pixels(places, image_size), confidence])


def spoil_keypoints(rng: np.random.Generator, keypoints: Vector, strength: float, stature: float) -> Vector:
    """A detector's errors in keypoints [17, 3]: joints jump, weaken, vanish, and appear where nothing is.

    ``strength``: 0 = none, 1 = strong. ``stature``: pixels.
    """
    out = keypoints.copy()
    count = len(out)
    out[:, :2] += rng.normal(0, 0.025 * strength * stature, (count, 2))
    out[:, 2] *= 1 - strength * 0.4 * rng.random(count)
    out[rng.random(count) < 0.12 * strength, 2] = 0
    ghosts = (out[:, 2] == 0) & (rng.random(count) < 0.10 * strength)
    out[ghosts, 2] = rng.uniform(0.4, 0.8, int(ghosts.sum()))
    return out
