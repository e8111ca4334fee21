"""Rendering tiny sets. Skipped where the renderer's libraries are missing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("anny")
pytest.importorskip("warp")

from partreid.datasets.readers import read_dataset
from partreid.datasets.synthetic import dataset, manifest
from partreid.datasets.synthetic.base_mesh import load_base_mesh
from partreid.datasets.synthetic.body import BELONGINGS, REGIONS, Floats, load_body_model, vertex_normals
from partreid.datasets.synthetic.cameras import Camera, make_camera
from partreid.datasets.synthetic.close_fit import lie_on_tights
from partreid.datasets.synthetic.dataset import render_dataset
from partreid.datasets.synthetic.facts import FACTS, facts_of, light_kind, typology_angle
from partreid.datasets.synthetic.framing import Box, Occlusion, bounds, seen_keypoints, silhouette, spoil_keypoints
from partreid.datasets.synthetic.garments import Layer, body_surface, dress, layers, leg_coordinate
from partreid.datasets.synthetic.meshes import box as make_box
from partreid.datasets.synthetic.meshes import plain
from partreid.datasets.synthetic.people import PosedPerson, pose_person
from partreid.datasets.synthetic.poses import Pose
from partreid.datasets.synthetic.raytrace import Scene, TracedMesh, start_warp
from partreid.datasets.synthetic.render import people_of
from partreid.datasets.synthetic.render_config import SyntheticConfig, plan_images
from partreid.datasets.synthetic.wardrobe import Bag, Bottom, Hair, Outer
from partreid.errors import ConfigError, MissingDependencyError
from partreid.labels.draw import draw_pose_fields
from partreid.parts import KEYPOINTS

TINY = SyntheticConfig(
    train_identities=2, test_identities=2, train_images=2, gallery_images=2, query_images=1,
    image_height=64, image_width=32, seed=3, samples=1, train_occluded=0.5, cameras=3, company=0.8,
)  # fmt: skip


def digest(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_dataset(TINY, tmp_path_factory.mktemp("rendered") / "set", workers=1)


def test_layout(rendered: Path) -> None:
    found = read_dataset(rendered)
    assert (len(found.train), len(found.gallery), len(found.query)) == (4, 4, 2)
    with (rendered / "pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(plan_images(TINY))
    for row in rows:
        with Image.open(rendered / row["path"]) as image:
            assert (image.size, image.mode) == ((32, 64), "RGB")
        fields = np.load(rendered / "masks" / "rendered" / row["path"].replace(".jpg", ".npy"))
        assert (fields.shape, fields.dtype) == ((36, 9, 5), np.uint8)
    assert not list(rendered.rglob(".*"))


def test_same_bytes_with_more_workers(rendered: Path, tmp_path: Path) -> None:
    assert digest(render_dataset(TINY, tmp_path / "two", workers=2)) == digest(rendered)


def test_resume_after_a_kill(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "set"
    shutil.copytree(rendered, out)
    # As a kill in the third image leaves it: no index, its label there, the image not, a temporary file.
    (out / "pictures.csv").unlink()
    plan = plan_images(TINY)
    for planned in plan[3:]:
        for path in dataset.files_of(out, planned):
            path.unlink()
    dataset.files_of(out, plan[2])[-1].unlink()
    kept = dataset.files_of(out, plan[0])[-1]
    stamp = kept.stat().st_mtime_ns
    told: list[int] = []

    @contextmanager
    def progress(job: str, total: int, /) -> Iterator[Callable[[int], None]]:
        assert (job, total) == ("rendering", len(plan))
        yield told.append

    render_dataset(TINY, out, workers=1, progress=progress)
    assert told == [2] + [1] * (len(plan) - 2), "as it goes, not at the end"
    assert kept.stat().st_mtime_ns == stamp
    assert digest(out) == digest(rendered)


def test_other_options_in_the_same_folder(rendered: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed = 3 there, 4 here"):
        render_dataset(TINY.model_copy(update={"seed": 4}), rendered)
    copied = tmp_path / "old"
    copied.mkdir()
    (copied / "synthetic.json").write_text(
        (rendered / "synthetic.json").read_text().replace('"renderer": 3', '"renderer": 2')
    )
    with pytest.raises(ConfigError, match="renderer 2; renderer 3 makes other images"):
        render_dataset(TINY, copied)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not empty"):
        render_dataset(TINY, tmp_path)


def test_without_the_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"partreid\[synth\]\""):
        render_dataset(TINY, tmp_path / "set")


@pytest.fixture(scope="module")
def camera() -> Camera:
    return make_camera((0,), 0, 2)


@pytest.fixture(scope="module")
def person(camera: Camera) -> PosedPerson:
    start_warp()
    model = load_body_model()
    body = dress(model, people_of(TINY)[0])
    return pose_person(model, body, np.random.default_rng(1), yaw=0.4).at(0.0, camera.near)


def around(camera: Camera, person: PosedPerson) -> Box:
    return bounds(camera.project(person.mesh.vertices))


def see(camera: Camera, person: PosedPerson, box: Box, wall: TracedMesh | None = None) -> Floats:
    scene = Scene(TracedMesh(person.mesh), [] if wall is None else [wall], None)
    return seen_keypoints(scene, camera, person.keypoints, box, (128, 64)).astype(np.float32)


def test_stands_on_the_ground_and_faces_the_camera(person: PosedPerson) -> None:
    assert abs(person.mesh.vertices[:, 2].min()) < 0.03
    z = dict(zip(KEYPOINTS, person.keypoints[:, 2], strict=True))
    assert z["nose"] > z["left_shoulder"] > z["left_hip"] > z["left_knee"] > z["left_ankle"] > 0
    x = dict(zip(KEYPOINTS, person.keypoints[:, 0], strict=True))
    assert x["left_shoulder"] > x["right_shoulder"]  # yaw near 0 looks at the camera, the left is at its right


def test_a_hood_hides_the_hair() -> None:
    start_warp()
    model, someone = load_body_model(), people_of(TINY)[0]
    hood = Outer(someone.outfit.top.cloth, 1.0, 0.0, 0.0, 0.03, hood=True, hooded=True)
    outfit = replace(someone.outfit, outer=hood, hair=Hair("bun", (0.2, 0.1, 0.1)), scarf=(0.5, 0.1, 0.1))
    coords = np.concatenate([model.template, model.arm[:, None]], axis=1)
    seen = layers(coords, outfit, model.landmarks)
    z, y = model.template[:, 2], model.template[:, 1]
    assert (seen[z > model.landmarks.crown - 0.03] == Layer.OUTER).all()
    assert not (seen == Layer.HAIR)[y > 0].any()
    assert (seen == Layer.SKIN)[(z > model.landmarks.chin) & (y < -0.08)].any(), "the face"
    with_hood = pose_person(model, dress(model, replace(someone, outfit=outfit)), np.random.default_rng(1), yaw=0.0)
    without = replace(outfit, outer=replace(hood, hooded=False), scarf=None)
    bare = pose_person(model, dress(model, replace(someone, outfit=without)), np.random.default_rng(1), yaw=0.0)
    colours = [{tuple(s(m.coords[:1])[0]) for s in m.surfaces[2:]} for m in (with_hood.mesh, bare.mesh)]
    assert any(np.allclose(c, (0.5, 0.1, 0.1)) for c in colours[0])
    assert any(np.allclose(c, (0.2, 0.1, 0.1)) for c in colours[1] - colours[0]), "no bun sticks out of a hood"


@pytest.mark.parametrize("end", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("pose", ["walking", "standing", "cycling"])
def test_a_skirt_covers_the_thighs_in_every_pose(camera: Camera, end: float, pose: Pose) -> None:
    start_warp()
    model, someone = load_body_model(), people_of(TINY)[0]
    outfit = replace(
        someone.outfit, top=replace(someone.outfit.top, skirt=0.0), outer=None, bag=Bag("none"),
        bottom=Bottom(someone.outfit.top.cloth, end, skirt=True),
    )  # fmt: skip
    body = dress(model, replace(someone, outfit=outfit))
    assert body.worn is not None
    mesh = pose_person(model, body, np.random.default_rng(2), yaw=0.7, pose=pose).at(0.0, camera.near).mesh
    hits = Scene(TracedMesh(mesh), [], None).trace(
        camera.origin, camera.rays(bounds(camera.project(mesh.vertices)).grid(160, 80))
    )
    seen = hits.face[hits.mesh == 0]
    first, count = len(body.faces), len(body.worn.mesh.faces)
    cloth = (seen >= first) & (seen < first + count)
    leg = leg_coordinate(mesh.coords[mesh.faces[seen]].mean(axis=1)[:, 2], model.landmarks)
    is_leg = np.isin(mesh.region[seen], [1 + REGIONS.index(f"{side}_leg") for side in ("left", "right")])
    assert not (~cloth & is_leg & (leg < end - 0.12)).any(), "no skin through the cloth"
    assert set(np.unique(mesh.region[seen[cloth]])) == {
        1 + REGIONS.index(r) for r in ("torso", "left_leg", "right_leg")
    }
    assert (cloth & is_leg).sum() > 150, "its lower part is labelled as legs"
    longest = leg_coordinate(body.worn.mesh.coords[:, 1], model.landmarks).max()
    assert longest == pytest.approx(end, abs=0.06)


def test_drawn_clothes_lie_on_the_tights() -> None:
    start_warp()
    model, someone = load_body_model(), people_of(TINY)[0]
    rest, base = load_base_mesh().body_at_rest(model, dict(someone.shape), someone.stature)
    assert np.ptp(base[load_base_mesh().body, 2]) == pytest.approx(someone.stature, abs=1e-5)
    moved = lie_on_tights(rest.vertices, base)
    stands_off = ((moved - rest.vertices) * vertex_normals(rest.vertices, model.faces)).sum(axis=1)
    trunk_and_legs = np.isin(model.region, [REGIONS.index(name) for name in ("torso", "left_leg", "right_leg")])
    assert np.abs(moved - rest.vertices).max() < 0.06
    assert 0.002 < np.median(stands_off[trunk_and_legs]) < 0.012, "a little outside the skin"
    assert (stands_off[trunk_and_legs] < -0.002).mean() < 0.03
    assert (moved == rest.vertices)[model.template[:, 2] > model.landmarks.chin + 0.05].all(), "not on the head"


def test_tights_are_seen_under_a_skirt_alone() -> None:
    start_warp()
    model, someone = load_body_model(), people_of(TINY)[0]
    coords = np.concatenate([model.template, model.arm[:, None]], axis=1)
    thigh = np.isin(model.region, [4, 5]) & (leg_coordinate(model.template[:, 2], model.landmarks) < 0.6)
    for skirt in (True, False):
        bottom = Bottom(someone.outfit.top.cloth, 0.3, skirt=skirt)
        outfit = replace(someone.outfit, top=replace(someone.outfit.top, skirt=0.0), outer=None, bottom=bottom)
        seen = layers(coords, replace(outfit, tights=(0.1, 0.2, 0.3)), model.landmarks)
        assert (seen == Layer.SOCK)[thigh].any() == skirt
        colour = body_surface(replace(someone, outfit=replace(outfit, tights=(0.1, 0.2, 0.3))), model.landmarks)
        assert np.allclose(colour(coords[seen == Layer.SOCK])[0], (0.1, 0.2, 0.3)) == skirt


def occlusion_of(
    person: PosedPerson, camera: Camera, body: Box, box: Box, thing: TracedMesh | None = None
) -> Occlusion:
    shape = silhouette(TracedMesh(person.mesh), camera, body, box)
    return shape.hidden(np.zeros(len(shape.rays), bool) if thing is None else shape.behind(camera, thing))


def test_whole_person_is_seen_whole(camera: Camera, person: PosedPerson) -> None:
    box = around(camera, person)
    occlusion = occlusion_of(person, camera, box, box)
    assert occlusion.degree == 0
    assert (see(camera, person, box)[:, 2] >= 0.7).all()


def test_wall_up_to_the_hips(camera: Camera, person: PosedPerson) -> None:
    """A wide board just in front hides what projects below its upper edge: count the rays in plain NumPy."""
    top = float(person.keypoints[11:13, 2].mean())
    wall = TracedMesh(make_box((0, camera.near - 1.2, top / 2), (6, 0.02, top), plain((1, 0, 0))))
    box = around(camera, person)
    occlusion = occlusion_of(person, camera, box, box, wall)
    places = box.grid(150, 75)
    distance, face = TracedMesh(person.mesh).distances(camera.origin, camera.rays(places))
    region = person.mesh.region[face]
    edge = camera.project(np.array([[0.0, camera.near - 1.21, top]]))[0, 1]
    expected = (places[(distance >= 0) & (region != BELONGINGS), 1] > edge).mean()
    assert occlusion.degree == pytest.approx(expected, abs=0.03)
    visible = dict(zip(REGIONS, occlusion.visible, strict=True))
    assert visible["head"] == 1
    assert visible["left_foot"] == visible["right_foot"] == 0


def test_hidden_joints_leave_no_peak(camera: Camera, person: PosedPerson) -> None:
    top = float(person.keypoints[11:13, 2].mean())
    wall = TracedMesh(make_box((0, camera.near - 1.2, top / 2), (6, 0.02, top), plain((1, 0, 0))))
    seen = see(camera, person, around(camera, person), wall)
    hidden = [KEYPOINTS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("knee", "ankle")]
    assert (seen[hidden, 2] == 0).all()
    assert seen[0, 2] > 0.7
    fields = draw_pose_fields(seen, image_size=(128, 64), field_size=(17, 9), scale=118)
    assert fields[hidden].max() == 0
    assert fields[17:21].max() == 0


def test_outside_the_box_is_hidden(camera: Camera, person: PosedPerson) -> None:
    whole = around(camera, person)
    half = Box(whole.left, whole.top, whole.right, (whole.top + whole.bottom) / 2)
    seen = see(camera, person, half)
    assert (seen[15:17, 2] == 0).all()
    assert seen[0, 2] > 0.7
    degree = occlusion_of(person, camera, whole, half).degree
    assert 0.25 < degree < 0.65


def test_detector_noise(camera: Camera, person: PosedPerson) -> None:
    seen = see(camera, person, around(camera, person)).astype(float)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(spoil_keypoints(rng, seen, 0.0, 118), seen)
    noisy = np.stack([spoil_keypoints(rng, seen, 1.0, 118) for _ in range(200)])
    assert 1.5 < np.std(noisy[..., 0] - seen[:, 0]) < 5
    assert 0.05 < (noisy[..., 2] == 0).mean() < 0.2


def test_images_show_something(rendered: Path) -> None:
    for path in sorted(rendered.glob("bounding_box_train/*.jpg")):
        image = np.asarray(Image.open(io.BytesIO(path.read_bytes())), float)
        assert image.std() > 12
        parts = np.asarray(Image.open(rendered / "parts" / "bounding_box_train" / f"{path.stem}.png"))
        assert 0.08 < (parts > 0).mean() < 0.7


def pictures(root: Path) -> list[dict[str, str]]:
    with (root / "pictures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_facts_of_each_image_are_told(rendered: Path) -> None:
    people = people_of(TINY)
    for row in pictures(rendered):
        person, camera = people[int(row["pid"]) - 1], make_camera((3, 101), int(row["camid"]), 3)
        assert float(row["stature"]) == pytest.approx(person.stature, abs=1e-3)
        assert float(row["gender"]) == dict(person.shape)["gender"]
        assert float(row["skin"]) == pytest.approx(typology_angle(person.skin), abs=0.1)
        assert float(row["exposure"]) == pytest.approx(camera.optics.exposure, abs=1e-3)
        assert row["light"] == light_kind(camera)
        assert 40 <= int(row["rows"]) <= TINY.image_height
        assert 0 <= float(row["view"]) <= 180
        assert camera.near <= float(row["distance"]) <= 1.1 * camera.far + camera.height
        assert row["pose"] in ("walking", "standing", "cycling", "sitting", "pushing")


def test_an_older_set_gets_its_facts_without_its_images_being_touched(rendered: Path, tmp_path: Path) -> None:
    out = tmp_path / "old"
    shutil.copytree(rendered, out)
    first, second, *_ = plan_images(TINY)
    for planned in (first, second):
        _, parts, jpeg = dataset.files_of(out, planned)
        with Image.open(parts) as image:
            row, values = json.loads(image.info["partreid"]), np.asarray(image)
        del row["facts"]
        if planned is second:  # as if another machine had rendered another image
            row["occlusion"] = 0.9
        dataset._write_map(parts, values, dataset._PALETTE, bits=4, text=json.dumps(row))
        jpeg.write_bytes(b"nobody renders this again")
    with pytest.warns(UserWarning, match="1 of 2 images that were rendered before come out differently"):
        render_dataset(TINY, out)
    now, before = digest(out), digest(rendered)
    images = {dataset.files_of(Path(), one)[2].as_posix() for one in (first, second)}
    assert {name for name in now if now[name] != before[name]} - images == {
        "pictures.csv", dataset.files_of(Path(), second)[1].as_posix()
    }  # fmt: skip
    assert pictures(out)[0] == pictures(rendered)[0]
    assert pictures(out)[1] == pictures(rendered)[1] | {"occlusion": "0.9"} | dict.fromkeys(FACTS, "")
    assert pictures(out)[2:] == pictures(rendered)[2:]


def test_facts_of_a_made_up_shot() -> None:
    camera = make_camera((3, 101), 0, 3)
    stage = SimpleNamespace(place=np.array([1.0, 4.0]), pose="walking")
    person = people_of(TINY)[0]
    towards = float(np.arctan2(-1.0, 4.0))  # faces the camera's foot
    for turned, view in ((0, 0), (np.pi / 2, 90), (-np.pi / 2, 90), (np.pi, 180)):
        stage.yaw = towards + turned
        assert facts_of(person, stage, camera, 64)["view"] == pytest.approx(view, abs=0.1)
    assert (
        typology_angle((0.92, 0.76, 0.67)) > 55 > typology_angle((0.62, 0.43, 0.30)) > typology_angle((0.3, 0.19, 0.13))
    )
    # CIE L* = 65, a* = 12, b* = 18: arctan(15 / 18).
    assert typology_angle((0.7452, 0.5854, 0.4951)) == pytest.approx(39.8, abs=0.1)
