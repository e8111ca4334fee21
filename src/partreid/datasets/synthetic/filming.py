"""One camera's film of a scene: the frames, and the truth about each person in them: place, and which parts are seen.

What stands still is rendered once. In each frame every person is rendered alone, in the rectangle around the body. At
every ray the nearest surface wins. So the whole silhouette of each person is known, and how much of it is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import simplejpeg

from partreid.datasets.synthetic import framing, photo
from partreid.datasets.synthetic.body import BELONGINGS, BodyModel, Floats, Ints
from partreid.datasets.synthetic.garments import DressedBody
from partreid.datasets.synthetic.lenses import Lens, Rect, merged
from partreid.datasets.synthetic.people import PosedPerson, pose_person
from partreid.datasets.synthetic.poses import Gait
from partreid.datasets.synthetic.raytrace import Scene, TracedMesh
from partreid.datasets.synthetic.sequence_config import SequenceConfig
from partreid.datasets.synthetic.sites import Site
from partreid.datasets.synthetic.walks import Walkers

_BLURRED = 6
"""Pixels that blur and sharpening reach beyond a rectangle that changes."""
_CONTACT, _CONTACT_REACH = 0.5, 0.2
"""Share of the sky's light that a foot keeps from the ground, and the reach of this shadow in metres."""
_WIDE, _TALL = 1.1, 2.3
"""Greatest reach of a person with bags and hat to a side and upwards, in metres."""
_LOW_SUN = 0.15
"""Sine of the sun's height below which shadows are not traced, because they leave the picture."""
_NOISES = 6
_POSE, _STILL, _FRAME = 1, 2, 3
"""Streams of random numbers."""

PixelBox = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, the frame's upper left corner being (0, 0)."""


@dataclass(frozen=True)
class Seen:
    """The truth about a person in a frame.

    Attributes:
        who: number from 0. box: around the whole person and bags, seen or not; it may reach beyond the frame.
        visible: box around what is seen, None if nothing is. seen: fraction of the body's silhouette that is in the
            frame and that nobody and nothing covers. parts: that fraction for each of :data:`REGIONS`, NaN if the body
            itself hides all of the region. place: [2] metres on the ground, in the world.
    """

    who: int
    box: PixelBox
    visible: PixelBox | None
    seen: float
    parts: tuple[float, ...]
    place: tuple[float, float]


@dataclass(frozen=True)
class _Posed:
    """A person in the camera's frame of reference. ``plane``: the box in the image plane."""

    who: int
    traced: TracedMesh
    keypoints: Floats
    plane: framing.Box
    rect: Rect


@dataclass(frozen=True)
class _Layer:
    """A person rendered alone in ``rect``, which may reach beyond the frame: light [s, h, w, 3], others [s, h, w]."""

    rect: Rect
    light: Floats
    distance: Floats
    region: Ints


class Film:
    """A camera's sequence. Any frame can be made without the others.

    Args:
        seed: of the scene. camera: number of the site. bodies: of all people of the scene.
    """

    def __init__(
        self, config: SequenceConfig, model: BodyModel, site: Site, bodies: Sequence[DressedBody],
        seed: tuple[int, ...], camera: int,
    ) -> None:  # fmt: skip
        self._samples, self._model, self._site, self._bodies = config.samples, model, site, bodies
        self._seed, self._number = seed, camera
        self._lens = Lens.of(config)
        self._things = [TracedMesh(obstacle.mesh) for obstacle in site.obstacles]
        rng = np.random.default_rng([*seed, _STILL, camera])
        self._make_still(rng)
        optics = site.camera.optics
        self._sigma = min(float(np.mean(optics.blur)), 0.9)
        self._exposure = optics.exposure * photo.metered(self._still)
        self._toned = self._develop(self._still)
        noises = (photo.noise(rng, optics, self._lens.frame.shape) for _ in range(_NOISES))
        self._noises = [noise.astype(np.float32) for noise in noises]

    def _make_still(self, rng: np.random.Generator) -> None:
        """What stands still: light, the sun's part of it, distance, and places [H, W, 3]."""
        camera, size = self._site.camera, self._lens.frame.shape
        shape = (self._samples, *size)
        directions = self._lens.rays(camera, self._lens.frame, self._samples)
        scene = Scene(self._things[0], self._things[1:], TracedMesh(camera.surroundings))
        hits = scene.trace(camera.origin, directions)
        feet = np.array([obstacle.circle[:2] for obstacle in self._site.obstacles], np.float32)
        same = int(rng.integers(2**32))
        dark = replace(camera, light=replace(camera.light, sun_colour=np.zeros(3)))
        light, sunless = (
            photo.shade(scene, c, directions, hits, feet, photo.Grid(*shape), np.random.default_rng(same))
            for c in (camera, dark)
        )
        self._still = light.reshape(*shape, 3)
        self._sunny = np.maximum(light - sunless, 0).reshape(*shape, 3).mean(axis=0)
        self._distance = hits.distance.reshape(shape)
        pixels = size[0] * size[1]
        near = np.minimum(hits.distance[:pixels, None], np.float32(1e3))
        self._places = (camera.origin.astype(np.float32) + directions[:pixels] * near).reshape(*size, 3)

    def frame(self, number: int, walkers: Walkers) -> tuple[bytes, list[Seen]]:
        """A frame as JPEG, and the truth about everybody in it.

        Args:
            number: from 0; the sensor's noise depends on it. walkers: all people at that moment.
        """
        rng = np.random.default_rng([*self._seed, _FRAME, self._number, number])
        posed = self._posed(walkers)
        layers = [self._layer(person, posed, rng) for person in posed]
        light, distance = self._still.copy(), self._distance.copy()
        owner = np.full(distance.shape, -1, np.int32)
        changed = self._shadows(light, posed, rng)
        for k, layer in enumerate(layers):
            inside = layer.rect.within(self._lens.frame)
            own, here = (slice(None), *inside.seen_from(layer.rect).index), (slice(None), *inside.index)
            nearer = layer.distance[own] < distance[here]
            distance[here][nearer] = layer.distance[own][nearer]
            light[here][nearer] = layer.light[own][nearer]
            owner[here][nearer] = k
            changed.append(inside)
        truth = (self._truth(k, posed[k], layers[k], owner, walkers) for k in range(len(posed)))
        return self._photograph(light, changed, rng), [one for one in truth if one is not None]

    def _posed(self, walkers: Walkers) -> list[_Posed]:
        """Who may be in the frame."""
        camera, out = self._site.camera, []
        for who, (x, y) in enumerate(self._site.own(walkers.place)):
            corners = np.array(
                [[x + dx, y + dy, z] for dx in (-_WIDE, _WIDE) for dy in (-_WIDE, _WIDE) for z in (0, _TALL)]
            )
            if y < 2 * _WIDE or not self._lens.around(camera.project(corners)).within(self._lens.frame).area:
                continue
            person = self._pose(who, walkers).at(float(x), float(y))
            plane = camera.project(person.mesh.vertices)
            rect = self._lens.around(plane).grown(1)
            if rect.within(self._lens.frame).area:
                out.append(_Posed(who, TracedMesh(person.mesh), person.keypoints, framing.bounds(plane), rect))
        return out

    def _pose(self, who: int, walkers: Walkers) -> PosedPerson:
        """The person's pose, from the same random numbers in every frame, so that only the gait changes."""
        rng = np.random.default_rng([*self._seed, _POSE, who])
        gait = Gait(float(walkers.phase[who]) % 1, float(walkers.stride[who]))
        yaw = self._site.own_yaw(float(walkers.yaw[who]))
        return pose_person(self._model, self._bodies[who], rng, yaw=yaw, pose="walking", gait=gait)

    def _layer(self, person: _Posed, everybody: Sequence[_Posed], rng: np.random.Generator) -> _Layer:
        camera = self._site.camera
        shape = (self._samples, *person.rect.shape)
        directions = self._lens.rays(camera, person.rect, self._samples)
        others = [other.traced for other in everybody if other is not person]
        scene = Scene(person.traced, [*others, *self._things], None)
        hits = Scene(person.traced, [], None).trace(camera.origin, directions)
        nowhere = np.zeros((0, 2), np.float32)
        light = photo.shade(scene, camera, directions, hits, nowhere, photo.Grid(*shape), rng)
        region = np.where(hits.mesh == 0, person.traced.mesh.region[hits.face], 0)
        return _Layer(person.rect, light.reshape(*shape, 3), hits.distance.reshape(shape), region.reshape(shape))

    def _shadows(self, light: Floats, people: Sequence[_Posed], rng: np.random.Generator) -> list[Rect]:
        """Darken what stands still where people shade it; returns the rectangles that this changes."""
        size = self._lens.frame.shape
        sun, sky = np.ones((*size, 1), np.float32), np.ones((*size, 1), np.float32)
        changed = [self._contact(sky, person) for person in people]
        if self._site.camera.light.sun_colour.any() and self._site.camera.light.sun[2] > _LOW_SUN:
            changed += [self._cast(sun, person, rng) for person in people]
        changed = merged(rect for rect in changed if rect.area)
        for rect in changed:
            i = rect.index
            sunny = self._sunny[i]
            here = (slice(None), *i)
            light[here] = np.maximum((self._still[here] - sunny) * sky[i] + sunny * sun[i], np.float32(0.002))
        return changed

    def _contact(self, sky: Floats, person: _Posed) -> Rect:
        """Darken the ground around both feet."""
        feet = person.keypoints[15:17, :2]
        reach = 2.5 * _CONTACT_REACH
        corners = [[x + dx, y + dy, 0] for x, y in feet for dx in (-reach, reach) for dy in (-reach, reach)]
        rect = self._lens.around(self._site.camera.project(np.array(corners))).within(self._lens.frame)
        places = self._places[rect.index]
        for foot in feet if rect.area else ():
            apart = np.square((places[..., :2] - foot) / np.float32(_CONTACT_REACH)).sum(axis=-1)
            sky[rect.index] *= (1 - np.float32(_CONTACT) * np.exp(-apart) * (places[..., 2] < 0.05))[..., None]
        return rect

    def _cast(self, sun: Floats, person: _Posed, rng: np.random.Generator) -> Rect:
        """Darken the sun's light where the person's shadow falls."""
        camera, mesh = self._site.camera, person.traced.mesh
        towards = camera.light.sun.astype(np.float32)
        ground = mesh.vertices - mesh.vertices[:, 2:] * (towards / towards[2])
        ground = ground[ground[:, 1] > 1.0]
        if not len(ground):
            return Rect(0, 0, 0, 0)
        rect = self._lens.around(camera.project(ground)).grown(2).within(self._lens.frame)
        if not rect.area:
            return rect
        asked = np.flatnonzero(self._sunny[rect.index].max(axis=-1) > 0)
        starts = self._places[rect.index].reshape(-1, 3)[asked] + np.array([0, 0, 0.01], np.float32)
        jitter = rng.random((len(asked), 3), np.float32) - np.float32(0.5)
        rays = towards + np.float32(2 * camera.light.softness) * jitter
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        free = np.ones((rect.area, 1), np.float32)
        free[asked, 0] = Scene(person.traced, [], None).free(starts, rays, 60.0)
        soft = photo.blurred(free.reshape(*rect.shape, 1), 0.8)
        np.minimum(sun[rect.index], soft, out=sun[rect.index])
        return rect

    def _truth(self, k: int, person: _Posed, layer: _Layer, owner: Ints, walkers: Walkers) -> Seen | None:
        """The truth about a person; None if nothing of the person would be in the frame even without the others."""
        inside = layer.rect.within(self._lens.frame)
        region = layer.region[:, *inside.seen_from(layer.rect).index]
        if not region.any():
            return None
        seen = owner[:, *inside.index] == k
        whole = np.bincount(layer.region.ravel(), minlength=BELONGINGS + 1)[1:BELONGINGS]
        left = np.bincount(region[seen], minlength=BELONGINGS + 1)[1:BELONGINGS]
        parts = tuple(float(part / all_) if all_ else float("nan") for part, all_ in zip(left, whole, strict=True))
        corners = np.array([[person.plane.left, person.plane.top], [person.plane.right, person.plane.bottom]])
        (x1, y1), (x2, y2) = self._lens.pixels(corners)
        visible = None
        if seen.any():
            rows, columns = np.nonzero(seen.any(axis=0))
            visible = (
                float(columns.min() + inside.left), float(rows.min() + inside.top),
                float(columns.max() + 1 + inside.left), float(rows.max() + 1 + inside.top),
            )  # fmt: skip
        x, y = (float(v) for v in walkers.place[person.who])
        degree = float(left.sum() / max(whole.sum(), 1))
        return Seen(person.who, (float(x1), float(y1), float(x2), float(y2)), visible, degree, parts, (x, y))

    def _develop(self, light: Floats) -> Floats:
        """Values [h, w, 3] of light [s, h, w, 3], without noise."""
        optics = self._site.camera.optics
        value = photo.toned(photo.blurred(light.mean(axis=0), self._sigma), optics, self._exposure)
        return photo.sharpened(value, optics).astype(np.float32)

    def _photograph(self, light: Floats, changed: Sequence[Rect], rng: np.random.Generator) -> bytes:
        frame, optics = self._lens.frame, self._site.camera.optics
        value = self._toned.copy()
        for rect in merged(rect.grown(_BLURRED).within(frame) for rect in changed if rect.area):
            around = rect.grown(_BLURRED).within(frame)
            value[rect.index] = self._develop(light[:, *around.index])[rect.seen_from(around).index]
        noise = np.roll(self._noises[int(rng.integers(_NOISES))], rng.integers(frame.shape), axis=(0, 1))
        value += photo.darkness(value) * noise
        image = np.clip(np.round(value * 255), 0, 255).astype(np.uint8)
        for _ in range(optics.passes):
            image = simplejpeg.decode_jpeg(photo.encode_jpeg(image, round(float(np.mean(optics.quality)))))
        return photo.encode_jpeg(image, optics.last_quality)
