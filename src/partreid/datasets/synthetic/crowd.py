"""The other people of an image: they walk along with the target, stand near, or pass behind or in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic import framing
from partreid.datasets.synthetic.body import BodyModel, Floats
from partreid.datasets.synthetic.cameras import Camera
from partreid.datasets.synthetic.garments import DressedBody
from partreid.datasets.synthetic.meshes import Mesh
from partreid.datasets.synthetic.people import pose_person
from partreid.datasets.synthetic.poses import Pose, choose_pose
from partreid.datasets.synthetic.props import equip
from partreid.datasets.synthetic.raytrace import TracedMesh
from partreid.datasets.synthetic.render_config import SyntheticConfig

TARGET = -1
"""Stands for the target where a passer-by has a number."""
_MANY = (0.62, 0.26, 0.12)
"""Probabilities that the company is one, two or three people."""
_ROLES = ("along", "beside", "behind", "front")
_OFTEN = (0.34, 0.22, 0.30, 0.14)
_UMBRELLAS = 0.05
"""Fraction of people on foot with an open umbrella. It is drawn for each image, so it identifies nobody."""
_APART = 0.42
"""Least distance between the middles of two people in metres."""


@dataclass(frozen=True)
class Actor:
    """A person in place, ready for rays.

    Attributes:
        who: number of the passer-by, or TARGET. traced: the person with bags, bicycle, pram and umbrella.
        body: box of the person in the image plane, with bags, without bicycle, pram and umbrella.
        outline: number of vertices of the person alone; they are the first ones of the mesh.
        keypoints: [17, 3] metres in the world.
        things: objects that come with the person but belong to nobody, such as a bench.
    """

    who: int
    traced: TracedMesh
    body: framing.Box
    outline: int
    keypoints: Floats
    yaw: float
    pose: Pose
    things: tuple[Mesh, ...]

    def shifted(self, camera: Camera, shift: NDArray[np.floating]) -> Actor:
        """The person and all objects, moved by [3] metres."""
        mesh = self.traced.mesh.moved(shift)
        return replace(
            self,
            traced=TracedMesh(mesh),
            body=framing.bounds(camera.project(mesh.vertices[: self.outline])),
            keypoints=(self.keypoints + shift).astype(np.float32),
            things=tuple(thing.moved(shift) for thing in self.things),
        )

    @property
    def moves(self) -> bool:
        """Whether the person walks or rides."""
        return self.pose not in ("standing", "sitting")

    @property
    def place(self) -> NDArray[np.floating]:
        """Middle of the body on the ground [2]."""
        return np.asarray(self.keypoints[:, :2].mean(axis=0))


@dataclass(frozen=True)
class Stage:
    """Where an image is taken: a camera, its surroundings, and the people who may pass there."""

    config: SyntheticConfig
    model: BodyModel
    camera: Camera
    surroundings: TracedMesh
    passers_by: int
    passer_by: Callable[[int], DressedBody]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.config.image_height, self.config.image_width

    def actor(
        self, who: int, body: DressedBody, rng: np.random.Generator, place: tuple[float, float],
        *, yaw: float | None = None, pose: Pose | None = None,
    ) -> Actor:  # fmt: skip
        """A person posed at a place on the ground; yaw (0 faces the camera's side) and pose are drawn if None."""
        pose = choose_pose(rng) if pose is None else pose
        yaw = float(rng.uniform(0, 2 * np.pi)) if yaw is None else yaw
        umbrella = holds_umbrella(rng, pose)
        person = pose_person(self.model, body, rng, yaw=yaw, pose=pose, umbrella=umbrella)
        made = equip(person, pose, yaw, rng, umbrella=umbrella)
        shift = np.array([*place, 0.0], np.float32)
        mesh = made.mesh.moved(shift)
        outline = len(made.person.mesh.vertices)
        around = framing.bounds(self.camera.project(mesh.vertices[:outline]))
        things = () if made.under is None else (made.under.moved(shift),)
        keypoints = (made.person.keypoints + shift).astype(np.float32)
        return Actor(who, TracedMesh(mesh), around, outline, keypoints, yaw, pose, things)

    def someone(
        self, rng: np.random.Generator, place: tuple[float, float], taken: Sequence[int] = (),
        *, yaw: float | None = None, pose: Pose | None = None,
    ) -> Actor:  # fmt: skip
        """A passer-by who is not among ``taken``."""
        free = [n for n in range(self.passers_by) if n not in taken]
        who = int(rng.choice(free))
        return self.actor(who, self.passer_by(who), rng, place, yaw=yaw, pose=pose)


def holds_umbrella(rng: np.random.Generator, pose: Pose) -> bool:
    """Whether somebody has an open umbrella in this image: a random choice for people on foot."""
    return pose in ("standing", "walking") and bool(rng.random() < _UMBRELLAS)


def gather(stage: Stage, target: Actor, rng: np.random.Generator, *, front: bool) -> list[Actor]:
    """Nobody, or one to three people around the target. ``front``: whether any may stand nearer to the camera."""
    if rng.random() >= stage.config.company:
        return []
    company: list[Actor] = []
    for _ in range(1 + int(rng.choice(len(_MANY), p=_MANY))):
        role = str(rng.choice(_ROLES, p=_OFTEN))
        if role == "front" and not front:
            role = "behind"
        place = _place(role, target, stage.camera, rng)
        if any(np.hypot(*(other.place - place)) < _APART for other in (target, *company)):
            continue
        along = role == "along"
        yaw = target.yaw + float(rng.normal(0, 0.12)) if along else None
        pose: Pose | None = target.pose if along and target.pose in ("walking", "standing") else None
        company.append(stage.someone(rng, place, [a.who for a in company], yaw=yaw, pose=pose))
    return company


def _place(role: str, target: Actor, camera: Camera, rng: np.random.Generator) -> tuple[float, float]:
    """A place on the ground for somebody in that role; nobody is further away than the strip of people reaches."""
    x, y = (float(v) for v in target.place)
    side = float(rng.choice([-1, 1]))
    if role == "along":
        apart = side * rng.uniform(0.5, 0.8)
        ahead = rng.normal(0, 0.15)
        # Facing -y turned by yaw: the shoulders lie along (cos, sin).
        dx, dy = np.cos(target.yaw) * apart, np.sin(target.yaw) * apart
        x, y = x + dx + np.sin(target.yaw) * ahead, y + dy - np.cos(target.yaw) * ahead
    elif role == "beside":
        x, y = x + side * rng.uniform(0.5, 1.1), y + rng.uniform(-0.4, 0.6)
    else:
        away = rng.uniform(0.6, 4.5) if role == "behind" else -rng.uniform(0.5, 1.6)
        x, y = x * (y + away) / y + side * rng.uniform(0.15, 0.9), y + away
    return float(x), float(min(y, camera.far + 0.5))
