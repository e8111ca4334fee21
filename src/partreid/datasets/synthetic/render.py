"""Render one image from end to end: choose what it shows, and make the image, its labels and its occlusion.

All images of a set share the body model, the cameras and the people. Each process makes these for itself, and they are
the same in all processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic import framing
from partreid.datasets.synthetic.body import load_body_model
from partreid.datasets.synthetic.cameras import make_camera
from partreid.datasets.synthetic.catalogue import load_catalogue
from partreid.datasets.synthetic.crowd import TARGET, Actor, Stage
from partreid.datasets.synthetic.facts import Facts, facts_of
from partreid.datasets.synthetic.garments import DressedBody, dress
from partreid.datasets.synthetic.hiding import Shot, arrange
from partreid.datasets.synthetic.outfits import make_people, make_wardrobe
from partreid.datasets.synthetic.panoramas import find_panoramas, read_panorama
from partreid.datasets.synthetic.photo import Grid, develop, shade
from partreid.datasets.synthetic.raytrace import Scene, TracedMesh, start_warp
from partreid.datasets.synthetic.render_config import PlannedImage, SyntheticConfig
from partreid.datasets.synthetic.wardrobe import Person, Stock
from partreid.labels.draw import draw_pose_fields
from partreid.labels.fields import label_size

_PASSERS_BY = 48
_CAMERA_STREAM, _PEOPLE_STREAM, _PASSER_BY_STREAM = 101, 102, 103
_LEAST_ROWS, _FEW_ROWS = 40, 64
"""The least number of rows of a box, and the number up to which four rays are traced for each pixel: they cost little
there, and keep thin things."""
PERSON_STEP = 16
"""In a map of the others' parts, person n (from 1) has the values 16·n + region."""


@dataclass(frozen=True)
class OtherPerson:
    """Somebody else in an image.

    Attributes:
        number: from 1, in the map of the others' parts. passer_by: number of the person, the same in all images.
        box: left, top, width, height in pixels of the image; it may reach beyond it.
        seen: fraction of the body's silhouette that is in the image and covered by nobody.
    """

    number: int
    passer_by: int
    box: tuple[float, float, float, float]
    seen: float


@dataclass(frozen=True)
class RenderedImage:
    """A rendered image.

    Attributes:
        jpeg: the file's bytes. fields: uint8 [36, h, w], value/255. parts: uint8 [H, W], 0 = not the target.
        others: the other people. others_parts: uint8 [H, W], see :data:`PERSON_STEP`; 0 = none of them.
        facts: what else is known of the image, under the names of ``FACTS``.
    """

    jpeg: bytes
    fields: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    occlusion: framing.Occlusion
    others: tuple[OtherPerson, ...]
    others_parts: NDArray[np.uint8]
    facts: Facts


def _compose(
    body: DressedBody, stage: Stage, wanted: tuple[float, float] | None, rng: np.random.Generator
) -> tuple[Shot, int]:
    """The arrangement of people and things, and the number of rows of the box. Facts need no more, so no light yet.

    ``wanted``: least and greatest hidden fraction, None for a whole person.
    """
    y = rng.uniform(stage.camera.near, stage.camera.far)
    target = stage.actor(TARGET, body, rng, (float(rng.uniform(-0.24, 0.24) * y), float(y)))
    shot = arrange(stage, target, wanted, rng)
    return shot, min(stage.image_size[0], max(_LEAST_ROWS, round(rng.uniform(*stage.camera.optics.rows))))


def _render_image(
    body: DressedBody, stage: Stage, wanted: tuple[float, float] | None, rng: np.random.Generator
) -> RenderedImage:
    """Render one image of ``body``; everything random comes from ``rng``. ``wanted``: as of :func:`_compose`."""
    shot, rows = _compose(body, stage, wanted, rng)
    scene = shot.scene(stage)
    jpeg = _photograph(scene, stage, shot, rows, rng)
    parts, others_parts = _part_maps(scene, stage, shot)
    others = _others(stage, shot, others_parts)
    facts = facts_of(body.person, shot.target, stage.camera, rows)
    return RenderedImage(jpeg, _fields(scene, stage, shot, rng), parts, shot.occlusion, others, others_parts, facts)


def _photograph(scene: Scene, stage: Stage, shot: Shot, rows: int, rng: np.random.Generator) -> bytes:
    camera, optics, (height, width) = stage.camera, stage.camera.optics, stage.image_size
    samples = 4 if stage.config.samples > 1 and rows <= _FEW_ROWS else stage.config.samples
    grid = Grid(samples, rows, max(1, round(rows * width / height)))
    directions = camera.rays(shot.box.pixels((grid.height, grid.width), samples))
    hits = scene.trace(camera.origin, directions)
    people = (shot.target, *shot.others)
    feet = np.concatenate([actor.keypoints[15:17, :2] for actor in people])
    light = shade(scene, camera, directions, hits, feet, grid, rng)
    motion = 0.0
    if shot.target.moves and rng.random() < optics.motion:
        motion = float(rng.uniform(0.5, 4.0) * (0.3 + 0.7 * abs(np.sin(shot.target.yaw))))
    moving = np.isin(hits.mesh, [k for k, actor in enumerate(people) if actor.moves]).astype(np.float32)
    return develop(light, moving, grid, optics, rng, motion=motion, image_size=(height, width))


def _part_maps(scene: Scene, stage: Stage, shot: Shot) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The target's regions and the others' regions, uint8 [H, W] each, by the ray through the middle of each pixel."""
    camera = stage.camera
    # Nothing of the surroundings is ever in front of people.
    hits = scene.trace(camera.origin, camera.rays(shot.box.pixels(stage.image_size, 1)), surroundings=False)
    target, others = np.zeros(len(hits.mesh), np.uint8), np.zeros(len(hits.mesh), np.uint8)
    for number, actor in enumerate((shot.target, *shot.others)):
        where = np.flatnonzero(hits.mesh == number)
        region = actor.traced.mesh.region[hits.face[where]]
        if number == 0:
            target[where] = region
        else:
            others[where] = PERSON_STEP * number + region
    return target.reshape(stage.image_size), others.reshape(stage.image_size)


def _others(stage: Stage, shot: Shot, parts: NDArray[np.uint8]) -> tuple[OtherPerson, ...]:
    """The other people who have at least one pixel in the image."""
    out = []
    people = (shot.target, *shot.others)
    for number in np.unique(parts // PERSON_STEP)[1 if (parts == 0).any() else 0 :]:
        actor = people[number]
        shape = framing.silhouette(actor.traced, stage.camera, actor.body, shot.box)
        covered = np.zeros(len(shape.rays), bool)
        for traced in (*(a.traced for a in people if a is not actor), *shot.things):
            covered |= shape.behind(stage.camera, traced)
        out.append(OtherPerson(int(number), actor.who, _pixels(actor, shot, stage), 1 - shape.hidden(covered).degree))
    return tuple(out)


def _pixels(actor: Actor, shot: Shot, stage: Stage) -> tuple[float, float, float, float]:
    corners = np.array([[actor.body.left, actor.body.top], [actor.body.right, actor.body.bottom]])
    (left, top), (right, bottom) = shot.box.to_pixels(corners, stage.image_size)
    return float(left), float(top), float(right - left), float(bottom - top)


def _fields(scene: Scene, stage: Stage, shot: Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    camera, person, box, image_size = stage.camera, shot.target, shot.box, stage.image_size
    keypoints = framing.seen_keypoints(scene, camera, person.keypoints, box, image_size)
    x, y = person.place
    tall = float(person.traced.mesh.vertices[: person.outline, 2].max())
    ends = box.to_pixels(camera.project(np.array([[x, y, 0.0], [x, y, tall]])), image_size)
    stature = float(abs(ends[1, 1] - ends[0, 1]))
    if stage.config.detector_noise:
        keypoints = framing.spoil_keypoints(rng, keypoints, stage.config.detector_noise, stature)
    fields = draw_pose_fields(keypoints, image_size=image_size, field_size=label_size(*image_size), scale=stature)
    return np.asarray(np.round(fields * 255), np.uint8)


class World:
    """Renders planned images of one configuration."""

    def __init__(self, config: SyntheticConfig) -> None:
        start_warp()
        self.config = config
        self.model = load_body_model()
        self.people = people_of(config)
        rng = np.random.default_rng([config.seed, _PASSER_BY_STREAM])
        wardrobe = make_wardrobe(np.random.default_rng([config.seed, _PEOPLE_STREAM]), len(self.people), _stock(config))
        self._passers_by = make_people(rng, wardrobe, _PASSERS_BY)
        self._panoramas = find_panoramas(config.panoramas) if config.panoramas else []
        catalogue = load_catalogue(config.assets) if config.assets else None
        # Cameras and people are made when they are needed, because short sets and previews need few.
        self._dress = lru_cache(maxsize=4)(lambda pid: dress(self.model, self.people[pid - 1], catalogue))
        self._passer_by = lru_cache(maxsize=None)(lambda number: dress(self.model, self._passers_by[number], catalogue))
        self._stage = lru_cache(maxsize=None)(self._make_stage)

    def render(self, planned: PlannedImage) -> RenderedImage:
        """Render one image; it does not depend on the images before."""
        return _render_image(*self._given(planned))

    def describe(self, planned: PlannedImage) -> tuple[float, Facts]:
        """The hidden fraction and the facts of an image, without rendering it."""
        body, stage, wanted, rng = self._given(planned)
        shot, rows = _compose(body, stage, wanted, rng)
        return shot.occlusion.degree, facts_of(body.person, shot.target, stage.camera, rows)

    def _given(
        self, planned: PlannedImage
    ) -> tuple[DressedBody, Stage, tuple[float, float] | None, np.random.Generator]:
        """What an image is made from."""
        rng = np.random.default_rng(planned.seed(self.config.seed))
        return self._dress(planned.pid), self._stage(planned.camid), planned.occlusion, rng

    def _make_stage(self, camid: int) -> Stage:
        panorama = read_panorama(self._panoramas[camid % len(self._panoramas)].path) if self._panoramas else None
        camera = make_camera((self.config.seed, _CAMERA_STREAM), camid, self.config.cameras, panorama)
        surroundings = TracedMesh(camera.surroundings)
        return Stage(self.config, self.model, camera, surroundings, _PASSERS_BY, self._passer_by)


def people_of(config: SyntheticConfig) -> list[Person]:
    """The set's identities; number i has pid i + 1. No two wear the same outfit."""
    count = config.train_identities + config.test_identities
    rng = np.random.default_rng([config.seed, _PEOPLE_STREAM])
    return make_people(rng, make_wardrobe(rng, count, _stock(config)), count)


def _stock(config: SyntheticConfig) -> Stock | None:
    return load_catalogue(config.assets).stock if config.assets else None
