"""Pieces of clothing made of MakeHuman assets: split by where they sit, simplified, and bound to the base mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.synthetic.base_mesh import BaseMesh
from partreid.datasets.synthetic.body import NO_ARM, Floats, Ints, Landmarks, components
from partreid.datasets.synthetic.makehuman import Asset

PARTS = ("top", "bottom", "whole", "shoes", "hat", "hair")
"""Kinds of pieces; a whole is worn instead of a top and a bottom."""

_CELLS = {"shoes": 0.018, "hat": 0.012, "hair": 0.011, "skirt": 0.001}
"""Size in metres of the cells in which a part's vertices are merged; other parts have :data:`_CELL`."""
_CELL = 0.017
_BONES = 4
"""Number of bones that move a vertex."""
_HAIR_STEP = 0.015
"""Size in metres to which faces of hair are divided before transparent ones are dropped."""
_ARM_SHIFT = 10.0
"""Added to a pattern's coordinate on sleeves, so that sleeves and chest share no place of the pattern."""
_LEFT_FOOT, _RIGHT_FOOT, _TORSO, _HEAD = 6, 7, 1, 0


@dataclass(frozen=True)
class Piece:
    """One piece, bound to the base mesh.

    Attributes:
        name: of its asset and its kind. part: one of :data:`PARTS`, or "skirt". digest: of the asset's files.
        rows: [C, n] vertices of the base mesh. shares: [C, n] their weights. offsets: [C, 3] in units of ``scales``.
        scales: for x, y, z of anny's frame two vertices and their distance on the author's body.
        template: [C, 4] places on the template body, with the place along the arm. weights, bone_ids: [C, 4].
        welded: [F, 3] corners among the C places. place: [V] the place of each drawn vertex.
        coords: [V, 4] around the body and upwards for patterns, then texture coordinates. faces: [F, 3] of drawn
            vertices. region: [F] value in a part map.
        detail: [h, w] brightness of the cloth relative to its mean. tint: [h, w, 3] the same for each colour.
    """

    name: str
    part: str
    digest: str
    rows: Ints
    shares: Floats
    offsets: Floats
    scales: tuple[tuple[int, int, float], ...]
    template: Floats
    weights: Floats
    bone_ids: Ints
    welded: Ints
    place: Ints
    coords: Floats
    faces: Ints
    region: Ints
    detail: Floats
    tint: Floats

    def fit(self, base: Floats) -> Floats:
        """The piece's places [C, 3] on a body in rest pose, given by the base mesh's vertices [19158, 3]."""
        return fitted(self.rows, self.shares, self.offsets, self.scales, base)


def fitted(
    rows: Ints, shares: Floats, offsets: Floats, scales: tuple[tuple[int, int, float], ...], base: Floats
) -> Floats:
    """Places [C, 3] bound to the base mesh: weighted sums of its vertices, plus offsets that grow with the body."""
    size = [abs(base[a, axis] - base[b, axis]) / length for axis, (a, b, length) in enumerate(scales)]
    return np.asarray(np.einsum("cn,cna->ca", shares, base[rows]) + offsets * np.asarray(size, np.float32), np.float32)


def make_pieces(asset: Asset, base: BaseMesh, marks: Landmarks) -> list[Piece]:
    """The pieces of an asset; none if it cannot be used here (glasses, gloves)."""
    bound = _Bound.of(asset, base)
    if asset.kind == "hair":
        return [_piece(asset, base, _strands(asset, bound), "hair")]
    out = []
    for part, chosen in _split(asset, bound.places, marks).items():
        faces = asset.faces[chosen], asset.face_uvs[chosen]
        out.append(_piece(asset, base, _Faces(bound, *faces, asset.uvs), part))
    return out


def make_skirt(base: BaseMesh, marks: Landmarks, end: float) -> Piece:
    """The base mesh's skirt from the waist to ``end`` on the leg (0 hip .. 1 ankle)."""
    leg = (marks.hip - base.template[base.skirt, 2].mean(axis=1)) / (marks.hip - marks.ankle)
    last = float(np.interp(end, leg, np.arange(len(leg))))
    at = np.append(np.arange(int(last - 0.3) + 1), last)  # a ring just above the hem is left out
    above = at.astype(int).clip(0, len(leg) - 2)
    rows = np.stack([base.skirt[above], base.skirt[above + 1]], axis=-1).reshape(-1, 2)
    below = np.repeat(at - above, base.skirt.shape[1])
    shares = np.stack([1 - below, below], axis=-1).astype(np.float32)
    vertex = np.arange(len(rows)).reshape(len(at), -1)
    beside = np.roll(vertex, -1, axis=1)
    faces = np.stack([vertex[:-1], vertex[1:], beside[1:], beside[:-1]], axis=-1).reshape(-1, 4).astype(np.int32)
    nothing = np.zeros((len(rows), 3), np.float32)
    asset = Asset(
        f"skirt to {end:.2f}", "clothes", (), rows, shares, nothing, ((0, 1, 1.0),) * 3, faces, faces,
        nothing[:, :2], None, None, "",
    )  # fmt: skip
    return _piece(asset, base, _Faces(_Bound.of(asset, base), faces, faces, asset.uvs), "skirt")


@dataclass(frozen=True)
class _Bound:
    """An asset's vertices on the base mesh, in anny's frame."""

    rows: Ints
    shares: Floats
    offsets: Floats
    scales: tuple[tuple[int, int, float], ...]
    places: Floats

    @staticmethod
    def of(asset: Asset, base: BaseMesh) -> _Bound:
        x, y, z = asset.offsets.T
        offsets = np.stack([x, -z, y], axis=1)
        scales = (asset.scales[0], asset.scales[2], asset.scales[1])
        places = fitted(asset.rows, asset.weights, offsets, scales, base.template)
        return _Bound(asset.rows, asset.weights, offsets, scales, places)


@dataclass(frozen=True)
class _Faces:
    """Faces [F, 4] of bound vertices, and of texture coordinates [T, 2]."""

    bound: _Bound
    faces: Ints
    face_uvs: Ints
    uvs: Floats


def _split(asset: Asset, places: Floats, marks: Landmarks) -> dict[str, NDArray[np.bool_]]:
    """Which faces [F] belong to which part."""
    z = places[asset.faces, 2]
    everything = np.ones(len(z), bool)
    if z.max() < marks.knee:
        return {"shoes": everything}
    if z.min() > marks.neck:
        return {"hat": everything} if z.max() > marks.crown - 0.03 else {}
    if np.abs(places[asset.faces, 0]).min() > 0.25:  # gloves
        return {}
    border = marks.hip + 0.12
    below = np.zeros(len(z), bool)
    connected = components(len(places), asset.faces)[asset.faces[:, 0]]
    islands = components(len(asset.uvs), asset.face_uvs)[asset.face_uvs[:, 0]]
    for one in np.unique(connected):
        mine = connected == one
        groups = [mine]
        if _spans(z[mine], marks):
            groups = [mine & (islands == island) for island in np.unique(islands[mine])]
        for group in groups:
            if _spans(z[group], marks):
                return {"whole": everything}
            below[group] = z[group].mean() < border
    found = {part: chosen for part, chosen in (("top", ~below), ("bottom", below)) if chosen.any()}
    if "top" in found and z[found["top"]].min() > marks.waist + 0.12:  # it bares the belly, which is rare in a street
        del found["top"]
    return found


def _spans(z: Floats, marks: Landmarks) -> bool:
    """Whether the piece covers the chest and the thighs."""
    return bool(z.max() > marks.waist + 0.2 and z.min() < marks.hip - 0.2)


def _strands(asset: Asset, bound: _Bound) -> _Faces:
    """Hair divided into small faces, without those that are transparent."""
    corners = bound.places[asset.faces]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    steps = int(np.clip(np.ceil(np.median(sides.max(axis=1)) / _HAIR_STEP), 1, 3))
    t = np.linspace(0, 1, steps + 1, dtype=np.float32)
    a, b = (x.ravel() for x in np.meshgrid(t, t, indexing="ij"))
    mix = np.stack([(1 - a) * (1 - b), a * (1 - b), a * b, (1 - a) * b], axis=1)  # [S, 4] of a quad's corners
    at = np.arange(len(mix)).reshape(steps + 1, steps + 1)
    cells = np.stack([at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]], axis=-1).reshape(-1, 4)
    quads, uv_quads = asset.faces, asset.uvs[asset.face_uvs]
    shares = np.einsum("sk,fkn->fskn", mix, bound.shares[quads]).reshape(-1, 4 * 3)
    rows = np.repeat(bound.rows[quads][:, None], len(mix), axis=1).reshape(-1, 4 * 3)
    offsets, places, uvs = (
        np.einsum("sk,fka->fsa", mix, x).reshape(-1, x.shape[-1]) for x in (bound.offsets[quads], corners, uv_quads)
    )
    faces = (np.arange(len(quads))[:, None, None] * len(mix) + cells).reshape(-1, 4).astype(np.int32)
    if asset.diffuse is not None:
        opaque = lookup(asset.diffuse[..., 3], uvs[faces].mean(axis=1)) > 0.5
        faces = faces[opaque]
    return _Faces(_Bound(rows.astype(np.int32), shares, offsets, bound.scales, places), faces, faces, uvs)


def _piece(asset: Asset, base: BaseMesh, source: _Faces, part: str) -> Piece:
    bound = source.bound
    kept, welded, face_uvs = _merged(source, _CELLS.get(part, _CELL))
    rows, shares, offsets = bound.rows[kept], bound.shares[kept], bound.offsets[kept]
    influence = np.einsum("cn,cnj->cj", shares, base.weights[rows]).clip(0)
    bone_ids = np.argsort(-influence, axis=1, kind="stable")[:, :_BONES]
    weights = np.take_along_axis(influence, bone_ids, axis=1)
    heaviest = np.take_along_axis(rows, shares.argmax(axis=1)[:, None], axis=1)[:, 0]
    arm = base.arm[heaviest]
    template = np.column_stack([bound.places[kept], arm]).astype(np.float32)
    islands = components(len(source.uvs), face_uvs) if part != "hair" else np.zeros(len(source.uvs), np.int64)
    place, coords, faces = _patterned(template, welded, source.uvs[face_uvs], islands[face_uvs])
    detail, tint = _maps(asset, coords[:, 2:])
    return Piece(
        name=f"{asset.name}:{part}",
        part=part,
        digest=asset.digest,
        rows=rows,
        shares=shares,
        offsets=offsets,
        scales=bound.scales,
        template=template,
        weights=(weights / weights.sum(axis=1, keepdims=True).clip(1e-6)).astype(np.float32),
        bone_ids=bone_ids.astype(np.int32),
        welded=welded,
        place=place,
        coords=coords,
        faces=faces,
        region=_regions(part, base.region[heaviest], template, welded),
        detail=detail,
        tint=tint,
    )


def _merged(source: _Faces, cell: float) -> tuple[Ints, Ints, Ints]:
    """Merge vertices that share a small cell.

    Returns:
        The vertices kept [C], triangles among them [F, 3], and their texture coordinates [F, 3].
    """
    used = np.unique(source.faces)
    key = np.round(source.bound.places[used] / cell).astype(np.int64)
    _, first, member = np.unique(key, axis=0, return_index=True, return_inverse=True)
    number = np.zeros(len(source.bound.places), np.int64)
    number[used] = member.ravel()
    split = np.array([[0, 1, 2], [0, 2, 3]])
    corners, face_uvs = (x[:, split].reshape(-1, 3) for x in (source.faces, source.face_uvs))
    welded = number[corners]
    low, mid, high = np.sort(welded, axis=1).T
    solid = np.flatnonzero((low != mid) & (mid != high))
    _, once = np.unique(np.stack([low, mid, high], 1)[solid], axis=0, return_index=True)
    chosen = solid[np.sort(once)]
    return used[first], welded[chosen].astype(np.int32), face_uvs[chosen]


def _patterned(template: Floats, welded: Ints, uvs: Floats, islands: NDArray[np.int64]) -> tuple[Ints, Floats, Ints]:
    """Drawn vertices: one for each place and each pattern coordinate and texture island that meet there.

    ``uvs``: [F, 3, 2] texture coordinates of the corners. ``islands``: [F, 3].

    Returns:
        The place of each vertex [V], coordinates [V, 4] and faces [F, 3].
    """
    x, y, z, arm = template.T
    is_arm = np.sort(arm[welded] > NO_ARM / 2 - 0.1, axis=1)[:, 1]
    angle = np.arctan2(x, -(y + 0.02))[welded]
    # The angle jumps behind the body, so a face across the jump gets angles that continue beyond it.
    behind = ((np.ptp(angle, axis=1) > np.pi) & ~is_arm)[:, None] & (angle < 0)
    key = np.stack([welded, islands, np.repeat(is_arm[:, None], 3, 1), behind], axis=-1).reshape(-1, 4)
    _, first, member = np.unique(key, axis=0, return_index=True, return_inverse=True)
    member = member.ravel()
    place = welded.ravel()[first]
    on_arm, turned = key[first, 2] > 0, key[first, 3]
    around = np.where(on_arm, y[place] + _ARM_SHIFT, (angle.ravel()[first] + 2 * np.pi * turned) * 0.15)
    up = np.where(on_arm, 0.45 - 0.55 * arm[place], z[place])
    coords = np.column_stack([around, up, uvs.reshape(-1, 2)[first]]).astype(np.float32)
    return place.astype(np.int32), coords, member.reshape(-1, 3).astype(np.int32)


def _regions(part: str, region: Ints, template: Floats, welded: Ints) -> Ints:
    """The value in a part map [F] of each face: sleeves are arms, trousers legs, shoes feet, hats and hair the head."""
    if part in ("hat", "hair"):
        return np.full(len(welded), _HEAD + 1, np.int32)
    if part == "shoes":
        region = np.where(template[:, 0] > 0, _LEFT_FOOT, _RIGHT_FOOT).astype(np.int32)
    else:
        region = np.where(region >= _LEFT_FOOT, region - 2, region)
        region = np.where(region == _HEAD, _TORSO, region)
    return (np.sort(region[welded], axis=1)[:, 1] + 1).astype(np.int32)


def _maps(asset: Asset, uvs: Floats) -> tuple[Floats, Floats]:
    """Brightness of the cloth relative to its mean, from occlusion and the texture, as luminance and by colour."""
    detail, tint = np.ones((1, 1), np.float32), np.ones((1, 1, 3), np.float32)
    if asset.shade is not None:
        detail = _about_mean(asset.shade, uvs, 0.55, 1.3)
        tint = detail[..., None]
    if asset.diffuse is not None:
        colour = asset.diffuse[..., :3]
        luminance = colour @ np.array([0.299, 0.587, 0.114], np.float32)
        if asset.kind == "hair":  # merged strands reach over the gaps between them
            seen = asset.diffuse[..., 3] > 0.5
            luminance = np.where(seen, luminance, luminance[seen].mean() if seen.any() else 1)
        detail = detail * _about_mean(luminance, uvs, 0.55, 1.6)
        tint = tint * np.stack([_about_mean(colour[..., k], uvs, 0.3, 2.0) for k in range(3)], axis=-1)
    return detail.clip(0.4, 1.7), tint.clip(0.25, 2.0)


def _about_mean(values: Floats, uvs: Floats, low: float, high: float) -> Floats:
    mean = float(lookup(values, uvs).mean())
    return np.asarray((values / max(mean, 0.02)).clip(low, high), np.float32)


def lookup(values: Floats, uvs: Floats) -> Floats:
    """Values [N] or [N, n] of a texture [h, w] or [h, w, n] at coordinates [N, 2]; it repeats beyond its border."""
    height, width = values.shape[:2]
    column = (uvs[:, 0] * width).astype(np.int64) % width
    row = ((1 - uvs[:, 1]) * height).astype(np.int64) % height
    return np.asarray(values[row, column])
