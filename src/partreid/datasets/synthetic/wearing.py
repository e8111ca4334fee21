"""Put pieces of an asset folder on a body: fit them, and leave out what lies under something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from partreid.datasets.synthetic import kernels
from partreid.datasets.synthetic.body import Floats, Ints, Landmarks, vertex_normals
from partreid.datasets.synthetic.meshes import Mesh, Surface, join, plain
from partreid.datasets.synthetic.pieces import Piece, lookup
from partreid.datasets.synthetic.textures import Cloth
from partreid.datasets.synthetic.wardrobe import Colour, Outfit

_PUSHED = {"shoes": 0.002, "skirt": 0.004, "bottom": 0.004, "top": 0.008, "whole": 0.006, "hat": 0.003, "hair": 0.002}
"""Metres by which a part is moved outwards from its author's position, so that it lies over what is under it."""
_OVER, _UNDER = 0.07, 0.025
"""A place counts as covered if clothing lies at most this many metres above it, or this many below it."""
Where = Callable[[Floats], NDArray[np.bool_]]
_TUCKED = 0.02
CLOTHING = ("shoes", "skirt", "bottom", "top", "whole")
"""Parts that hide what is under them, from the innermost outwards."""


def is_over(part: str, other: str) -> bool:
    """Whether a part is worn over another one and hides it; hair and hats hide nothing."""
    return part in CLOTHING and other in CLOTHING and CLOTHING.index(part) > CLOTHING.index(other)


@dataclass(frozen=True)
class Fitted:
    """A piece on a person at rest: places [C, 3] and normals [C, 3]."""

    piece: Piece
    places: Floats
    normals: Floats


@dataclass(frozen=True)
class Worn:
    """All pieces on a person at rest as one mesh, and its skinning. ``weights``, ``bone_ids``: [V, 4]."""

    mesh: Mesh
    weights: Floats
    bone_ids: Ints


def fit(pieces: Sequence[Piece], base: Floats) -> list[Fitted]:
    """Pieces on a body, which the base mesh's vertices [19158, 3] describe."""
    out = []
    for piece in pieces:
        places = piece.fit(base)
        normals = vertex_normals(places, piece.welded)
        out.append(Fitted(piece, places + np.float32(_PUSHED[piece.part]) * normals, normals))
    return out


def covered(places: Floats, normals: Floats, over: Sequence[Fitted]) -> NDArray[np.bool_]:
    """Which places [N, 3] lie just under a piece of clothing, or a little over it."""
    out = np.zeros(len(places), bool)
    for fitted in over:
        if fitted.piece.part not in CLOTHING:
            continue
        points = wp.array(fitted.places, dtype=wp.vec3, device="cpu")
        mesh: Any = wp.Mesh(points, wp.array(fitted.piece.welded.ravel(), dtype=wp.int32, device="cpu"))
        hit = wp.zeros(len(places), dtype=wp.int32, device="cpu")
        starts = wp.array(places - np.float32(_UNDER) * normals, dtype=wp.vec3, device="cpu")
        rays = wp.array(normals, dtype=wp.vec3, device="cpu")
        wp.launch(
            kernels.meets, len(places), inputs=[mesh.id, starts, rays, _UNDER + _OVER], outputs=[hit], device="cpu"
        )
        out |= np.array(hit.numpy()) > 0
    return out


def put_on(
    clothes: Sequence[Fitted], hidden: Sequence[NDArray[np.bool_]], outfit: Outfit, marks: Landmarks, has_strap: Where
) -> Worn:
    """Join pieces to one mesh.

    Args:
        hidden: for each piece the mask [C] of its places that something else covers; their faces are left out.
        has_strap: maps template coordinates [N, 4] to a mask [N]: whether a bag's strap lies there.
    """
    meshes, weights, bone_ids = [], [], []
    for fitted, gone in zip(clothes, hidden, strict=True):
        piece = fitted.piece
        kept = ~gone[piece.welded].all(axis=1)
        surface = np.zeros(int(kept.sum()), np.int32)
        if piece.part in ("top", "whole"):
            surface[has_strap(piece.template[piece.welded[kept]].mean(axis=1))] = 1
        # Partly covered faces remain at the edge, so their covered corners are moved towards the body.
        places = fitted.places - np.float32(_TUCKED) * fitted.normals * gone[:, None]
        surfaces = (_surface(piece, outfit, marks), plain(outfit.bag.colour))
        meshes.append(
            Mesh(
                places[piece.place],
                fitted.normals[piece.place],
                piece.coords,
                piece.faces[kept],
                surface,
                piece.region[kept],
                surfaces,
            )
        )
        weights.append(piece.weights[piece.place])
        bone_ids.append(piece.bone_ids[piece.place])
    return Worn(join(meshes), np.concatenate(weights), np.concatenate(bone_ids))


def _surface(piece: Piece, outfit: Outfit, marks: Landmarks) -> Surface:
    match piece.part:
        case "hair":
            return _shaded(piece, outfit.hair.colour)
        case "hat":
            return _shaded(piece, outfit.hair.hat)
        case "shoes":
            return _shoe(piece, outfit, marks)
        case "bottom":
            return _cloth(piece, outfit.bottom.cloth)
        case "skirt":
            return _cloth(piece, outfit.top.cloth if outfit.covers_legs else outfit.bottom.cloth)
    return _cloth(piece, outfit.top.cloth)


def _cloth(piece: Piece, cloth: Cloth) -> Surface:
    def colour(coords: Floats) -> Floats:
        if cloth.pattern == "texture":
            return np.asarray(np.asarray(cloth.colour, np.float32) * lookup(piece.tint, coords[:, 2:]), np.float32)
        around, up = coords[:, 0], coords[:, 1]
        return cloth.at(around, up, np.abs(around) < 0.2) * lookup(piece.detail, coords[:, 2:])[:, None]

    return colour


def _shaded(piece: Piece, flat: Colour) -> Surface:
    return lambda coords: np.asarray(flat, np.float32) * lookup(piece.detail, coords[:, 2:])[:, None]


def _shoe(piece: Piece, outfit: Outfit, marks: Landmarks) -> Surface:
    def colour(coords: Floats) -> Floats:
        sole = coords[:, 1] < marks.ankle - 0.075
        flat = np.where(sole[:, None], outfit.shoes.sole, outfit.shoes.colour)
        return np.asarray(flat * lookup(piece.detail, coords[:, 2:])[:, None], np.float32)

    return colour
