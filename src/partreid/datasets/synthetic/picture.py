"""One picture from end to end: a person, a camera, perhaps something in front; picture, labels, occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import BodyModel, Floats
from partreid.datasets.synthetic.cameras import Camera
from partreid.datasets.synthetic.framing import (
    Box,
    Occlusion,
    bounds,
    detect,
    measure_occlusion,
    seen_keypoints,
    spoil_keypoints,
)
from partreid.datasets.synthetic.garments import DressedBody
from partreid.datasets.synthetic.meshes import Mesh, join
from partreid.datasets.synthetic.obstacles import make_obstacle
from partreid.datasets.synthetic.people import PosedPerson, pose_person
from partreid.datasets.synthetic.photo import develop, encode_jpeg, shade
from partreid.datasets.synthetic.raytrace import TARGET, Scene
from partreid.labels.draw import draw_pose_fields
from partreid.labels.fields import published_size

_FAULTY_BOXES = 0.1
_TRIES = 6
_PLACES = 9
_WHOLE = 0.12
"""A picture may be called whole with at most this share hidden, the box's errors included."""


@dataclass(frozen=True)
class Order:
    """What the picture is to be. ``occlusion``: least and greatest hidden share, None for a whole person."""

    occlusion: tuple[float, float] | None
    people_in_front: float
    detector_noise: float
    image_size: tuple[int, int]
    samples: int


@dataclass(frozen=True)
class Picture:
    """A rendered picture.

    Attributes:
        jpeg: the file's bytes. fields: uint8 [36, h, w], value/255. parts: uint8 [H, W], 0 = not the target.
    """

    jpeg: bytes
    fields: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    occlusion: Occlusion


def render_picture(
    model: BodyModel,
    target: DressedBody,
    camera: Camera,
    order: Order,
    passers_by: tuple[DressedBody, ...],
    rng: np.random.Generator,
) -> Picture:
    """Render one picture.

    Args:
        passers_by: who else may walk there. rng: everything random comes from it.
    """
    y = rng.uniform(camera.near, camera.far)
    x = rng.uniform(-0.24, 0.24) * y
    person = pose_person(model, target, rng, yaw=rng.uniform(0, 2 * np.pi)).at(x, y)
    body = bounds(camera.project(person.mesh.vertices))
    box = detect(rng, body, faulty=_FAULTY_BOXES if order.occlusion is None else 0.5 * _FAULTY_BOXES)
    bystander = _bystander(model, camera, passers_by, rng, x, y)
    scene, occlusion = _arrange(model, camera, order, passers_by, rng, person, body, box, bystander)
    if order.occlusion is None and occlusion.degree > _WHOLE:
        box = detect(rng, body, faulty=0.0)
        scene = Scene(person.mesh, None, camera.surroundings)
        occlusion = measure_occlusion(scene, camera, body, box)
    height, width = order.image_size
    directions = camera.rays(box.grid(height * order.samples, width * order.samples))
    hits = scene.trace(camera.origin, directions, camera.sun, camera.softness)
    light = shade(scene, hits, camera, directions, person.keypoints[15:17, :2])
    jpeg = encode_jpeg(develop(light, camera, rng, order.image_size, order.samples), camera.quality)
    region = np.where(hits.kind == TARGET, hits.region, 0).reshape(height * order.samples, width * order.samples)
    middle = order.samples // 2
    parts = region[middle :: order.samples, middle :: order.samples].astype(np.uint8)
    return Picture(jpeg, _fields(scene, camera, order, person, box, rng), parts, occlusion)


def _fields(
    scene: Scene, camera: Camera, order: Order, person: PosedPerson, box: Box, rng: np.random.Generator
) -> NDArray[np.uint8]:
    keypoints = seen_keypoints(scene, camera, person.keypoints, box, order.image_size)
    x, y = person.keypoints[:, :2].mean(axis=0)
    tall = float(person.mesh.vertices[:, 2].max())
    ends = box.to_pixels(camera.project(np.array([[x, y, 0.0], [x, y, tall]])), order.image_size)
    stature = float(abs(ends[1, 1] - ends[0, 1]))
    if order.detector_noise:
        keypoints = spoil_keypoints(rng, keypoints, order.detector_noise, stature)
    size = published_size(*order.image_size)
    fields = draw_pose_fields(keypoints, image_size=order.image_size, field_size=size, scale=stature)
    return np.asarray(np.round(fields * 255), np.uint8)


def _bystander(
    model: BodyModel,
    camera: Camera,
    passers_by: tuple[DressedBody, ...],
    rng: np.random.Generator,
    x: float,
    y: float,
) -> Mesh | None:
    """Now and then someone behind or beside the target."""
    if not passers_by or rng.random() > 0.2:
        return None
    who = passers_by[int(rng.integers(len(passers_by)))]
    someone = pose_person(model, who, rng, yaw=rng.uniform(0, 2 * np.pi))
    back = rng.uniform(0.6, 3.5)
    side = rng.choice([-1, 1]) * rng.uniform(0.25, 0.9)
    return someone.at(x * (y + back) / y + side, y + back).mesh


def _arrange(
    model: BodyModel,
    camera: Camera,
    order: Order,
    passers_by: tuple[DressedBody, ...],
    rng: np.random.Generator,
    person: PosedPerson,
    body: Box,
    box: Box,
    bystander: Mesh | None,
) -> tuple[Scene, Occlusion]:
    """Put something in front so that the hidden share falls into the wanted range; the nearest try counts else."""
    if order.occlusion is None:
        scene = Scene(person.mesh, bystander, camera.surroundings)
        return scene, measure_occlusion(scene, camera, body, box)
    low, high = order.occlusion
    wanted = rng.uniform(low, high)
    best: tuple[float, Mesh, Floats] | None = None
    for _ in range(_TRIES):
        front = _front(model, camera, order, passers_by, rng, person)
        others = front if bystander is None else join([front, bystander])
        scene = Scene(person.mesh, others, camera.surroundings)
        moving = (np.arange(len(others.vertices)) < len(front.vertices))[:, None]
        for side in rng.permutation(np.linspace(-0.7, 0.7, _PLACES)):
            vertices = (others.vertices + moving * np.array([side, 0, 0])).astype(np.float32)
            scene.move_others(vertices)
            degree = measure_occlusion(scene, camera, body, box).degree
            miss = abs(degree - wanted) + (1.0 if not low <= degree <= high else 0.0)
            if best is None or miss < best[0]:
                best = miss, others, vertices
            if miss < 0.08:
                break
        if best is not None and best[0] < 0.16:
            break
    assert best is not None
    _, others, vertices = best
    scene = Scene(person.mesh, _with_vertices(others, vertices), camera.surroundings)
    return scene, measure_occlusion(scene, camera, body, box)


def _front(
    model: BodyModel,
    camera: Camera,
    order: Order,
    passers_by: tuple[DressedBody, ...],
    rng: np.random.Generator,
    person: PosedPerson,
) -> Mesh:
    """Something on the line from the target to the camera."""
    x, y = (float(v) for v in person.keypoints[:, :2].mean(axis=0))
    is_person = bool(passers_by) and rng.random() < order.people_in_front
    gap = rng.uniform(0.35, 1.3) if is_person else rng.uniform(0.4, 1.8)
    distance = y - min(gap, 0.4 * y)
    place = np.array([x * distance / y, distance, 0.0], np.float32)
    if is_person:
        who = passers_by[int(rng.integers(len(passers_by)))]
        return pose_person(model, who, rng, yaw=rng.uniform(0, 2 * np.pi)).mesh.moved(place)
    thing = make_obstacle(rng)
    # A long thing such as a car stands closer to the camera, clear of the person.
    place[1] -= max(0.0, float(thing.vertices[:, 1].max()) - 0.3)
    place[0] = x * place[1] / y
    return thing.moved(place)


def _with_vertices(mesh: Mesh, vertices: Floats) -> Mesh:
    return Mesh(vertices, mesh.normals, mesh.coords, mesh.faces, mesh.surface, mesh.region, mesh.surfaces)
