"""The smooth surface close to the body that drawn clothes lie on: the base mesh's tights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import warp as wp

from partreid.datasets.synthetic import kernels
from partreid.datasets.synthetic.base_mesh import load_base_mesh
from partreid.datasets.synthetic.body import Floats, Ints, load_body_model

_NEAR = 0.03
"""Greatest distance in metres between a place of the body and the tights. Head and hands are further off."""


@dataclass(frozen=True)
class _Binding:
    """``drawn``: [n] vertices of the drawn body. rows: [n, 3] vertices of the base mesh; shares: their weights."""

    drawn: Ints
    rows: Ints
    shares: Floats


def lie_on_tights(vertices: Floats, base: Floats) -> Floats:
    """The drawn body's vertices [V, 3], moved onto the tights where the tights are near.

    ``base``: the base mesh's vertices [19158, 3] of the same person.
    """
    bound = _binding()
    out = vertices.copy()
    out[bound.drawn] = np.einsum("cn,cna->ca", bound.shares, base[bound.rows])
    return out


@lru_cache(maxsize=1)
def _binding() -> _Binding:
    """The nearest place on the tights for each vertex of the template."""
    base, template = load_base_mesh(), load_body_model().template
    points = wp.array(base.template, dtype=wp.vec3, device="cpu")
    mesh: Any = wp.Mesh(points, wp.array(base.tights.ravel(), dtype=wp.int32, device="cpu"))
    face = wp.zeros(len(template), dtype=wp.int32, device="cpu")
    shares = wp.zeros(len(template), dtype=wp.vec3, device="cpu")
    places = wp.array(template, dtype=wp.vec3, device="cpu")
    wp.launch(kernels.nearest, len(template), inputs=[mesh.id, places, _NEAR], outputs=[face, shares], device="cpu")
    found = face.numpy()
    drawn = np.flatnonzero(found >= 0)
    return _Binding(drawn.astype(np.int32), base.tights[found[drawn]], np.array(shares.numpy())[drawn])
