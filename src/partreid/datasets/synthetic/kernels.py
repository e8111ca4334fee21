"""warp kernels of the ray tracer, compiled at their first launch.

warp reads the annotations as they are: no ``from __future__ import annotations`` here.
"""
# mypy: ignore-errors

import warp as wp

_FAR = 1.0e6

wp.set_module_options({"enable_backward": False})  # of this module only: no gradients, half the compile time


@wp.kernel
def distance(
    mesh: wp.uint64,
    origin: wp.vec3,
    rays: wp.array(dtype=wp.vec3),
    row: int,
    out: wp.array2d(dtype=float),
    face: wp.array2d(dtype=wp.int32),
):
    """How far the mesh is along each ray, -1 where it is missed, and the face hit."""
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origin, rays[i], _FAR)
    out[row, i] = -1.0
    if hit.result:
        out[row, i] = hit.t
        face[row, i] = hit.face


@wp.kernel
def skin(
    vertices: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    weights: wp.array2d(dtype=float),
    bone_ids: wp.array2d(dtype=wp.int32),
    rotation: wp.array(dtype=wp.mat33),
    shift: wp.array(dtype=wp.vec3),
    posed: wp.array(dtype=wp.vec3),
    turned: wp.array(dtype=wp.vec3),
):
    """Linear blend skinning of one vertex and its normal."""
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
def trace(
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
    distance: wp.array(dtype=float),
    lit: wp.array(dtype=float),
    hit_coords: wp.array(dtype=wp.vec4),
    hit_normal: wp.array(dtype=wp.vec3),
):
    """First hit of one ray, its attributes there, and whether the sun reaches it."""
    i = wp.tid()
    ray = rays[i]
    kind[i] = -1
    face[i] = -1
    nearest = wp.float32(_FAR)
    u = wp.float32(0.0)
    v = wp.float32(0.0)
    a = wp.mesh_query_ray(target, origin, ray, nearest)
    if a.result:
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
                lit[i] = 1.0


@wp.kernel
def meets(
    mesh: wp.uint64,
    starts: wp.array(dtype=wp.vec3),
    rays: wp.array(dtype=wp.vec3),
    reach: float,
    hit: wp.array(dtype=wp.int32),
):
    """Whether the mesh lies within reach along each ray."""
    i = wp.tid()
    if wp.mesh_query_ray_anyhit(mesh, starts[i], rays[i], reach):
        hit[i] = 1
