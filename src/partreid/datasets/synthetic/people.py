"""A person in a pose: body, coat, hair, hat and bag as one mesh, with the COCO keypoints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import BELONGINGS, NO_ARM, BodyModel, Floats, Landmarks, pose_skeleton
from partreid.datasets.synthetic.garments import DressedBody, cloth_colour, leg_coordinate
from partreid.datasets.synthetic.meshes import Mesh, Surface, grid_faces, join, plain, solid, superellipsoid
from partreid.datasets.synthetic.poses import Gait, Pose, about_z, draw_pose
from partreid.datasets.synthetic.raytrace import skin
from partreid.datasets.synthetic.textures import Cloth
from partreid.datasets.synthetic.wearing import Worn

_HEAD, _TORSO, _LEFT_LEG, _RIGHT_LEG = 1, 2, 5, 6


@dataclass(frozen=True)
class PosedPerson:
    """A person standing on the ground (z = 0) at the origin.

    Attributes:
        keypoints: [17, 3] COCO keypoints in metres.
    """

    mesh: Mesh
    keypoints: Floats

    def at(self, x: float, y: float) -> PosedPerson:
        """The person, moved to a place on the ground."""
        shift = np.array([x, y, 0.0], np.float32)
        return PosedPerson(self.mesh.moved(shift), self.keypoints + shift)


@dataclass(frozen=True)
class _Skeleton:
    """For each bone its motion, as :func:`pose_skeleton` gives it, and its head at rest."""

    motion: dict[str, tuple[Floats, Floats]]
    heads: dict[str, Floats]

    def joint(self, bone: str) -> NDArray[np.floating]:
        rotation, shift = self.motion[bone]
        return np.asarray((np.einsum("ab,nb->na", rotation, self.heads[bone][None]) + shift)[0])

    def attached(self, mesh: Mesh, bone: str) -> Mesh:
        rotation, shift = self.motion[bone]
        return mesh.moved(shift, rotation)


def pose_person(
    model: BodyModel, body: DressedBody, rng: np.random.Generator, *,
    yaw: float, pose: Pose | None = None, umbrella: bool = False, gait: Gait | None = None,
) -> PosedPerson:  # fmt: skip
    """A random pose of the person, turned by ``yaw`` (radians; 0 faces -y). ``pose``: None stands or walks.

    ``umbrella``, ``gait``: as of :func:`draw_pose`. The umbrella itself is made by :func:`equip`.
    """
    bag = body.person.outfit.bag.kind
    heads = dict(zip(model.bones, body.rest.heads, strict=True))
    turns = draw_pose(rng, heads, pose, carrying=bag == "hand", umbrella=umbrella, gait=gait)
    rotation, shift = pose_skeleton(model, body.rest.heads, turns)
    bones = _Skeleton(dict(zip(model.bones, zip(rotation, shift, strict=True), strict=True)), heads)
    vertices, normals = skin(body.vertices, body.normals, model.weights, model.bone_ids, rotation, shift)
    trunk = Mesh(vertices, normals, body.coords, body.faces, body.surface, body.region, body.surfaces)
    worn = _pieces(body.worn, rotation, shift)
    loose = (*_coat(model, body, bones), *_hair(model, body, bones), *_scarf(body, bones), *_bags(model, body, bones))
    mesh = join([trunk, *worn, *loose])
    rest = body.rest.joint_vertices
    posed, _ = skin(rest, rest, model.joint_weights, model.joint_bone_ids, rotation, shift)
    keypoints = np.einsum("kn,na->ka", model.regressor, posed)
    ground = min(float(part.vertices[:, 2].min()) for part in (trunk, *worn))
    turn, lift = about_z(yaw), np.array([0.0, 0.0, -ground])
    points = np.einsum("ab,nb->na", turn, keypoints) + lift
    return PosedPerson(mesh.moved(lift, turn), points.astype(np.float32))


def _pieces(worn: Worn | None, rotation: Floats, shift: Floats) -> list[Mesh]:
    """Skirts and the pieces of an asset folder, posed."""
    if worn is None:
        return []
    mesh = worn.mesh
    vertices, normals = skin(mesh.vertices, mesh.normals, worn.weights, worn.bone_ids, rotation, shift)
    return [replace(mesh, vertices=vertices, normals=normals)]


def _coat(model: BodyModel, body: DressedBody, bones: _Skeleton) -> list[Mesh]:
    outfit = body.person.outfit
    if outfit.outer is None or not outfit.outer.coat:
        return []
    gap = 0.25 + 3 * outfit.outer.opening
    slack = 0.055 if outfit.bottom.cut or outfit.skirt else 0.035
    return [_tube(model, body, bones, outfit.outer.cloth, outfit.outer.coat, flare=0.06, gap=gap, slack=slack)]


def _tube(
    model: BodyModel, body: DressedBody, bones: _Skeleton, cloth: Cloth, end: float, *,
    flare: float, gap: float, slack: float,
) -> Mesh:  # fmt: skip
    """Cloth around both legs from above the hip to ``end`` on the leg: the hull of a circle around each leg.

    ``gap`` is half the angle left open in front, ``slack`` its distance from the body in metres.
    """
    marks = model.landmarks
    rows, columns = 11, 33
    along = np.linspace(-0.10, end, rows)
    phi = np.linspace(-np.pi / 2 + gap, 1.5 * np.pi - gap, columns)
    out = np.stack([np.cos(phi), np.sin(phi), np.zeros(columns)], 1)
    left, right = (_leg_path(bones, side, along, marks) for side in "LR")
    depth, width = _leg_extent(model, body, along)
    loose = np.minimum(slack, 0.035 + 0.2 * (along + 0.10))  # its upper edge meets the upper part of the coat
    radius = depth + loose + flare * np.clip(along, 0, 1) ** 1.2
    axis = left - right
    axis[:, 2] = 0
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    # Above the thighs the body is narrower than two circles side by side, so the circles move together to its width.
    apart = np.linalg.norm(left - right, axis=1) / 2
    reach = np.where(along < 0.12, np.clip((width + loose - radius) / apart, 0, 1), 1.0)
    share = reach[:, None] * 0.5 * np.clip(2 * np.einsum("ca,ra->rc", out, axis), -1, 1)
    centre = ((left + right) / 2)[:, None] + share[..., None] * (left - right)[:, None]
    points = (centre + radius[:, None, None] * out[None]).reshape(-1, 3)
    template_z = marks.hip - along * (marks.hip - marks.ankle)
    coords = np.zeros((rows, columns, 4), np.float32)
    coords[..., 0], coords[..., 1] = 0.17 * np.cos(phi), 0.12 * np.sin(phi)
    coords[..., 2], coords[..., 3] = template_z[:, None], NO_ARM
    faces = grid_faces(rows, columns)
    middle = coords.reshape(-1, 4)[faces].mean(axis=1)
    region = np.where(middle[:, 2] > marks.hip, _TORSO, np.where(middle[:, 0] > 0, _LEFT_LEG, _RIGHT_LEG))

    def colour(c: Floats) -> Floats:
        return cloth_colour(cloth, c[:, 0], c[:, 1], c[:, 2], c[:, 3])

    return solid(points, np.tile(out, (rows, 1)), faces, colour, coords=coords.reshape(-1, 4), region=region)


def _leg_path(bones: _Skeleton, side: str, along: NDArray[np.floating], marks: Landmarks) -> NDArray[np.floating]:
    """Points [R, 3] on the leg at leg coordinates; above the hip straight up."""
    hip, knee, ankle = (bones.joint(f"{b}.{side}") for b in ("upperleg01", "lowerleg01", "foot"))
    bend = (marks.hip - marks.knee) / (marks.hip - marks.ankle)
    t = along[:, None]
    above = hip - np.array([0, 0, 1.0]) * t * np.linalg.norm(hip - ankle)
    thigh = hip + (knee - hip) * t / bend
    shank = knee + (ankle - knee) * (t - bend) / (1 - bend)
    return np.asarray(np.where(t < 0, above, np.where(t < bend, thigh, shank)))


def _leg_extent(
    model: BodyModel, body: DressedBody, along: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """How far the body reaches from the leg's axis in depth, and half its width, at leg coordinates [R]; metres."""
    leg = leg_coordinate(model.template[:, 2], model.landmarks)
    legs = np.flatnonzero((model.arm < -0.25) & (leg > -0.4))
    out = []
    bones = ("upperleg01.L", "lowerleg01.L", "foot.L")
    hip, knee, ankle = (body.rest.heads[model.bones.index(b)] for b in bones)
    bend = float(leg_coordinate(np.array(model.landmarks.knee, np.float32), model.landmarks))
    for value in along:
        near = body.rest.vertices[legs[np.abs(leg[legs] - value) < 0.05]]
        axis = np.interp(value, [0, bend, 1], [hip[1], knee[1], ankle[1]])
        out.append((float(np.abs(near[:, 1] - axis).max()), float(np.abs(near[:, 0]).max())))
    return np.array(out)[:, 0], np.array(out)[:, 1]


def _scarf(body: DressedBody, bones: _Skeleton) -> list[Mesh]:
    scarf = body.person.outfit.scarf
    if scarf is None:
        return []
    size = body.person.stature / 1.7
    place = bones.heads["neck01"] + np.array([0.0, -0.012, 0.03]) * size
    ring = superellipsoid(place, np.array([0.092, 0.095, 0.042]) * size, plain(scarf), squareness=0.8, region=_TORSO)
    return [bones.attached(ring, "neck01")]


def _hair(model: BodyModel, body: DressedBody, bones: _Skeleton) -> list[Mesh]:
    hair = body.person.outfit.hair
    if body.person.outfit.is_hooded:
        return []
    skull = body.rest.vertices[model.template[:, 2] > model.landmarks.chin]
    low, high = skull.min(axis=0), skull.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    colour: Surface = plain(hair.colour)
    match hair.style:
        case "long":
            place, radii = middle + half * [0, 0.62, -0.75], half * [0.98, 0.42, 1.45]
        case "bob":
            place, radii = middle + half * [0, 0.40, -0.20], half * [1.12, 0.62, 0.85]
        case "ponytail":
            place, radii = middle + half * [0, 1.12, -0.35], half * [0.28, 0.30, 1.05]
        case "bun":
            place, radii = middle + half * [0, 0.75, 0.85], half * [0.42, 0.42, 0.36]
        case "cap":
            place, radii = middle + half * [0, -1.0, 0.42], half * [0.72, 0.75, 0.06]
            colour = plain(hair.hat)
        case _:
            return []
    return [bones.attached(superellipsoid(place, radii, colour, region=_HEAD), "head")]


def _bags(model: BodyModel, body: DressedBody, bones: _Skeleton) -> list[Mesh]:
    bag = body.person.outfit.bag
    size = body.person.stature / 1.7
    colour = plain(bag.colour)
    if bag.kind == "backpack":
        chest = bones.heads["spine02"]
        back = float(body.vertices[(model.region == 1) & (np.abs(model.template[:, 0]) < 0.12), 1].max())
        place = np.array([0.0, back + 0.045, chest[2] + 0.10 * size])
        mesh = superellipsoid(place, np.array([0.155, 0.095, 0.23]) * size, colour, squareness=0.5, region=BELONGINGS)
        return [bones.attached(mesh, "spine02")]
    if bag.kind == "shoulder":
        hip = bones.heads["upperleg01.L"]
        place = np.array([hip[0] + 0.13 * size, hip[1] + 0.02, hip[2] + 0.02])
        mesh = superellipsoid(place, np.array([0.06, 0.15, 0.12]) * size, colour, squareness=0.45, region=BELONGINGS)
        return [bones.attached(mesh, "root")]
    if bag.kind == "hand":
        hand = bones.joint("finger3-1.L")
        shell = np.array([0.055, 0.16, 0.13]) * size
        mesh = superellipsoid(hand - [0, 0, 0.14 * size + shell[2]], shell, colour, squareness=0.5, region=BELONGINGS)
        handle = superellipsoid(
            hand - [0, 0, 0.08 * size], np.array([0.012, 0.05, 0.09]) * size, colour, region=BELONGINGS
        )
        return [mesh, handle]
    return []
