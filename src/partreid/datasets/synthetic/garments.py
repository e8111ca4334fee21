"""Dress a body: which garment covers which place, how far it stands off, and what colour it has there.

Cuts and colours are functions of the template body's coordinates (x left, y back, z up, place along the arm). So a
garment fits every body shape, and its seams are sharp on every mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.base_mesh import load_base_mesh
from partreid.datasets.synthetic.body import (
    NO_ARM,
    BodyModel,
    Floats,
    Ints,
    Landmarks,
    RestBody,
    load_body_model,
    smooth,
    vertex_normals,
)
from partreid.datasets.synthetic.catalogue import Catalogue
from partreid.datasets.synthetic.close_fit import lie_on_tights
from partreid.datasets.synthetic.meshes import Surface
from partreid.datasets.synthetic.pieces import Piece, make_skirt
from partreid.datasets.synthetic.textures import Cloth, noise
from partreid.datasets.synthetic.wardrobe import Bag, Colour, Outfit, Person
from partreid.datasets.synthetic.wearing import CLOTHING, Fitted, Worn, covered, fit, is_over, put_on
from partreid.errors import ConfigError


class Layer(IntEnum):
    """What is seen at a place of the body, innermost first."""

    SKIN = 0
    HAIR = 1
    SOCK = 2
    SHOE = 3
    BOTTOM = 4
    TOP = 5
    OUTER = 6
    STRAP = 7
    HAT = 8


_HAIR_THICKNESS = {
    "bald": 0.0, "buzz": 0.004, "short": 0.016, "bob": 0.026, "long": 0.020, "ponytail": 0.012, "bun": 0.012,
    "cap": 0.010, "beanie": 0.010, "cut": 0.002, "hat": 0.004,
}  # fmt: skip

_SUNK = 0.006
"""Metres by which the skin is moved inwards under a piece of an asset folder."""


@dataclass(frozen=True)
class DressedBody:
    """A person at rest, ready to be posed; made once for an identity.

    Attributes:
        rest: the body without garments. vertices, normals: [V, 3] with them. coords: [V, 4] template coordinates.
        faces: [F, 3] that no piece of an asset folder hides. surface: [F] index into ``surfaces``. region: [F].
        worn: pieces of an asset folder.
    """

    person: Person
    rest: RestBody
    vertices: Floats
    normals: Floats
    coords: Floats
    faces: Ints
    surface: Ints
    region: Ints
    surfaces: tuple[Surface, ...]
    worn: Worn | None


def dress(model: BodyModel, person: Person, catalogue: Catalogue | None = None) -> DressedBody:
    """Put the outfit on the person's body. ``catalogue``: holds the pieces that the outfit names."""
    outfit, marks = person.outfit, model.landmarks
    rest, base_mesh = load_base_mesh().body_at_rest(model, dict(person.shape), person.stature)
    coords = np.concatenate([model.template, model.arm[:, None]], axis=1)
    layer = layers(coords, outfit, marks)
    calm = smooth(rest.vertices, model.edges, rounds=6)
    clothed = (layer >= Layer.SOCK)[:, None] & (layer != Layer.HAT)[:, None]
    on_tights = np.where((layer == Layer.SHOE)[:, None], calm, lie_on_tights(calm, base_mesh))  # tights cover the toes
    base = np.where(clothed, on_tights, rest.vertices)
    normals = vertex_normals(calm, model.faces)
    thickness = _thickness(coords, layer, outfit, marks) * (person.stature / 1.67)
    clothes = _fitted(person, catalogue, base_mesh)
    upper = [f for f in clothes if f.piece.part in ("top", "whole")]
    snug = [f for f in clothes if f.piece.part != "skirt"]
    under = covered(rest.vertices, normals, snug) & (layer < Layer.BOTTOM)
    under |= covered(rest.vertices, normals, upper) & (layer == Layer.BOTTOM)
    under |= _under_skirt(coords, layer, outfit, marks)
    thickness = np.where(under, -_SUNK, thickness)
    # Near its edge a garment may stand off, so that what is under it can be seen.
    deep = under & (smooth(1 - under[:, None].astype(np.float32), model.edges, rounds=1)[:, 0] == 0)
    kept = ~deep[model.faces].all(axis=1)
    vertices = (base + normals * thickness[:, None]).astype(np.float32)
    return DressedBody(
        person=person,
        rest=rest,
        vertices=vertices,
        normals=vertex_normals(vertices, model.faces),
        coords=coords.astype(np.float32),
        faces=model.faces[kept],
        surface=under[model.faces[kept]].all(axis=1).astype(np.int32),
        region=model.face_region[kept],
        surfaces=(body_surface(person, marks), _lining(outfit, marks)),
        worn=_worn(clothes, outfit, marks),
    )


def _fitted(person: Person, catalogue: Catalogue | None, base_mesh: Floats) -> list[Fitted]:
    cuts, skirt = person.outfit.cuts, person.outfit.skirt
    if not cuts and not skirt:
        return []
    if cuts and catalogue is None:
        raise ConfigError(f"The outfit has the piece {cuts[0].piece!r} of an asset folder. Give its catalogue too.")
    pieces = [catalogue.pieces[cut.piece] for cut in cuts] if catalogue is not None else []
    if skirt:
        pieces.append(_skirt(skirt))
    return fit(pieces, base_mesh)


@lru_cache(maxsize=64)
def _skirt(end: float) -> Piece:
    return make_skirt(load_base_mesh(), load_body_model().landmarks, end)


def _under_skirt(coords: Floats, layer: NDArray[np.int8], outfit: Outfit, marks: Landmarks) -> NDArray[np.bool_]:
    """What a skirt hides in every pose. That includes a top's hem, which may stand off too far for :func:`covered`."""
    _, _, z, arm = coords.T
    inside = (leg_coordinate(z, marks) < outfit.skirt - 0.05) & (z < marks.waist - 0.03) & (arm < NO_ARM / 2)
    return np.asarray(inside & (layer <= Layer.TOP) & (outfit.skirt > 0))


def _worn(clothes: Sequence[Fitted], outfit: Outfit, marks: Landmarks) -> Worn | None:
    """Pieces without the faces that lie under other pieces, or under cloth that is drawn on the body."""

    def has_strap(coords: Floats) -> NDArray[np.bool_]:
        x, y, z, arm = coords.T
        return np.asarray(_strap(outfit, marks, x, y, z) & (arm < NO_ARM / 2))

    hidden = []
    for fitted in clothes:
        part, places = fitted.piece.part, fitted.piece.template
        gone = covered(fitted.places, fitted.normals, [f for f in clothes if is_over(f.piece.part, part)])
        if part in CLOTHING:
            lowest = {"shoes": Layer.BOTTOM, "bottom": Layer.TOP}.get(part, Layer.OUTER)
            gone |= layers(places, replace(outfit, bag=Bag("none")), marks) >= lowest
            gone |= _under_coat(places, outfit, marks)
        hidden.append(gone)
    return put_on(clothes, hidden, outfit, marks, has_strap) if clothes else None


def _under_coat(coords: Floats, outfit: Outfit, marks: Landmarks) -> NDArray[np.bool_]:
    """Where a coat's tube hangs around the legs, but for its opening in front."""
    x, y, z, arm = coords.T
    end = outfit.outer.coat if outfit.outer is not None else 0.0
    leg = leg_coordinate(z, marks)
    around = (leg > -0.1) & (leg < end - 0.04) & (arm < NO_ARM / 2)
    return np.asarray(around & ((np.abs(x) > 0.12) | (y > 0)) & (end > 0))


def _lining(outfit: Outfit, marks: Landmarks) -> Surface:
    """The colour of the body under a garment: the garment's own in shadow, in case a pose opens a gap."""
    top, bottom = (
        np.asarray(c, np.float32) * np.float32(0.6) for c in (outfit.top.cloth.colour, outfit.bottom.cloth.colour)
    )

    def colour(coords: Floats) -> Floats:
        upper = (coords[:, 2] > marks.hip + 0.08) | (coords[:, 3] > NO_ARM / 2) | outfit.covers_legs
        return np.where(upper[:, None], top, bottom)

    return colour


def leg_coordinate(z: Floats, marks: Landmarks) -> Floats:
    """0 at the hip, 1 at the ankle, negative above the hip."""
    return (marks.hip - z) / np.float32(marks.hip - marks.ankle)


def layers(coords: Floats, outfit: Outfit, marks: Landmarks) -> NDArray[np.int8]:
    """The visible :class:`Layer` at template coordinates [N, 4], as int8 [N]."""
    x, y, z, arm = coords.T
    is_arm = arm > NO_ARM / 2 - 0.1
    leg = leg_coordinate(z, marks)
    is_head = z > marks.chin
    out = np.zeros(len(coords), np.int8)
    _head_layers(out, outfit, marks, x, y, z)
    trunk = ~is_arm & (z < marks.neck + 0.015)
    out[~is_arm & (leg > (-0.1 if outfit.skirt and outfit.tights else outfit.shoes.shaft - 0.12))] = Layer.SOCK
    if outfit.shoes.cut is None:
        out[~is_arm & (leg > outfit.shoes.shaft)] = Layer.SHOE
    bottom = outfit.bottom
    if not outfit.covers_legs and bottom.cut is None:
        end = 0.1 if bottom.skirt else bottom.end
        out[trunk & (z < marks.hip + 0.12) & (leg < end)] = Layer.BOTTOM
    top, outer = outfit.top, outfit.outer
    neckline = marks.neck + 0.01 - np.where(y < 0.0, np.maximum(top.neck - 0.8 * np.abs(x), 0), 0)
    if top.cut is None:
        out[(trunk & (z > marks.hip + top.hem) & (z < neckline)) | (is_arm & (arm < top.sleeve) & ~is_head)] = Layer.TOP
    if outer is not None:
        gap = (np.abs(x) < outer.opening * (0.6 + 0.5 * np.clip((z - marks.hip) / 0.5, 0, 1))) & (y < 0.0)
        collar = marks.neck + (0.05 if outer.hood else 0.02)
        high = ~is_arm & ((z < collar) & ((y > 0.0) | (z < marks.neck)))
        out[(high & (z > marks.hip + outer.hem) & ~gap) | (is_arm & (arm < outer.sleeve))] = Layer.OUTER
        if outer.hooded:
            face = (y < -0.055) & (z < marks.chin + 0.8 * (marks.crown - marks.chin))
            out[~is_arm & (z > marks.neck) & ~face] = Layer.OUTER
    out[_strap(outfit, marks, x, y, z) & (trunk | is_arm) & (out >= Layer.BOTTOM)] = Layer.STRAP
    return out


def body_surface(person: Person, marks: Landmarks) -> Surface:
    """The colour of the dressed body as a function of template coordinates."""
    outfit = person.outfit
    leg = outfit.tights if outfit.skirt and outfit.tights else outfit.shoes.sock

    def colour(coords: Floats) -> Floats:
        x, y, z, arm = coords.T
        layer = layers(coords, outfit, marks)
        out = _skin(person.skin, coords, marks)
        for kind, flat in (
            (Layer.HAIR, outfit.hair.colour), (Layer.SOCK, leg), (Layer.HAT, outfit.hair.hat),
            (Layer.STRAP, outfit.bag.colour),
        ):  # fmt: skip
            out[layer == kind] = flat
        hair = layer == Layer.HAIR
        out[hair] *= (0.75 + 0.5 * noise(x[hair] * 60, z[hair] * 25))[:, None]
        shoe = layer == Layer.SHOE
        out[shoe] = np.where((z[shoe] < marks.ankle - 0.075)[:, None], outfit.shoes.sole, outfit.shoes.colour)
        cloths = [(Layer.BOTTOM, outfit.bottom.cloth), (Layer.TOP, outfit.top.cloth)]
        if outfit.outer is not None:
            cloths.append((Layer.OUTER, outfit.outer.cloth))
        for kind, cloth in cloths:
            where = layer == kind
            if where.any():
                out[where] = cloth_colour(cloth, x[where], y[where], z[where], arm[where])
        if outfit.outer is not None and not outfit.outer.opening:
            zip_line = (layer == Layer.OUTER) & (np.abs(x) < 0.007) & (y < 0) & (arm < NO_ARM / 2)
            out[zip_line] *= 0.5
        return out

    return colour


def cloth_colour(cloth: Cloth, x: Floats, y: Floats, z: Floats, arm: Floats) -> Floats:
    """Colour [N, 3] of cloth at template places: rings around a sleeve, around the trunk, around a leg."""
    is_arm = arm > NO_ARM / 2 - 0.1
    u = np.where(is_arm, y, np.arctan2(x, -(y + 0.02)) * np.float32(0.15))
    v = np.where(is_arm, 0.45 - arm * np.float32(0.55), z)
    return cloth.at(u.astype(np.float32), v.astype(np.float32), (y < -0.03) & ~is_arm)


def _skin(tone: Colour, coords: Floats, marks: Landmarks) -> Floats:
    """Skin, with dark eyes and brows and with lips, as a face looks from a distance."""
    x, y, z, _ = coords.T
    out = np.tile(np.asarray(tone, np.float32), (len(coords), 1))
    eye_z = marks.crown - 0.125
    front = y < -0.08
    eyes = front & (np.abs(np.abs(x) - 0.031) < 0.017) & (np.abs(z - eye_z) < 0.010)
    brows = front & (np.abs(np.abs(x) - 0.032) < 0.022) & (np.abs(z - eye_z - 0.022) < 0.006)
    mouth = front & (np.abs(x) < 0.024) & (np.abs(z - eye_z + 0.072) < 0.008)
    out[eyes | brows] *= 0.35
    out[mouth] *= (0.85, 0.55, 0.55)
    return out


def _head_layers(out: NDArray[np.int8], outfit: Outfit, marks: Landmarks, x: Floats, y: Floats, z: Floats) -> None:
    style = outfit.hair.style
    above = z - marks.chin
    head = above > 0
    if style != "bald":
        height = marks.crown - marks.chin
        brow, side, nape = {
            "buzz": (0.80, -0.045, 0.33), "short": (0.77, -0.055, 0.25), "bob": (0.74, -0.080, 0.0),
            "long": (0.75, -0.080, 0.0),
        }.get(style, (0.77, -0.050, 0.25))  # fmt: skip
        back = (y > side) & (above > nape * height + np.clip(-y, 0, 1) * 0.9)
        out[head & ((above > brow * height) | back)] = Layer.HAIR
        if style in ("cap", "beanie"):
            out[head & (above > (0.71 if style == "cap" else 0.68) * height)] = Layer.HAT


def _strap(outfit: Outfit, marks: Landmarks, x: Floats, y: Floats, z: Floats) -> NDArray[np.bool_]:
    if outfit.bag.kind == "backpack":
        return (np.abs(np.abs(x) - 0.085) < 0.02) & (z > marks.waist) & ((y < 0.0) | (z > marks.shoulder - 0.02))
    if outfit.bag.kind == "shoulder":
        # From the right shoulder across to the left hip, in front and behind.
        low, high = marks.hip + 0.05, marks.shoulder + 0.03
        middle = 0.15 - 0.24 * (z - low) / (high - low)
        return (np.abs(x - middle) < 0.022) & (z > low)
    return np.zeros(len(x), bool)


def _thickness(coords: Floats, layer: NDArray[np.int8], outfit: Outfit, marks: Landmarks) -> Floats:
    """How far the visible layer stands off the skin, in metres on the template."""
    z, arm = coords[:, 2], coords[:, 3]
    leg = leg_coordinate(z, marks).clip(0, 1)
    outer = outfit.outer
    # Trousers of an asset folder stand off the waist, and so does what hangs over them.
    over = 0.028 * np.clip((marks.waist - z) / (marks.waist - marks.hip), 0, 1) if outfit.bottom.cut else 0.0
    top = np.full(len(coords), outfit.top.thickness) + over
    loose_arm = np.where(arm > 0, 0.6, 1.0)
    coat = (outer.thickness if outer else 0.0) * loose_arm + 0.4 * outfit.top.thickness
    bottom = outfit.bottom.thickness * (0.5 + leg) + outfit.bottom.flare * leg
    by_layer = {
        Layer.HAIR: np.full(len(coords), _HAIR_THICKNESS[outfit.hair.style]),
        Layer.HAT: np.full(len(coords), 0.024 if outfit.hair.style == "beanie" else 0.017),
        Layer.SOCK: np.full(len(coords), 0.003),
        Layer.SHOE: np.full(len(coords), 0.013),
        Layer.BOTTOM: bottom,
        Layer.TOP: top * loose_arm,
        Layer.OUTER: coat,
        Layer.STRAP: (coat if outer else top) + 0.012,
    }
    return np.asarray(np.select([layer == kind for kind in by_layer], list(by_layer.values()), 0.0), np.float32)
