"""Ray tracing and skinning on the CPU with warp. Importing this module needs warp; nothing else here does."""
# warp reads the kernels' annotations as they are, so they must not be turned into text.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import Floats, Ints
from partreid.datasets.synthetic.meshes import Mesh, plain, solid

NOTHING, TARGET, OTHERS, SCENE = -1, 0, 1, 2
"""What a ray hits first."""

_FAR = 1.0e6


def start_warp() -> None:
    """Set warp up without its banner; safe to call often."""
    wp.config.quiet = True
    wp.config.log_level = getattr(wp, "LOG_ERROR", 40)
    wp.init()


@dataclass(frozen=True)
class Hits:
    """First hit of each of N rays.

    Attributes:
        kind: [N] NOTHING, TARGET, OTHERS or SCENE. target_distance: [N] metres to the target as if alone, or -1.
        distance: [N] metres. surface, region: [N] of the face hit, -1 and 0 where nothing is.
        coords: [N, 4]. normal: [N, 3], towards the camera. lit: [N] 1 where the sun reaches, else 0.
    """

    kind: Ints
    target_distance: Floats
    distance: Floats
    surface: Ints
    region: Ints
    coords: Floats
    normal: Floats
    lit: Floats


class Scene:
    """The target, the other things of one picture and the camera's surroundings, ready for rays.

    Args:
        target, others, surroundings: None stands for nothing there.
    """

    def __init__(self, target: Mesh | None, others: Mesh | None, surroundings: Mesh | None) -> None:
        self.meshes = [m if m is not None else _nowhere() for m in (target, others, surroundings)]
        self._handles: list[Any] = [_handle(m) for m in self.meshes]
        self._arrays: tuple[Any, ...] | None = None

    def move_others(self, vertices: Floats) -> None:
        """Give the other things new vertices [V, 3] without building anything anew."""
        handle = self._handles[OTHERS]
        handle.points.assign(wp.array(vertices, dtype=wp.vec3, device="cpu"))
        handle.refit()

    def distances(self, origin: NDArray[np.floating], directions: Floats) -> tuple[Floats, Ints]:
        """How far each thing is along rays, each as if alone.

        Args:
            origin: [3]. directions: [N, 3] unit vectors.

        Returns:
            Distances [2, N] in metres to the target and to the others, -1 = none; and the target's region there [N].
        """
        out = wp.zeros((2, len(directions)), dtype=float, device="cpu")
        face = wp.zeros((2, len(directions)), dtype=wp.int32, device="cpu")
        rays = wp.array(directions, dtype=wp.vec3, device="cpu")
        for row, handle in enumerate(self._handles[:2]):
            wp.launch(
                _distance,
                len(directions),
                inputs=[handle.id, wp.vec3(*origin), rays, row],
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
        faces, normals, coords, surface, region, starts = self._attributes()
        kind, face = (wp.zeros(count, dtype=wp.int32, device="cpu") for _ in range(2))
        own, distance, lit = (wp.zeros(count, dtype=float, device="cpu") for _ in range(3))
        hit_coords = wp.zeros(count, dtype=wp.vec4, device="cpu")
        hit_normal = wp.zeros(count, dtype=wp.vec3, device="cpu")
        wp.launch(
            _trace,
            count,
            inputs=[
                *(h.id for h in self._handles), *starts, wp.vec3(*origin),
                wp.array(directions, dtype=wp.vec3, device="cpu"), wp.vec3(*sun), softness, faces, normals, coords,
            ],
            outputs=[kind, face, own, distance, lit, hit_coords, hit_normal],
            device="cpu",
        )  # fmt: skip
        index = np.array(face.numpy())
        hit = index >= 0
        return Hits(
            kind=np.array(kind.numpy()),
            target_distance=np.array(own.numpy()),
            distance=np.array(distance.numpy()),
            surface=np.where(hit, surface[index], -1).astype(np.int32),
            region=np.where(hit, region[index], 0).astype(np.int32),
            coords=np.array(hit_coords.numpy()),
            normal=np.array(hit_normal.numpy()),
            lit=np.array(lit.numpy()),
        )

    def _attributes(self) -> tuple[Any, ...]:
        """Vertex and face attributes of the three meshes one after another, and where each mesh's faces start."""
        if self._arrays is None:
            vertex_start = np.cumsum([0] + [len(m.vertices) for m in self.meshes[:-1]])
            surface_start = np.cumsum([0] + [len(m.surfaces) for m in self.meshes[:-1]])
            faces = np.concatenate([m.faces + s for m, s in zip(self.meshes, vertex_start, strict=True)])
            self._arrays = (
                wp.array(faces.astype(np.int32), dtype=wp.int32, ndim=2, device="cpu"),
                wp.array(np.concatenate([m.normals for m in self.meshes]), dtype=wp.vec3, device="cpu"),
                wp.array(np.concatenate([m.coords for m in self.meshes]), dtype=wp.vec4, device="cpu"),
                np.concatenate([m.surface + s for m, s in zip(self.meshes, surface_start, strict=True)]),
                np.concatenate([m.region for m in self.meshes]),
                [int(x) for x in np.cumsum([0] + [len(m.faces) for m in self.meshes[:-1]])],
            )
        return self._arrays

    @property
    def surfaces(self) -> Sequence[Any]:
        """All surfaces, in the order of :attr:`Hits.surface`."""
        return [s for m in self.meshes for s in m.surfaces]


def skin(
    vertices: Floats, normals: Floats, weights: Floats, bone_ids: Ints, rotation: Floats, shift: Floats
) -> tuple[Floats, Floats]:
    """Linear blend skinning.

    Args:
        vertices, normals: [V, 3] at rest. weights, bone_ids: [V, n]. rotation: [J, 3, 3]. shift: [J, 3].

    Returns:
        Posed vertices and normals [V, 3] (normals not of unit length).
    """
    posed = wp.zeros(len(vertices), dtype=wp.vec3, device="cpu")
    turned = wp.zeros(len(vertices), dtype=wp.vec3, device="cpu")
    wp.launch(
        _skin,
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


def _nowhere() -> Mesh:
    """A speck no ray meets: warp has no empty mesh."""
    corner = np.array([[0, 0, -9e3], [1e-3, 0, -9e3], [0, 1e-3, -9e3]])
    return solid(corner, np.tile([0.0, 0, 1], (3, 1)), np.array([[0, 1, 2]]), plain((0, 0, 0)))


def _handle(mesh: Mesh) -> Any:
    points = wp.array(mesh.vertices, dtype=wp.vec3, device="cpu")
    indices = wp.array(mesh.faces.ravel(), dtype=wp.int32, device="cpu")
    return wp.Mesh(points=points, indices=indices)


@wp.kernel
def _distance(
    mesh: wp.uint64,
    origin: wp.vec3,
    rays: wp.array(dtype=wp.vec3),
    row: int,
    out: wp.array2d(dtype=float),
    face: wp.array2d(dtype=wp.int32),
):  # type: ignore[no-untyped-def]
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origin, rays[i], _FAR)
    out[row, i] = -1.0
    if hit.result:
        out[row, i] = hit.t
        face[row, i] = hit.face


@wp.kernel
def _skin(
    vertices: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    weights: wp.array2d(dtype=float),
    bone_ids: wp.array2d(dtype=wp.int32),
    rotation: wp.array(dtype=wp.mat33),
    shift: wp.array(dtype=wp.vec3),
    posed: wp.array(dtype=wp.vec3),
    turned: wp.array(dtype=wp.vec3),
):  # type: ignore[no-untyped-def]
    i = wp.tid()
    place = wp.vec3(0.0, 0.0, 0.0)
    normal = wp.vec3(0.0, 0.0, 0.0)
    for k in range(weights.shape[1]):
        w = weights[i, k]
        if w > 0.0:
            bone = bone_ids[i, k]
            place += w * (rotation[bone] * vertices[i] + shift[bone])
            normal += w * (rotation[bone] * normals[i])
    posed[i] = place
    turned[i] = normal


@wp.kernel
def _trace(
    target: wp.uint64,
    others: wp.uint64,
    surroundings: wp.uint64,
    target_start: int,
    others_start: int,
    surroundings_start: int,
    origin: wp.vec3,
    rays: wp.array(dtype=wp.vec3),
    sun: wp.vec3,
    softness: float,
    faces: wp.array2d(dtype=wp.int32),
    normals: wp.array(dtype=wp.vec3),
    coords: wp.array(dtype=wp.vec4),
    kind: wp.array(dtype=wp.int32),
    face: wp.array(dtype=wp.int32),
    own: wp.array(dtype=float),
    distance: wp.array(dtype=float),
    lit: wp.array(dtype=float),
    hit_coords: wp.array(dtype=wp.vec4),
    hit_normal: wp.array(dtype=wp.vec3),
):  # type: ignore[no-untyped-def]
    i = wp.tid()
    ray = rays[i]
    kind[i] = -1
    face[i] = -1
    own[i] = -1.0
    nearest = float(_FAR)
    u = float(0.0)
    v = float(0.0)
    a = wp.mesh_query_ray(target, origin, ray, nearest)
    if a.result:
        own[i] = a.t
        nearest = a.t
        u = a.u
        v = a.v
        face[i] = a.face + target_start
        kind[i] = 0
    b = wp.mesh_query_ray(others, origin, ray, nearest)
    if b.result:
        nearest = b.t
        u = b.u
        v = b.v
        face[i] = b.face + others_start
        kind[i] = 1
    c = wp.mesh_query_ray(surroundings, origin, ray, nearest)
    if c.result:
        nearest = c.t
        u = c.u
        v = c.v
        face[i] = c.face + surroundings_start
        kind[i] = 2
    distance[i] = nearest
    if kind[i] >= 0:
        p = faces[face[i], 0]
        q = faces[face[i], 1]
        r = faces[face[i], 2]
        w = 1.0 - u - v
        normal = wp.normalize(u * normals[p] + v * normals[q] + w * normals[r])
        if wp.dot(normal, ray) > 0.0:
            normal = -normal
        hit_normal[i] = normal
        hit_coords[i] = u * coords[p] + v * coords[q] + w * coords[r]
        state = wp.rand_init(17, i)
        jitter = wp.vec3(wp.randf(state) - 0.5, wp.randf(state) - 0.5, wp.randf(state) - 0.5)
        light = wp.normalize(sun + 2.0 * softness * jitter)
        start = origin + nearest * ray + 0.015 * normal
        lit[i] = 0.0
        if wp.dot(normal, light) > 0.0:
            blocked = wp.mesh_query_ray_anyhit(target, start, light, 60.0)
            if not blocked:
                blocked = wp.mesh_query_ray_anyhit(others, start, light, 60.0)
            if not blocked:
                blocked = wp.mesh_query_ray_anyhit(surroundings, start, light, 60.0)
            if not blocked:
                lit[i] = 1.0
