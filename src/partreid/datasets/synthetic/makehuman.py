"""Read MakeHuman assets: a garment's mesh (.obj), its binding to the base mesh (.mhclo) and its textures (.mhmat).

A folder may come from anybody. So only small texts and images inside the folder are read, and other files are refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.datasets.synthetic.body import Floats, Ints
from partreid.errors import DataError

BASE_VERTICES = 19158
"""Vertices of MakeHuman's base mesh hm08, its helpers included."""

_LARGEST_FILE = 64 * 2**20
_MOST_VERTICES = 100_000
_MOST_PIXELS = 64 * 2**20
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "TGA")
_TEXTURE_SIZE = 256
"""Pixels per side of a texture in memory, because a garment has fewer pixels in any image."""
_FURTHEST = 100.0
"""Greatest weight of a binding, and its greatest offset in decimetres."""
_AXES = ("x_scale", "y_scale", "z_scale")


@dataclass(frozen=True)
class Asset:
    """A garment or hair as its files give it, in MakeHuman's frame (x left, y up, z front, decimetres).

    Attributes:
        name: path within the asset folder without suffix. kind: "clothes" or "hair". tags: in lower case.
        rows: [V, 3] vertices of the base mesh. weights: [V, 3] their shares. offsets: [V, 3] in units of ``scales``.
        scales: for x, y and z two vertices of the base mesh, and their distance along that axis on the author's body.
        faces, face_uvs: [F, 4] corners; a triangle repeats its last one. uvs: [T, 2] in [0, 1], v upwards.
        diffuse: [h, w, 4] in [0, 1], or None. shade: ambient occlusion [h, w] in [0, 1], or None.
        digest: SHA-256 over all its files.
    """

    name: str
    kind: str
    tags: tuple[str, ...]
    rows: Ints
    weights: Floats
    offsets: Floats
    scales: tuple[tuple[int, int, float], ...]
    faces: Ints
    face_uvs: Ints
    uvs: Floats
    diffuse: Floats | None
    shade: Floats | None
    digest: str


def read_asset(path: Path, root: Path, kind: str) -> Asset:
    """Read one asset.

    Args:
        path: the .mhclo file. root: the asset folder; nothing outside it is read. kind: "clothes" or "hair".

    Raises:
        DataError: a file is missing, damaged, too large, outside the folder, or for another base mesh.
    """
    files = _Files(root)
    head, rows = _binding(files.inside(path, path.name), files)
    if head.get("basemesh", ["hm08"])[0] != "hm08":
        raise DataError(f"{path} is for the base mesh {head['basemesh'][0]!r}. Assets for hm08 can be used.")
    if "obj_file" not in head:
        raise DataError(f"{path} names no obj_file. It is no MakeHuman clothes file, or is damaged.")
    table = np.array(rows)
    mesh = files.inside(path, head["obj_file"][0])
    uvs, faces, face_uvs = _mesh(mesh, len(table), files)
    textures = _material(files.inside(path, head["material"][0]), files) if "material" in head else {}
    diffuse, shade = (_texture(textures.get(k), files) for k in ("diffuseTexture", "aomapTexture"))
    return Asset(
        name=path.relative_to(root).with_suffix("").as_posix(),
        kind=kind,
        tags=tuple(tag.lower() for tag in head.get("tag", [])),
        rows=table[:, :3].astype(np.int32),
        weights=table[:, 3:6].astype(np.float32),
        offsets=table[:, 6:].astype(np.float32),
        scales=tuple(_scale(path, head, axis) for axis in _AXES),
        faces=faces,
        face_uvs=face_uvs,
        uvs=uvs,
        diffuse=diffuse,
        shade=None if shade is None else shade[..., :3].mean(axis=2),
        digest=files.digest(),
    )


class _Files:
    """Reads files within a folder, and computes a digest of what was read."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._sum = hashlib.sha256()

    def inside(self, beside: Path, name: str) -> Path:
        """The file ``name`` beside another one."""
        try:
            found = (beside.parent / name).resolve()
        except (OSError, ValueError) as error:
            raise DataError(f"{beside} names the file {name!r:.80}, but no file can have this name: {error}.") from None
        if not found.is_relative_to(self._root):
            raise DataError(f"{beside} names {name!r:.80}, which lies outside the asset folder {self._root}.")
        return found

    def read(self, path: Path) -> bytes:
        try:
            if not path.is_file():
                raise DataError(f"{path} is missing, or is no file. Copy the asset's whole folder.")
            if (size := path.stat().st_size) > _LARGEST_FILE:
                raise DataError(f"{path} has {size} bytes; an asset's file has at most {_LARGEST_FILE}.")
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
        self._sum.update(len(content).to_bytes(8, "big") + content)
        return content

    def lines(self, path: Path) -> list[list[str]]:
        """The words of each line that is not empty; comments are left out."""
        text = self.read(path).decode("utf-8", errors="replace")
        return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]

    def digest(self) -> str:
        return self._sum.hexdigest()


def _binding(path: Path, files: _Files) -> tuple[dict[str, list[str]], list[list[float]]]:
    """The .mhclo file: its head as a mapping from a word to the rest of its lines, and its rows of 9 numbers.

    A row is one vertex of the base mesh, or three with weights and an offset. Lines of the head may also follow
    ``verts``. After ``delete_verts`` the file lists the vertices that MakeHuman hides. They are ignored, because the
    renderer finds hidden vertices itself.
    """
    head: dict[str, list[str]] = {}
    rows: list[list[float]] = []
    reading = False
    for words in files.lines(path):
        if words[0] in ("verts", "delete_verts"):
            reading = words[0] == "verts"
        elif words[0].lstrip("-").isdigit():
            if reading:
                rows.append(_row(path, words))
        elif len(words) > 1:
            head.setdefault(words[0], []).append(" ".join(words[1:]))
    if not 3 <= len(rows) <= _MOST_VERTICES:
        raise DataError(f"{path} binds {len(rows)} vertices. A garment has 3 to {_MOST_VERTICES}.")
    return head, rows


def _row(path: Path, words: list[str]) -> list[float]:
    try:
        row = [float(w) for w in words]
    except ValueError:
        row = []
    if len(row) == 1:
        row = [row[0]] * 3 + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    if len(row) == 6:
        row += [0.0, 0.0, 0.0]
    is_good = (
        len(row) == 9
        and all(0 <= i < BASE_VERTICES and i == int(i) for i in row[:3])
        and all(abs(x) <= _FURTHEST for x in row[3:])  # false for NaN
    )
    if not is_good:
        raise DataError(
            f"{path} has the row {' '.join(words)!r:.80}. Expected a vertex below {BASE_VERTICES}, or three with "
            f"weights and an offset, all at most {_FURTHEST:g}. The file is damaged."
        )
    return row


def _scale(path: Path, head: dict[str, list[str]], axis: str) -> tuple[int, int, float]:
    """Two vertices and their distance. If the file has none, offsets are in decimetres, by the whole body's height."""
    words = head.get(axis, ["791 881 2.4"])[0].split()
    try:
        first, second, length = int(words[0]), int(words[1]), float(words[2])
    except (ValueError, IndexError):
        first, second, length = -1, -1, 0.0
    if not (0 <= first < BASE_VERTICES and 0 <= second < BASE_VERTICES and 0.01 <= length <= _FURTHEST):
        raise DataError(
            f"{path} has {axis} {' '.join(words)!r:.60}. Expected two vertices of the base mesh and a length."
        )
    return first, second, length


def _mesh(path: Path, count: int, files: _Files) -> tuple[Floats, Ints, Ints]:
    """The .obj file: texture coordinates [T, 2], and faces and their texture coordinates [F, 4]."""
    vertices = 0
    uvs: list[list[float]] = [[0.0, 0.0]]
    corners: list[list[int]] = []
    places: list[list[int]] = []
    try:
        for words in files.lines(path):
            if words[0] == "v":
                vertices += 1
            elif words[0] == "vt":
                uvs.append([float(words[1]), float(words[2])])
            elif words[0] == "f":
                face = [[*w.split("/"), ""][:2] for w in words[1:]]
                if not 3 <= len(face) <= 4:
                    raise DataError(f"{path} has a face of {len(face)} corners. Triangles and quads can be used.")
                face += face[2:3] * (4 - len(face))
                corners.append([int(v) - 1 for v, _ in face])
                places.append([int(t or 0) for _, t in face])
    except DataError:
        raise
    except (ValueError, IndexError):
        raise DataError(f"{path} is no .obj file, or is damaged.") from None
    if vertices != count:
        raise DataError(f"{path} has {vertices} vertices, but {count} are bound. The files belong to different assets.")
    try:
        faces, face_uvs = (np.array(x, np.int32).reshape(-1, 4) for x in (corners, places))
        table = np.array(uvs, np.float32)
    except OverflowError:
        raise DataError(f"{path} is damaged: a face has an impossible vertex number.") from None
    if not len(faces) or faces.min() < 0 or faces.max() >= vertices:
        raise DataError(f"{path} has no faces, or a face names a vertex that the file does not have.")
    if face_uvs.min() < 0 or face_uvs.max() >= len(table) or not np.isfinite(table).all():
        raise DataError(f"{path} has texture coordinates that are no numbers, or a face names missing ones.")
    return table, faces, face_uvs


def _material(path: Path, files: _Files) -> dict[str, Path]:
    """The .mhmat file's textures. A missing file means plain cloth: MakeHuman's hats name one that never existed."""
    if not path.is_file():
        return {}
    return {
        words[0]: files.inside(path, " ".join(words[1:]))
        for words in files.lines(path)
        if words[0].endswith("Texture") and len(words) > 1
    }


def _texture(path: Path | None, files: _Files) -> Floats | None:
    """A texture [h, w, 4] in [0, 1]; None if the material has none."""
    if path is None or not path.is_file():
        return None
    files.read(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(f"{path} has {image.width}×{image.height} pixels, more than any texture needs.")
            pixels: NDArray[np.uint8] = np.asarray(image.convert("RGBA").resize((_TEXTURE_SIZE, _TEXTURE_SIZE)))
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no image that can be read: {error}.") from None
    return np.asarray(pixels, np.float32) / np.float32(255)
