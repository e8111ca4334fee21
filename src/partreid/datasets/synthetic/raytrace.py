"""Ray tracing and skinning on the CPU with warp. Importing this module needs warp."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from partreid.datasets.synthetic import kernels
from partreid.datasets.synthetic.body import Floats, Ints
from partreid.datasets.synthetic.meshes import Mesh, join, plain, solid

NOTHING, TARGET, OTHERS, SCENE = -1, 0, 1, 2
"""What a ray hits first."""


def start_warp() -> None:
    """Set warp up without a word; safe to call often."""
    wp.config.log_level = wp.LOG_ERROR
    # Its native part complains of a missing GPU straight to the error stream, which no setting turns off.
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
    """A mesh ready to be hit by rays; building it takes milliseconds, so it is kept where it serves again."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        points = wp.array(mesh.vertices, dtype=wp.vec3, device="cpu")
        indices = wp.array(mesh.faces.ravel(), dtype=wp.int32, device="cpu")
        self.handle: Any = wp.Mesh(points=points, indices=indices, bvh_constructor="sah")

    def move(self, vertices: Floats) -> None:
        """Give it new vertices [V, 3] without rebuilding anything."""
        self.mesh = replace(self.mesh, vertices=vertices)
        self.handle.points.assign(wp.array(vertices, dtype=wp.vec3, device="cpu"))
        self.handle.refit()


@dataclass(frozen=True)
class Hits:
    """First hit of each of N rays.

    Attributes:
        kind: [N] NOTHING, TARGET, OTHERS or SCENE. distance: [N] metres.
        surface, region: [N] of the face hit, -1 and 0 where nothing is. coords: [N, 4].
        normal: [N, 3], towards the camera. lit: [N] 1 where the sun reaches, else 0.
    """

    kind: Ints
    distance: Floats
    surface: Ints
    region: Ints
    coords: Floats
    normal: Floats
    lit: Floats


class Scene:
    """The target, the other things of one image and the camera's surroundings, ready for rays; None: nothing there."""

    def __init__(self, target: TracedMesh, others: TracedMesh | None, surroundings: TracedMesh | None) -> None:
        self._traced = [m if m is not None else _nowhere() for m in (target, others, surroundings)]

    @property
    def meshes(self) -> list[Mesh]:
        return [t.mesh for t in self._traced]

    def distances(self, origin: NDArray[np.floating], directions: Floats) -> tuple[Floats, Ints]:
        """Metres [2, N] to the target and to the others along unit vectors [N, 3], each as if alone, -1 = none; and
        the target's region there [N].
        """
        out = wp.zeros((2, len(directions)), dtype=float, device="cpu")
        face = wp.zeros((2, len(directions)), dtype=wp.int32, device="cpu")
        rays = wp.array(directions, dtype=wp.vec3, device="cpu")
        for row, traced in enumerate(self._traced[:2]):
            wp.launch(
                kernels.distance,
                len(directions),
                inputs=[traced.handle.id, wp.vec3(*origin), rays, row],
                outputs=[out, face],
                device="cpu",
            )
        distance = np.array(out.numpy())
        region = np.where(distance[0] >= 0, self.meshes[TARGET].region[face.numpy()[0]], 0)
        return distance, region.astype(np.int32)

    def trace(
        self, origin: NDArray[np.floating], directions: Floats, sun: NDArray[np.floating], softness: float
    ) -> Hits:
        """First hits of rays [N, 3] from ``origin``; ``sun`` points to the light, ``softness`` is its radius in rad."""
        count = len(directions)
        whole = join(self.meshes)  # one after another: where each one's faces start is needed too
        starts = [int(x) for x in np.cumsum([0] + [len(m.faces) for m in self.meshes[:-1]])]
        kind, face = (wp.zeros(count, dtype=wp.int32, device="cpu") for _ in range(2))
        distance, lit = (wp.zeros(count, dtype=float, device="cpu") for _ in range(2))
        hit_coords = wp.zeros(count, dtype=wp.vec4, device="cpu")
        hit_normal = wp.zeros(count, dtype=wp.vec3, device="cpu")
        wp.launch(
            kernels.trace,
            count,
            inputs=[
                *(t.handle.id for t in self._traced), *starts, wp.vec3(*origin),
                wp.array(directions, dtype=wp.vec3, device="cpu"), wp.vec3(*sun), softness,
                wp.array(whole.faces, dtype=wp.int32, ndim=2, device="cpu"),
                wp.array(whole.normals, dtype=wp.vec3, device="cpu"),
                wp.array(whole.coords, dtype=wp.vec4, device="cpu"),
            ],
            outputs=[kind, face, distance, lit, hit_coords, hit_normal],
            device="cpu",
        )  # fmt: skip
        index = np.array(face.numpy())
        hit = index >= 0
        return Hits(
            kind=np.array(kind.numpy()),
            distance=np.array(distance.numpy()),
            surface=np.where(hit, whole.surface[index], -1).astype(np.int32),
            region=np.where(hit, whole.region[index], 0).astype(np.int32),
            coords=np.array(hit_coords.numpy()),
            normal=np.array(hit_normal.numpy()),
            lit=np.array(lit.numpy()),
        )

    @property
    def surfaces(self) -> Sequence[Any]:
        """In the order of :attr:`Hits.surface`."""
        return [s for m in self.meshes for s in m.surfaces]


def skin(
    vertices: Floats, normals: Floats, weights: Floats, bone_ids: Ints, rotation: Floats, shift: Floats
) -> tuple[Floats, Floats]:
    """Linear blend skinning: posed vertices and normals [V, 3], these not of unit length.

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


@lru_cache(maxsize=1)
def _nowhere() -> TracedMesh:
    """A speck no ray meets: warp has no empty mesh."""
    corner = np.array([[0, 0, -9e3], [1e-3, 0, -9e3], [0, 1e-3, -9e3]])
    return TracedMesh(solid(corner, np.tile([0.0, 0, 1], (3, 1)), np.array([[0, 1, 2]]), plain((0, 0, 0))))
