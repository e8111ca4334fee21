"""Benches, bicycles, prams and umbrellas, made to fit a posed person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, sin

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partreid.datasets.synthetic.body import BELONGINGS, Floats
from partreid.datasets.synthetic.meshes import (
    Mesh,
    Surface,
    box,
    cylinder,
    grid_faces,
    join,
    plain,
    solid,
    superellipsoid,
)
from partreid.datasets.synthetic.people import PosedPerson
from partreid.datasets.synthetic.poses import CRANK, Pose, about_z, between
from partreid.datasets.synthetic.wardrobe import COLOURS
from partreid.parts import KEYPOINTS

Vector = NDArray[np.floating]

_WHEEL, _CRANK_HEIGHT = 0.33, 0.28
_HAND = 0.08
"""Metres from the wrist to what the hand holds."""
_RIBS = 8
_UMBRELLA_KINDS = {"dark": 0.55, "bright": 0.25, "panels": 0.12, "rim": 0.08}
_DARK = ("black", "black", "black", "charcoal", "navy", "forest", "burgundy")
_BLACK = plain((0.05, 0.05, 0.05))
_STEEL = plain((0.55, 0.55, 0.55))


@dataclass(frozen=True)
class Equipped:
    """A person with the objects that the pose needs.

    Attributes:
        person: lifted onto the saddle if there is one. carried: a bicycle, a pram or an umbrella; it belongs to the
            person, as bags do. under: a bench, which belongs to nobody.
    """

    person: PosedPerson
    carried: Mesh | None = None
    under: Mesh | None = None

    @property
    def mesh(self) -> Mesh:
        """The person and what belongs to the person."""
        return self.person.mesh if self.carried is None else join([self.person.mesh, self.carried])


def equip(person: PosedPerson, pose: Pose, yaw: float, rng: np.random.Generator, *, umbrella: bool = False) -> Equipped:
    """Give a posed person at the origin, turned by ``yaw``, the bench, bicycle or pram that the pose is made for.

    ``umbrella``: the right hand is posed to hold one; somebody on foot gets it.
    """
    turn = about_z(yaw)
    # Things are made in the person's own frame (front = -y), and turned afterwards.
    points = dict(zip(KEYPOINTS, person.keypoints.astype(float) @ turn, strict=True))
    hips = (points["left_hip"] + points["right_hip"]) / 2
    hands = (points["left_wrist"] + points["right_wrist"]) / 2
    origin = np.zeros(3)
    if pose == "sitting":
        return Equipped(person, under=_bench(rng, hips).moved(origin, turn))
    if pose == "pushing":
        return Equipped(person, _owned(_pram(rng, hands)).moved(origin, turn))
    if pose == "cycling":
        leg = float(
            np.linalg.norm(points["left_hip"] - points["left_knee"])
            + np.linalg.norm(points["left_knee"] - points["left_ankle"])
        )
        crank = hips + leg * np.array([0.0, -CRANK[0], -CRANK[1]])
        lift = np.array([0.0, 0.0, _CRANK_HEIGHT - crank[2]])
        vehicle = bicycle(rng, crank + lift, saddle=hips + lift - [0, 0, 0.11], bar=hands + lift - [0, 0, 0.03])
        lifted = PosedPerson(person.mesh.moved(lift), (person.keypoints + lift).astype(np.float32))
        return Equipped(lifted, _owned(vehicle).moved(origin, turn))
    if umbrella:
        hand = points["right_wrist"] + _HAND * _unit(points["right_wrist"] - points["right_elbow"])
        crown = float(person.mesh.vertices[:, 2].max())
        ears = (points["left_ear"] + points["right_ear"]) / 2
        return Equipped(person, _owned(_umbrella(rng, hand, ears * [1, 1, 0] + [0, 0, crown])).moved(origin, turn))
    return Equipped(person)


def bicycle(rng: np.random.Generator, crank: Vector, *, saddle: Vector, bar: Vector) -> Mesh:
    """A bicycle that faces -y, with crank, saddle and the middle of the handlebar at these places [3], in metres."""
    frame = plain(_colour(rng))
    rear = np.array([crank[0], crank[1] + 0.43, _WHEEL])
    front = np.array([crank[0], crank[1] - 0.62, _WHEEL])
    head = front + np.array([0, 0.20, 0.50])
    tubes = [
        (rear, crank, 0.014), (crank, saddle, 0.018), (crank, head, 0.02), (head, saddle - [0, 0, 0.12], 0.018),
        (rear, saddle - [0, 0, 0.14], 0.012), (front, head, 0.016), (head, bar, 0.016),
        (_beside(bar, -0.27, 0, 0), _beside(bar, 0.27, 0, 0), 0.016),
    ]  # fmt: skip
    parts = [tube(a, b, radius, frame) for a, b, radius in tubes]
    parts += [_wheel(centre) for centre in (rear, front)]
    parts.append(superellipsoid(saddle, (0.08, 0.14, 0.03), _BLACK, segments=8))
    if rng.random() < 0.5:
        basket = plain(_colour(rng))
        parts.append(box(_beside(front, 0, 0.06, 0.56), (0.34, 0.26, 0.24), basket))
    return join(parts)


def parked_bicycle(rng: np.random.Generator) -> Mesh:
    """A bicycle that stands along x at the origin."""
    saddle, bar = (0.0, 0.17, rng.uniform(0.88, 1.0)), (0.0, -0.42, rng.uniform(1.0, 1.1))
    made = bicycle(rng, np.array([0, 0, _CRANK_HEIGHT]), saddle=np.array(saddle), bar=np.array(bar))
    return made.moved(np.zeros(3), about_z(np.pi / 2))


def tube(start: ArrayLike, end: ArrayLike, radius: float, surface: Surface) -> Mesh:
    """A round bar between two places [3]."""
    along = np.asarray(end, float) - np.asarray(start, float)
    bar = cylinder((0, 0, 0), float(np.linalg.norm(along)), radius, surface)
    return bar.moved(np.asarray(start, float), between(np.array([0, 0, 1.0]), along))


def _wheel(centre: Vector) -> Mesh:
    """A tyre in the y-z plane, with a few spokes."""
    around, across = np.linspace(0, 2 * np.pi, 21), np.linspace(0, 2 * np.pi, 6)
    thick, radius = 0.022, _WHEEL - 0.022
    a, b = np.meshgrid(around, across, indexing="ij")
    out = np.stack([np.sin(b), np.cos(a) * np.cos(b), np.sin(a) * np.cos(b)], -1).reshape(-1, 3)
    ring = np.stack([0 * a, np.cos(a), np.sin(a)], -1).reshape(-1, 3) * radius
    tyre = solid(ring + thick * out + centre, out, grid_faces(len(around), len(across)), _BLACK)
    spokes = []
    for angle in np.arange(6) * np.pi / 6:
        tip = radius * np.array([0, cos(angle), sin(angle)])
        spokes.append(
            box((0, 0, 0), (0.006, 2 * radius, 0.006), _STEEL).moved(centre, between(np.array([0, 1.0, 0]), tip))
        )
    return join([tyre, *spokes])


def _pram(rng: np.random.Generator, hands: Vector) -> Mesh:
    cloth = plain(_colour(rng))
    middle = hands + np.array([0, -0.50, 0])
    tub = middle * [1, 1, 0] + np.array([0, -0.08, 0.62])
    parts = [
        superellipsoid(tub, (0.22, 0.40, 0.17), cloth, squareness=0.6),
        superellipsoid(_beside(tub, 0, -0.14, 0.20), (0.23, 0.26, 0.24), cloth, squareness=0.8),
        tube(_beside(hands, -0.22, 0, 0), _beside(hands, 0.22, 0, 0), 0.018, _BLACK),
    ]
    for side in (-0.22, 0.22):
        parts.append(tube(_beside(hands, side, 0, 0), _beside(tub, side, -0.25, -0.35), 0.014, _STEEL))
        parts.append(tube(_beside(tub, side, 0.28, -0.48), _beside(tub, side, -0.1, -0.1), 0.014, _STEEL))
        for y in (-0.32, 0.28):
            parts.append(superellipsoid(_beside(tub, side, y, 0.13 - tub[2]), (0.025, 0.13, 0.13), _BLACK, segments=10))
    return join(parts)


def _umbrella(rng: np.random.Generator, hand: Vector, crown: Vector) -> Mesh:
    """An open umbrella in a hand [3], over the top of a head [3], both in metres: canopy, shaft and handle."""
    radius = rng.uniform(0.46, 0.60)
    depth = radius * rng.uniform(0.38, 0.5)
    # The shaft leans from the hand towards the head, plus a little at random, because people hold it differently.
    lean = 0.55 * (crown - hand)[:2] + rng.normal(0, 0.05, 2)
    top = np.array([*(hand[:2] + lean), crown[2] + depth + rng.uniform(0.0, 0.10)])
    axis = _unit(top - hand)
    canopy = _canopy(rng, radius, depth).moved(top, between(np.array([0, 0, 1.0]), axis))
    shaft = tube(hand - 0.10 * axis, top + 0.05 * axis, 0.008, _STEEL)
    handle = tube(hand - 0.13 * axis, hand + 0.05 * axis, 0.016, _BLACK)
    return join([canopy, shaft, handle])


def _canopy(rng: np.random.Generator, radius: float, depth: float) -> Mesh:
    """Cloth over eight ribs with its top at the origin. Between ribs the cloth is flat and its rim curves inwards."""
    kind = str(rng.choice(list(_UMBRELLA_KINDS), p=list(_UMBRELLA_KINDS.values())))
    colour = np.asarray(COLOURS[str(rng.choice(_DARK))] if kind == "dark" else _colour(rng), np.float32)
    second = np.asarray(_colour(rng), np.float32)
    out, around = np.linspace(0, 1, 6), np.linspace(0, 2 * np.pi, 4 * _RIBS + 1)
    between_ribs = np.sin(around * _RIBS / 2) ** 2
    r = radius * out[:, None] * (1 - 0.07 * between_ribs * out[:, None])
    z = -depth * (1 - np.cos(out * np.pi / 2))[:, None] * (1 - 0.12 * between_ribs)
    x, y = r * np.cos(around), r * np.sin(around)
    places = np.stack([x, y, z], -1).reshape(-1, 3)
    normals = np.stack([x / radius, y / radius, np.broadcast_to(0.25 + 1 - out[:, None], x.shape)], -1).reshape(-1, 3)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    coords = np.stack([*np.broadcast_arrays(around * _RIBS / (2 * np.pi), out[:, None], 0.0)], -1).reshape(-1, 3)

    def cloth(places: Floats) -> Floats:
        panel, share = places[:, 0], places[:, 1]
        is_second = {"panels": panel.astype(int) % 2 == 1, "rim": share > 0.8}.get(kind, np.zeros(len(places), bool))
        seam = 1 - 0.25 * (np.abs(panel - np.round(panel)) < 0.04)
        return np.asarray(np.where(is_second[:, None], second, colour) * seam[:, None], np.float32)

    return solid(places, normals, grid_faces(len(out), len(around)), cloth, coords=coords)


def _unit(vector: Vector) -> Vector:
    return vector / np.linalg.norm(vector)


def _bench(rng: np.random.Generator, hips: Vector) -> Mesh:
    """A seat without a back, under the hips."""
    height, width = float(hips[2]) - 0.13, rng.uniform(0.5, 1.6)
    seat = box((hips[0], hips[1] - 0.06, height - 0.03), (width, 0.42, 0.06), plain(_colour(rng)))
    legs = [
        box(
            (hips[0] + side * (width / 2 - 0.06), hips[1] - 0.06, height / 2 - 0.03),
            (0.06, 0.36, height - 0.06),
            _STEEL,
        )
        for side in (-1, 1)
    ]
    return join([seat, *legs])


def _beside(place: Vector, x: float, y: float, z: float) -> tuple[float, float, float]:
    return float(place[0]) + x, float(place[1]) + y, float(place[2]) + z


def _owned(mesh: Mesh) -> Mesh:
    return replace(mesh, region=np.full(len(mesh.faces), BELONGINGS, np.int32))


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    r, g, b = np.asarray(COLOURS[str(rng.choice(list(COLOURS)))]) * rng.uniform(0.8, 1.1)
    return float(r), float(g), float(b)
