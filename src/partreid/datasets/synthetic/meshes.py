"""Triangle meshes with the data that colouring needs, and the simple solids of obstacles, bags and hair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partreid.datasets.synthetic.body import Floats, Ints

Surface = Callable[[Floats], Floats]
"""Colour of places: coordinates [N, 4] -> sRGB [N, 3] in [0, 1]."""


@dataclass(frozen=True)
class Mesh:
    """Triangles.

    Attributes:
        vertices: [V, 3] metres. normals: [V, 3]. coords: [V, 4] from which the surface computes its colour.
        faces: [F, 3]. surface: [F] index into ``surfaces``. region: [F] value in a part map, 0 = none.
    """

    vertices: Floats
    normals: Floats
    coords: Floats
    faces: Ints
    surface: Ints
    region: Ints
    surfaces: tuple[Surface, ...]

    def moved(self, shift: NDArray[np.floating], rotation: NDArray[np.floating] | None = None) -> Mesh:
        """Turned about the origin, then shifted."""
        if rotation is None:
            return replace(self, vertices=(self.vertices + shift).astype(np.float32))
        return replace(
            self,
            vertices=(_turned(self.vertices, rotation) + shift).astype(np.float32),
            normals=_turned(self.normals, rotation),
        )


def _turned(vectors: Floats, rotation: NDArray[np.floating]) -> Floats:
    """``rotation @ v`` of each; elementwise, because the rounding of a BLAS depends on its number of threads."""
    turn = rotation.astype(np.float32)
    return np.asarray(vectors[:, :1] * turn[:, 0] + vectors[:, 1:2] * turn[:, 1] + vectors[:, 2:] * turn[:, 2])


def join(meshes: Sequence[Mesh]) -> Mesh:
    """All triangles in one mesh."""
    vertex_start = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    surface_start = np.cumsum([0] + [len(m.surfaces) for m in meshes[:-1]])
    return Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]),
        normals=np.concatenate([m.normals for m in meshes]),
        coords=np.concatenate([m.coords for m in meshes]),
        faces=np.concatenate([m.faces + s for m, s in zip(meshes, vertex_start, strict=True)]).astype(np.int32),
        surface=np.concatenate([m.surface + s for m, s in zip(meshes, surface_start, strict=True)]).astype(np.int32),
        region=np.concatenate([m.region for m in meshes]).astype(np.int32),
        surfaces=tuple(s for m in meshes for s in m.surfaces),
    )


def solid(
    vertices: NDArray[np.floating],
    normals: NDArray[np.floating],
    faces: NDArray[np.integer],
    surface: Surface,
    *,
    coords: NDArray[np.floating] | None = None,
    region: int | NDArray[np.integer] = 0,
) -> Mesh:
    """A mesh of one surface. ``coords``: the vertices themselves unless given. ``region``: of all faces, or [F]."""
    where = np.asarray(vertices if coords is None else coords, np.float32)
    if where.shape[1] == 3:
        where = np.concatenate([where, np.zeros((len(where), 1), np.float32)], axis=1)
    return Mesh(
        np.asarray(vertices, np.float32),
        np.asarray(normals, np.float32),
        where,
        np.asarray(faces, np.int32),
        np.zeros(len(faces), np.int32),
        np.broadcast_to(np.int32(region), len(faces)),
        (surface,),
    )


def quad(corner: Sequence[float], along: Sequence[float], up: Sequence[float], surface: Surface) -> Mesh:
    """A rectangle; ``coords`` are metres along both sides from ``corner``."""
    c, a, b = (np.asarray(x, float) for x in (corner, along, up))
    vertices = np.stack([c, c + a, c + a + b, c + b])
    normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    coords = np.array([[0, 0, 0], [lengths[0], 0, 0], [lengths[0], lengths[1], 0], [0, lengths[1], 0]])
    return solid(vertices, np.tile(normal, (4, 1)), np.array([[0, 1, 2], [0, 2, 3]]), surface, coords=coords)


def box(centre: Sequence[float], size: Sequence[float], surface: Surface) -> Mesh:
    """An axis-aligned box with flat faces."""
    corners, normals, faces = _cube()
    local = corners * (np.asarray(size, float) / 2)
    return solid(local + np.asarray(centre), normals, faces, surface, coords=local)


@lru_cache(maxsize=1)
def _cube() -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """Corners [24, 3] at -1 and 1, four for each side, their normals [24, 3], and faces [12, 3]."""
    vertices, normals, faces = [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = np.zeros(3)
                corner[axis], corner[first], corner[second] = sign, s, t
                vertices.append(corner)
                normals.append(np.eye(3)[axis] * sign)
            n = len(vertices) - 4
            faces += [[n, n + 1, n + 2], [n, n + 2, n + 3]]
    return np.array(vertices), np.array(normals), np.array(faces, np.int32)


def superellipsoid(
    centre: ArrayLike,
    radii: ArrayLike,
    surface: Surface,
    *,
    squareness: float = 1.0,
    segments: int = 14,
    region: int = 0,
) -> Mesh:
    """An ellipsoid (squareness 1), or a box with rounded edges (squareness near 0)."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)[:, None]
    phi = np.linspace(-np.pi, np.pi, segments + 1)[None]
    unit = np.stack(np.broadcast_arrays(np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)), -1)
    shaped = np.sign(unit) * np.abs(unit) ** squareness
    local = shaped.reshape(-1, 3) * np.asarray(radii)
    normals = (np.sign(unit) * np.abs(unit) ** (2 - squareness)).reshape(-1, 3) / np.asarray(radii)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    faces = grid_faces(segments // 2 + 1, segments + 1)
    return solid(local + np.asarray(centre), normals, faces, surface, coords=local, region=region)


def cylinder(
    foot: Sequence[float], height: float, radius: float, surface: Surface, *, top: float | None = None
) -> Mesh:
    """An upright cylinder or cone (``top`` = radius there), closed above."""
    phi = np.linspace(0, 2 * np.pi, 17)
    top = radius if top is None else top
    rings = [(0.0, radius), (height, top), (height, 0.0)]
    vertices = np.array([[r * np.cos(p), r * np.sin(p), z] for z, r in rings for p in phi])
    normals = np.array([[np.cos(p), np.sin(p), 0.1] for _ in rings for p in phi])
    faces = grid_faces(3, len(phi))
    coords = np.array([[p * radius, z, 0.0] for z, _ in rings for p in phi])
    return solid(vertices + np.asarray(foot), normals, faces, surface, coords=coords)


def grid_faces(rows: int, columns: int) -> Ints:
    """Triangles [F, 3] between neighbouring vertices of a rows×columns grid."""
    at = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel(), at[1:, :-1].ravel()
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)


def plain(colour: Sequence[float]) -> Surface:
    """One colour everywhere."""
    value = np.asarray(colour, np.float32)
    return lambda coords: np.broadcast_to(value, (len(coords), 3))
