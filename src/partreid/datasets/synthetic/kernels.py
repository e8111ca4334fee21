"""warp kernels of the ray tracer, compiled at their first launch.

warp reads the annotations at run time, so ``from __future__ import annotations`` must not be used here.
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
    out: wp.array(dtype=float),
    face: wp.array(dtype=wp.int32),
):
    """Distance of the mesh along each ray, -1 if the ray misses it, and the face hit."""
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origin, rays[i], _FAR)
    out[i] = -1.0
    if hit.result:
        out[i] = hit.t
        face[i] = hit.face


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
    meshes: wp.array(dtype=wp.uint64),
    count: int,
    origin: wp.vec3,
    rays: wp.array(dtype=wp.vec3),
    mesh: wp.array(dtype=wp.int32),
    face: wp.array(dtype=wp.int32),
    place: wp.array(dtype=wp.vec3),
):
    """First hit of one ray: the mesh's number and face, -1 for none, and u, v on the face and the distance."""
    i = wp.tid()
    ray = rays[i]
    mesh[i] = -1
    face[i] = -1
    nearest = wp.float32(_FAR)
    u = wp.float32(0.0)
    v = wp.float32(0.0)
    for m in range(count):
        hit = wp.mesh_query_ray(meshes[m], origin, ray, nearest)
        if hit.result:
            nearest = hit.t
            u = hit.u
            v = hit.v
            mesh[i] = m
            face[i] = hit.face
    place[i] = wp.vec3(u, v, nearest)


@wp.kernel
def reaches(
    meshes: wp.array(dtype=wp.uint64),
    count: int,
    starts: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    far: float,
    free: wp.array(dtype=float),
):
    """1 if nothing lies within ``far`` metres of a place in its direction, else 0."""
    i = wp.tid()
    blocked = wp.bool(False)
    for m in range(count):
        if not blocked:
            blocked = wp.mesh_query_ray_anyhit(meshes[m], starts[i], directions[i], far)
    free[i] = 1.0
    if blocked:
        free[i] = 0.0


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


@wp.kernel
def nearest(
    mesh: wp.uint64,
    places: wp.array(dtype=wp.vec3),
    reach: float,
    face: wp.array(dtype=wp.int32),
    shares: wp.array(dtype=wp.vec3),
):
    """The face within reach nearest to each place, -1 for none, and the nearest point as weights of its corners."""
    i = wp.tid()
    found = wp.mesh_query_point_no_sign(mesh, places[i], reach)
    face[i] = -1
    if found.result:
        face[i] = found.face
        shares[i] = wp.vec3(found.u, found.v, 1.0 - found.u - found.v)
