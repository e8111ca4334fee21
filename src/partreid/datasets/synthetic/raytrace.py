"""Ray tracing and skinning on the CPU with warp. Importing this module needs warp."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from partreid.datasets.synthetic import kernels
from partreid.datasets.synthetic.body import Floats, Ints
from partreid.datasets.synthetic.meshes import Mesh

NOTHING = -1
"""Mesh number of a ray that hits nothing."""

_LEAF = 4
"""Triangles in a leaf of the tree: the quickest for so few rays, building and queries together."""


def start_warp() -> None:
    """Set warp up without any output; safe to call often."""
    wp.config.log_level = wp.LOG_ERROR
    # warp's native part reports a missing GPU directly on the error stream, and no setting turns that off.
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path
            os.dup2(nowhere.fileno(), 2)
            wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class TracedMesh:
    """A mesh ready to be hit by rays."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        points = wp.array(mesh.vertices, dtype=wp.vec3, device="cpu")
        indices = wp.array(mesh.faces.ravel(), dtype=wp.int32, device="cpu")
        self.handle: Any = wp.Mesh(points=points, indices=indices, bvh_constructor="cubql", bvh_leaf_size=_LEAF)

    def distances(self, origin: NDArray[np.floating], directions: Floats) -> tuple[Floats, Ints]:
        """Metres [N] to the mesh along unit vectors [N, 3], -1 where the ray misses it, and the face hit [N]."""
        out = wp.zeros(len(directions), dtype=float, device="cpu")
        face = wp.zeros(len(directions), dtype=wp.int32, device="cpu")
        inputs = [self.handle.id, wp.vec3(*origin), _vectors(directions)]
        wp.launch(kernels.distance, len(directions), inputs=inputs, outputs=[out, face], device="cpu")
        return np.array(out.numpy()), np.array(face.numpy())


@dataclass(frozen=True)
class Hits:
    """First hit of each of N rays.

    Attributes:
        mesh: [N] number in :attr:`Scene.meshes`, or NOTHING. face: [N] of that mesh.
        uv: [N, 2] weights of the face's first two corners. distance: [N] metres.
    """

    mesh: Ints
    face: Ints
    uv: Floats
    distance: Floats


class Scene:
    """The target, the other things of one image and the camera's surroundings (None: none), ready for rays."""

    def __init__(self, target: TracedMesh, others: Sequence[TracedMesh], surroundings: TracedMesh | None) -> None:
        self.target, self.others = target, tuple(others)
        self._casting = (target, *self.others)
        self._traced = (*self._casting, *((surroundings,) if surroundings is not None else ()))

    @property
    def meshes(self) -> list[Mesh]:
        """The target, the others in their order, the surroundings."""
        return [t.mesh for t in self._traced]

    def distances(self, origin: NDArray[np.floating], directions: Floats) -> Floats:
        """Metres [2, N] to the target and to the nearest other along unit vectors [N, 3], each alone; -1: none."""
        own, _ = self.target.distances(origin, directions)
        nearest = np.full(len(directions), np.inf, np.float32)
        for other in self.others:
            distance, _ = other.distances(origin, directions)
            nearest = np.where(distance >= 0, np.minimum(nearest, distance), nearest)
        return np.stack([own, np.where(np.isfinite(nearest), nearest, -1)]).astype(np.float32)

    def trace(self, origin: NDArray[np.floating], directions: Floats, *, surroundings: bool = True) -> Hits:
        """First hits of rays [N, 3] from ``origin``."""
        count = len(directions)
        meshes = self._traced if surroundings else self._casting
        mesh, face = (wp.zeros(count, dtype=wp.int32, device="cpu") for _ in range(2))
        place = wp.zeros(count, dtype=wp.vec3, device="cpu")
        inputs = [_handles(meshes), len(meshes), wp.vec3(*origin), _vectors(directions)]
        wp.launch(kernels.trace, count, inputs=inputs, outputs=[mesh, face, place], device="cpu")
        where = np.array(place.numpy())
        return Hits(np.array(mesh.numpy()), np.array(face.numpy()), where[:, :2], where[:, 2])

    def free(self, starts: Floats, directions: Floats, far: float) -> Floats:
        """For each place [N, 3] 1 if nothing lies within ``far`` metres in its direction, else 0.

        The surroundings do not count.
        """
        out = wp.zeros(len(starts), dtype=float, device="cpu")
        inputs = [_handles(self._casting), len(self._casting), _vectors(starts), _vectors(directions), far]
        wp.launch(kernels.reaches, len(starts), inputs=inputs, outputs=[out], device="cpu")
        return np.array(out.numpy())


def _handles(meshes: Sequence[TracedMesh]) -> Any:
    return wp.array([t.handle.id for t in meshes], dtype=wp.uint64, device="cpu")


def _vectors(values: Floats) -> Any:
    return wp.array(values, dtype=wp.vec3, device="cpu")


def skin(
    vertices: Floats, normals: Floats, weights: Floats, bone_ids: Ints, rotation: Floats, shift: Floats
) -> tuple[Floats, Floats]:
    """Linear blend skinning: posed vertices and normals [V, 3]; the normals are not of unit length.

    ``weights``, ``bone_ids``: [V, n]. ``rotation``, ``shift``: of J bones, as :func:`pose_skeleton` gives them.
    """
    posed = wp.zeros(len(vertices), dtype=wp.vec3, device="cpu")
    turned = wp.zeros(len(vertices), dtype=wp.vec3, device="cpu")
    wp.launch(
        kernels.skin,
        len(vertices),
        inputs=[
            wp.array(vertices, dtype=wp.vec3, device="cpu"),
            wp.array(normals, dtype=wp.vec3, device="cpu"),
            wp.array(weights, dtype=float, ndim=2, device="cpu"),
            wp.array(bone_ids, dtype=wp.int32, ndim=2, device="cpu"),
            wp.array(rotation, dtype=wp.mat33, device="cpu"),
            wp.array(shift, dtype=wp.vec3, device="cpu"),
        ],
        outputs=[posed, turned],
        device="cpu",
    )
    return np.array(posed.numpy()), np.array(turned.numpy())
