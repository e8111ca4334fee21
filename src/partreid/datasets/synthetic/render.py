"""One image from end to end: a person, a camera, perhaps something in front; image, labels, occlusion.

What the images of a set share, the body model, cameras and people, each process makes for itself, all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic import framing
from partreid.datasets.synthetic.body import BodyModel, Floats, load_body_model
from partreid.datasets.synthetic.cameras import Camera, make_cameras
from partreid.datasets.synthetic.catalogue import load_catalogue
from partreid.datasets.synthetic.garments import DressedBody, dress
from partreid.datasets.synthetic.meshes import Mesh, join
from partreid.datasets.synthetic.obstacles import make_obstacle
from partreid.datasets.synthetic.outfits import make_people, make_wardrobe
from partreid.datasets.synthetic.people import PosedPerson, pose_person
from partreid.datasets.synthetic.photo import develop, encode_jpeg, shade
from partreid.datasets.synthetic.raytrace import TARGET, Scene, TracedMesh, start_warp
from partreid.datasets.synthetic.render_config import PlannedImage, SyntheticConfig
from partreid.datasets.synthetic.wardrobe import Person, Stock
from partreid.labels.draw import draw_pose_fields
from partreid.labels.fields import label_size

_PASSERS_BY = 24
_CAMERA_STREAM, _PEOPLE_STREAM, _PASSER_BY_STREAM = 101, 102, 103
_FAULTY_BOXES = 0.1
_TRIES = 6
_PLACES = 9
_WITHIN_REACH = 0.05
"""The wanted degree keeps this far from the upper limit: a person almost fully hidden can be told by nothing."""
_CLOSE = 0.08
"""So near to the wanted degree of occlusion is near enough."""
_WHOLE = 0.12
"""An image may be called whole with at most this fraction hidden, the box's errors included."""


@dataclass(frozen=True)
class Stage:
    """Where an image is taken: a camera, its surroundings, and who else may walk there."""

    config: SyntheticConfig
    model: BodyModel
    camera: Camera
    surroundings: TracedMesh
    passers_by: tuple[DressedBody, ...]

    @property
    def image_size(self) -> tuple[int, int]:
        return self.config.image_height, self.config.image_width

    def someone(self, rng: np.random.Generator) -> PosedPerson:
        who = self.passers_by[int(rng.integers(len(self.passers_by)))]
        return pose_person(self.model, who, rng, yaw=rng.uniform(0, 2 * np.pi))


@dataclass(frozen=True)
class _Shot:
    """The target in its place: body and box in the image plane."""

    person: PosedPerson
    traced: TracedMesh
    body: framing.Box
    box: framing.Box


@dataclass(frozen=True)
class RenderedImage:
    """A rendered image.

    Attributes:
        jpeg: the file's bytes. fields: uint8 [36, h, w], value/255. parts: uint8 [H, W], 0 = not the target.
    """

    jpeg: bytes
    fields: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    occlusion: framing.Occlusion


def _render_image(
    target: DressedBody, stage: Stage, wanted: tuple[float, float] | None, rng: np.random.Generator
) -> RenderedImage:
    """Render one image of ``target``; everything random comes from ``rng``.

    ``wanted``: least and greatest hidden fraction, None for a whole person.
    """
    camera, size, samples = stage.camera, stage.image_size, stage.config.samples
    y = rng.uniform(camera.near, camera.far)
    x = rng.uniform(-0.24, 0.24) * y
    person = pose_person(stage.model, target, rng, yaw=rng.uniform(0, 2 * np.pi)).at(x, y)
    body = framing.bounds(camera.project(person.mesh.vertices))
    box = framing.detect(rng, body, faulty=_FAULTY_BOXES if wanted is None else 0.5 * _FAULTY_BOXES)
    shot = _Shot(person, TracedMesh(person.mesh), body, box)
    bystander = _bystander(stage, rng, x, y)
    if wanted is not None:
        scene, occlusion = _hide(stage, wanted, rng, shot, bystander)
    else:
        scene, occlusion = _whole(stage, shot, bystander)
        if occlusion.degree > _WHOLE:
            shot = replace(shot, box=framing.detect(rng, body, faulty=0.0))
            scene, occlusion = _whole(stage, shot, None)
    directions = camera.rays(shot.box.pixels(size, samples))
    hits = scene.trace(camera.origin, directions, camera.sun, camera.softness)
    light = shade(scene, hits, camera, directions, person.keypoints[15:17, :2])
    jpeg = encode_jpeg(develop(light, camera, rng, size, samples), camera.quality)
    region = np.where(hits.kind == TARGET, hits.region, 0).reshape(samples, *size)
    return RenderedImage(jpeg, _fields(scene, stage, shot, rng), region[0].astype(np.uint8), occlusion)


def _fields(scene: Scene, stage: Stage, shot: _Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    camera, person, box, image_size = stage.camera, shot.person, shot.box, stage.image_size
    keypoints = framing.seen_keypoints(scene, camera, person.keypoints, box, image_size)
    x, y = person.keypoints[:, :2].mean(axis=0)
    tall = float(person.mesh.vertices[:, 2].max())
    ends = box.to_pixels(camera.project(np.array([[x, y, 0.0], [x, y, tall]])), image_size)
    stature = float(abs(ends[1, 1] - ends[0, 1]))
    if stage.config.detector_noise:
        keypoints = framing.spoil_keypoints(rng, keypoints, stage.config.detector_noise, stature)
    fields = draw_pose_fields(keypoints, image_size=image_size, field_size=label_size(*image_size), scale=stature)
    return np.asarray(np.round(fields * 255), np.uint8)


def _bystander(stage: Stage, rng: np.random.Generator, x: float, y: float) -> Mesh | None:
    """Now and then someone behind or beside the target."""
    if not stage.passers_by or rng.random() > 0.2:
        return None
    back = rng.uniform(0.6, 3.5)
    side = rng.choice([-1, 1]) * rng.uniform(0.25, 0.9)
    return stage.someone(rng).at(x * (y + back) / y + side, y + back).mesh


def _whole(stage: Stage, shot: _Shot, bystander: Mesh | None) -> tuple[Scene, framing.Occlusion]:
    others = TracedMesh(bystander) if bystander is not None else None
    scene = Scene(shot.traced, others, stage.surroundings)
    return scene, framing.measure_occlusion(scene, stage.camera, shot.body, shot.box)


def _hide(
    stage: Stage, wanted: tuple[float, float], rng: np.random.Generator, shot: _Shot, bystander: Mesh | None
) -> tuple[Scene, framing.Occlusion]:
    """Put something in front so that the hidden fraction falls into the wanted range; the nearest try counts else."""
    low, high = wanted
    high = max(high - _WITHIN_REACH, (low + high) / 2)
    degree = rng.uniform(low, high)
    best: tuple[float, Scene, framing.Occlusion, TracedMesh, Floats] | None = None
    for _ in range(_TRIES):
        front, nose = _front(stage, rng, shot.person)
        others = TracedMesh(front if bystander is None else join([front, bystander]))
        scene = Scene(shot.traced, others, stage.surroundings)
        start, moving = others.mesh.vertices, (np.arange(len(others.mesh.vertices)) < len(front.vertices))[:, None]
        for side in rng.permutation(np.linspace(-0.7, 0.7, _PLACES)):
            vertices = (start + moving * np.array([side, 0, 0])).astype(np.float32)
            others.move(vertices)
            occlusion = framing.measure_occlusion(scene, stage.camera, shot.body, shot.box)
            miss = abs(occlusion.degree - degree) + (0.0 if low <= occlusion.degree <= high else 1.0)
            if nose is not None and _is_in_the_way(stage.camera, shot, np.add(nose, (side, 0, 0))):
                miss += 0.5
            if best is None or miss < best[0]:
                best = miss, scene, occlusion, others, vertices
            if miss < _CLOSE:
                break
        if best is not None and best[0] < 2 * _CLOSE:
            break
    assert best is not None
    _, scene, occlusion, others, vertices = best
    others.move(vertices)
    return scene, occlusion


def _is_in_the_way(camera: Camera, shot: _Shot, nose: NDArray[np.floating]) -> bool:
    """Whether another's nose [3] is closer to the top centre of the box than the target's: he would be the target."""
    places = camera.project(np.stack([nose, shot.person.keypoints[0]]))
    box = shot.box
    theirs, own = np.hypot(places[:, 0] - (box.left + box.right) / 2, places[:, 1] - box.top)
    return bool(theirs < own)


def _front(stage: Stage, rng: np.random.Generator, person: PosedPerson) -> tuple[Mesh, NDArray[np.floating] | None]:
    """Something on the line from the target to the camera; the nose [3] if it is a person."""
    x, y = (float(v) for v in person.keypoints[:, :2].mean(axis=0))
    is_person = bool(stage.passers_by) and rng.random() < stage.config.people_in_front
    gap = rng.uniform(0.35, 1.3) if is_person else rng.uniform(0.4, 1.8)
    distance = y - min(gap, 0.4 * y)
    if is_person:
        other = stage.someone(rng).at(x * distance / y, distance)
        return other.mesh, other.keypoints[0]
    thing = make_obstacle(rng)
    # A long thing such as a car stands closer to the camera, clear of the person.
    distance -= max(0.0, float(thing.vertices[:, 1].max()) - 0.3)
    return thing.moved(np.array([x * distance / y, distance, 0.0])), None


class World:
    """Renders planned images of one configuration."""

    def __init__(self, config: SyntheticConfig) -> None:
        start_warp()
        self.config = config
        self.model = load_body_model()
        cameras = make_cameras(np.random.default_rng([config.seed, _CAMERA_STREAM]), config.cameras)
        self.people = people_of(config)
        rng = np.random.default_rng([config.seed, _PASSER_BY_STREAM])
        catalogue = load_catalogue(config.assets) if config.assets else None
        wardrobe = make_wardrobe(np.random.default_rng([config.seed, _PEOPLE_STREAM]), len(self.people), _stock(config))
        passers_by = tuple(dress(self.model, p, catalogue) for p in make_people(rng, wardrobe, _PASSERS_BY))
        self.stages = [Stage(config, self.model, c, TracedMesh(c.surroundings), passers_by) for c in cameras]
        self._dress = lru_cache(maxsize=4)(lambda pid: dress(self.model, self.people[pid - 1], catalogue))

    def render(self, planned: PlannedImage) -> RenderedImage:
        rng = np.random.default_rng(planned.seed(self.config.seed))
        return _render_image(self._dress(planned.pid), self.stages[planned.camid], planned.occlusion, rng)


def people_of(config: SyntheticConfig) -> list[Person]:
    """The set's identities; number i has pid i + 1. No two wear the same outfit."""
    count = config.train_identities + config.test_identities
    rng = np.random.default_rng([config.seed, _PEOPLE_STREAM])
    return make_people(rng, make_wardrobe(rng, count, _stock(config)), count)


def _stock(config: SyntheticConfig) -> Stock | None:
    return load_catalogue(config.assets).stock if config.assets else None
