"""Reading MakeHuman's files: what is in them, and that damaged ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.synthetic.makehuman import BASE_VERTICES, read_asset
from partreid.errors import DataError

BINDING = """# A comment
basemesh hm08
tag Female
obj_file shirt.obj
x_scale 1 2 1.5
material shirt.mhmat
verts 0
10
11
12
10 11 12 0.5 0.25 0.25 0.1 0.2 0.3
delete_verts
5 - 9
"""
MESH = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
f 1/1 2/2 3/3 4/1
f 1/1 2/2 3/3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "assets"
    shirt = root / "clothes" / "shirt"
    shirt.mkdir(parents=True)
    (shirt / "shirt.mhclo").write_text(BINDING)
    (shirt / "shirt.obj").write_text(MESH)
    (shirt / "shirt.mhmat").write_text("diffuseTexture shirt.png\naomapTexture never_there.png\n")
    Image.new("RGB", (8, 8), (255, 0, 51)).save(shirt / "shirt.png")
    return root


def change(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "clothes" / "shirt" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_is_read(folder: Path) -> None:
    asset = read_asset(folder / "clothes/shirt/shirt.mhclo", folder, "clothes")
    assert (asset.name, asset.tags) == ("clothes/shirt/shirt", ("female",))
    assert asset.rows.tolist() == [[10] * 3, [11] * 3, [12] * 3, [10, 11, 12]]
    assert asset.weights[:2].tolist() == [[1, 0, 0]] * 2
    np.testing.assert_allclose(asset.weights[3], [0.5, 0.25, 0.25])
    np.testing.assert_allclose(asset.offsets[3], [0.1, 0.2, 0.3])
    assert asset.scales[0] == (1, 2, 1.5)
    assert asset.faces.tolist() == [[0, 1, 2, 3], [0, 1, 2, 2]]
    assert asset.uvs[asset.face_uvs[1, 2]].tolist() == [1, 1]
    assert asset.diffuse is not None
    np.testing.assert_allclose(asset.diffuse[5, 5], [1, 0, 0.2, 1], atol=1e-6)
    assert asset.shade is None


def test_digest_tells_every_file(folder: Path) -> None:
    path = folder / "clothes/shirt/shirt.mhclo"
    digests = [read_asset(path, folder, "clothes").digest]
    change(folder, "shirt.obj", "v 0 1 0", "v 0 2 0")
    digests.append(read_asset(path, folder, "clothes").digest)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "clothes/shirt/shirt.png")
    digests.append(read_asset(path, folder, "clothes").digest)
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("shirt.mhclo", "\n11\n", f"\n{BASE_VERTICES}\n", "below 19158"),
        ("shirt.mhclo", "0.25 0.25 0.1", "nan 0.25 0.1", "damaged"),
        ("shirt.mhclo", "0.25 0.25 0.1", "0.25 1e30 0.1", "damaged"),
        ("shirt.mhclo", "\n11\n", "\n11 12\n", "damaged"),
        ("shirt.mhclo", "\n11\n", "\n1" + "0" * 5000 + "\n", "damaged"),
        ("shirt.mhclo", "hm08", "alpha7", "base mesh 'alpha7'"),
        ("shirt.mhclo", "obj_file shirt.obj", "", "no obj_file"),
        ("shirt.mhclo", "shirt.obj", "other.obj", "is missing"),
        ("shirt.mhclo", "shirt.obj", "../../../secret.obj", "outside the asset folder"),
        ("shirt.mhclo", "shirt.obj", "nul\0.obj", "no file can have this name"),
        ("shirt.mhclo", "x_scale 1 2 1.5", "x_scale 1 2 0", "x_scale"),
        ("shirt.mhclo", "x_scale 1 2 1.5", "x_scale 1 99999999999999 1", "x_scale"),
        ("shirt.mhmat", "shirt.png", "/etc/passwd", "outside the asset folder"),
        ("shirt.obj", "v 0 1 0\n", "", "3 vertices, but 4 are bound"),
        ("shirt.obj", "4/1", "5/1", "does not have"),
        ("shirt.obj", "4/1", "1000000000/1", "does not have"),
        ("shirt.obj", "4/1", f"{10**30}/1", "an impossible vertex number"),
        ("shirt.obj", "4/1", "-1/1", "does not have"),
        ("shirt.obj", "4/1", "4/9", "texture coordinates"),
        ("shirt.obj", "vt 1 1", "vt inf 1", "texture coordinates"),
        ("shirt.obj", "4/1", "four", "damaged"),
        ("shirt.obj", "4/1", "4/1 1/1", "5 corners"),
    ],
)
def test_refused(folder: Path, name: str, old: str, new: str, words: str) -> None:
    (folder.parent / "secret.obj").write_text(MESH)
    change(folder, name, old, new)
    with pytest.raises(DataError, match=words):
        read_asset(folder / "clothes/shirt/shirt.mhclo", folder, "clothes")


def test_no_image(folder: Path) -> None:
    (folder / "clothes/shirt/shirt.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(DataError, match="no image"):
        read_asset(folder / "clothes/shirt/shirt.mhclo", folder, "clothes")


def test_a_link_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / "secret.obj"
    outside.write_text(MESH)
    inside = folder / "clothes/shirt/shirt.obj"
    inside.unlink()
    inside.symlink_to(outside)
    with pytest.raises(DataError, match="outside the asset folder"):
        read_asset(folder / "clothes/shirt/shirt.mhclo", folder, "clothes")
