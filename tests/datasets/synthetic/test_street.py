"""Light, panoramas, several people and what they ride. Skipped where the renderer's libraries are missing."""

from __future__ import annotations

import base64
import csv
import json
from io import BytesIO
from math import degrees
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("anny")
pytest.importorskip("warp")

from partreid.datasets.readers.common import LeftOutWarning
from partreid.datasets.synthetic import crowd, framing
from partreid.datasets.synthetic.body import BELONGINGS, load_body_model
from partreid.datasets.synthetic.cameras import make_camera
from partreid.datasets.synthetic.crowd import TARGET, Actor, Stage, holds_umbrella
from partreid.datasets.synthetic.dataset import RENDERER_VERSION, render_dataset
from partreid.datasets.synthetic.garments import dress
from partreid.datasets.synthetic.light import harmonics_of, made_up_light, map_directions
from partreid.datasets.synthetic.manifest import manifest_of
from partreid.datasets.synthetic.panoramas import find_panoramas, light_of, look_up, read_panorama
from partreid.datasets.synthetic.people import PosedPerson, pose_person
from partreid.datasets.synthetic.photo import Grid, develop
from partreid.datasets.synthetic.poses import Pose
from partreid.datasets.synthetic.preview import render_preview
from partreid.datasets.synthetic.props import Equipped, equip
from partreid.datasets.synthetic.raytrace import TracedMesh, start_warp
from partreid.datasets.synthetic.render import PERSON_STEP, people_of
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.errors import ConfigError, DataError
from partreid.parts import KEYPOINTS

CROWD = SyntheticConfig(
    train_identities=4, test_identities=2, train_images=4, gallery_images=2, query_images=1, holistic_query_images=0,
    image_height=64, image_width=32, seed=4, samples=1, cameras=3, company=1, train_occluded=0.3,
)  # fmt: skip


def hdr(pixels: NDArray[np.float32]) -> bytes:
    """A Radiance file, its rows in runs and in plain pieces."""
    height, width = pixels.shape[:2]
    exponent = np.ceil(np.log2(np.maximum(pixels.max(axis=-1), 1e-9))).astype(int)
    mantissa = np.clip(pixels / np.exp2(exponent)[..., None] * 256, 0, 255).astype(np.uint8)
    out = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode()
    for row in np.concatenate([mantissa, (exponent + 128)[..., None].astype(np.uint8)], axis=-1):
        out += bytes([2, 2, width >> 8, width & 255])
        for channel in row.T:
            if (channel == channel[0]).all() and width < 128:
                out += bytes([128 + width, channel[0]])
            else:
                pieces = [channel[k : k + 100] for k in range(0, width, 100)]
                out += b"".join(bytes([len(piece)]) + piece.tobytes() for piece in pieces)
    return out


def sunny(azimuth: float = 1.0) -> NDArray[np.float32]:
    """A panorama with grey below, blue above, and a sun at 45 degrees up and ``azimuth`` to the right of its middle."""
    directions, _ = map_directions(64, 128)
    out = np.where(directions[..., 2:] > 0, [0.3, 0.4, 0.6], [0.2, 0.2, 0.2])
    towards = np.array([np.sin(azimuth), np.cos(azimuth), 1]) / np.sqrt(2)
    out[directions @ towards > np.cos(0.06)] = 300.0
    return out.astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "panoramas"
    folder.mkdir()
    (folder / "one.hdr").write_bytes(hdr(sunny()))
    return folder


def test_white_under_an_even_sky_is_as_bright_as_the_sky() -> None:
    light = made_up_light(np.random.default_rng(0))
    even = type(light)(harmonics_of(np.ones((16, 32, 3))), light.sun, np.zeros(3), 0, light.sky, np.zeros(3))
    normals = np.random.default_rng(0).normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    np.testing.assert_allclose(even.ambient(normals.astype(np.float32)), 1, atol=0.01)
    above = harmonics_of(np.where(map_directions(32, 64)[0][..., 2:] > 0, np.ones(3), 0.0))
    half = type(light)(above, light.sun, np.zeros(3), 0, light.sky, np.zeros(3))
    up, side, down = half.ambient(np.array([[0, 0, 1], [1, 0, 0], [0, 0, -1]], np.float32))[:, 0]
    assert (up, side) == (pytest.approx(1, abs=0.08), pytest.approx(0.5, abs=0.03))
    assert down < 0.08


def test_the_sun_is_found_and_turns_with_the_camera() -> None:
    for heading in (0.0, 0.5, 4.0):
        light, turned = light_of(sunny(1.0), heading)
        azimuth, elevation = np.arctan2(light.sun[0], light.sun[1]), np.arcsin(light.sun[2])
        assert (azimuth - (1.0 - heading) + np.pi) % (2 * np.pi) - np.pi == pytest.approx(0, abs=0.06)
        assert degrees(elevation) == pytest.approx(45, abs=2)
        assert light.sun_colour.min() > 0.2
        seen = look_up(turned, light.sun.astype(np.float32)[None])
        assert seen.min() > 10 * look_up(turned, np.array([[0, 0, 1]], np.float32)).max()


def test_no_sun_where_none_is() -> None:
    even = np.where(map_directions(64, 128)[0][..., 2:] > 0, np.full(3, 0.8), 0.2).astype(np.float32)
    light, _ = light_of(even, 0.0)
    assert not light.sun_colour.any()


def test_looks_between_pixels_and_around_the_seam() -> None:
    panorama = np.zeros((32, 64, 3), np.float32)
    panorama[..., 0] = np.arange(64)
    ahead, right, left = look_up(panorama, np.array([[0, 1, 0], [1, 0, 0], [-1, 0, 0]], np.float32))[:, 0]
    assert ahead == pytest.approx(31.5)  # between the last column and the first
    assert right == pytest.approx(15.5, abs=0.01)
    assert left == pytest.approx(47.5, abs=0.01)


def test_reads_radiance(folder: Path) -> None:
    np.testing.assert_allclose(read_panorama(folder / "one.hdr"), sunny(), rtol=0.012)


def test_reads_openexr_plain_and_in_javascript(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    with openexr.File(header, {"RGB": sunny()}) as file:
        file.write(str(tmp_path / "a.exr"))
    text = base64.b64encode((tmp_path / "a.exr").read_bytes()).decode()
    (tmp_path / "b.exr.js").write_text(f"export default 'data:application/exr;base64,{text}'")
    for name in ("a.exr", "b.exr.js"):
        np.testing.assert_array_equal(read_panorama(tmp_path / name), sunny())
    content = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "cut.exr").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged"):
        read_panorama(tmp_path / "cut.exr")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.hdr", b"nothing", "no Radiance file"),
        ("a.hdr", hdr(sunny())[:-50], "damaged"),
        ("a.hdr", hdr(sunny()[:, :100]), "twice as wide"),
        ("a.hdr", b"#?RADIANCE\n\n-Y 99999 +X 199998\n", "at most"),
        ("a.hdr", hdr(np.full((32, 64, 3), 1e-30, np.float32)).replace(b"\x9d", b"\x00"), "black"),
        ("a.exr", b"nothing", "no OpenEXR file"),
        ("a.exr.js", b"export default 'data:application/exr;base64,AAA'", "damaged"),
        ("a.exr.js", b"alert()", "no OpenEXR file"),
    ],
)
def test_damaged_panoramas(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    if ".exr" in name:
        pytest.importorskip("OpenEXR")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_panorama(tmp_path / name)


def test_folders_of_panoramas(folder: Path, tmp_path: Path) -> None:
    (folder / "readme.txt").touch()
    with pytest.warns(LeftOutWarning, match=r"readme\.txt"):
        assert [p.path.name for p in find_panoramas(folder)] == ["one.hdr"]
    for wrong in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataError, match="Panoramas"):
            find_panoramas(wrong)


def test_the_manifest_knows_panoramas_by_content(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "one.hdr").write_bytes((folder / "one.hdr").read_bytes())
    config = CROWD.model_copy(update={"panoramas": folder})
    mine = manifest_of(config, RENDERER_VERSION)
    assert list(mine["panoramas"]) == ["one.hdr"]
    assert str(folder) not in json.dumps(mine)
    assert manifest_of(CROWD.model_copy(update={"panoramas": moved}), RENDERER_VERSION) == mine
    out = tmp_path / "set"
    out.mkdir()
    (out / "synthetic.json").write_text(json.dumps(mine))
    (folder / "one.hdr").write_bytes(hdr(sunny(2.0)))
    with pytest.raises(ConfigError, match="panoramas"):
        render_dataset(config, out)


def test_cameras_under_a_panorama_look_everywhere(folder: Path) -> None:
    panorama = read_panorama(folder / "one.hdr")
    cameras = [make_camera((0,), k, 4, panorama) for k in range(4)]
    azimuths = np.sort([np.arctan2(c.light.sun[0], c.light.sun[1]) % (2 * np.pi) for c in cameras])
    np.testing.assert_allclose(np.diff(azimuths), np.pi / 2, atol=0.15)


@pytest.fixture(scope="module")
def posed() -> dict[Pose, tuple[PosedPerson, Equipped]]:
    start_warp()
    model = load_body_model()
    body = dress(model, people_of(CROWD)[0])
    out: dict[Pose, tuple[PosedPerson, Equipped]] = {}
    poses: tuple[Pose, ...] = ("walking", "standing", "sitting", "cycling", "pushing")
    for pose in poses:
        rng = np.random.default_rng(1)
        person = pose_person(model, body, rng, yaw=0.0, pose=pose)
        out[pose] = person, equip(person, pose, 0.0, rng)
    return out


def test_poses_and_what_belongs_to_them(posed: dict[Pose, tuple[PosedPerson, Equipped]]) -> None:
    def at(pose: Pose, name: str) -> NDArray[np.float32]:
        return posed[pose][1].person.keypoints[KEYPOINTS.index(name)]

    assert at("sitting", "left_hip")[2] < 0.7 * at("standing", "left_hip")[2]
    assert abs(at("sitting", "left_knee")[2] - at("sitting", "left_hip")[2]) < 0.15
    assert at("sitting", "left_knee")[1] < at("sitting", "left_hip")[1] - 0.25  # forward is -y
    bench = posed["sitting"][1].under
    assert bench is not None
    assert bench.vertices[:, 2].min() == pytest.approx(0, abs=0.02)
    assert 0.05 < at("sitting", "left_hip")[2] - bench.vertices[:, 2].max() < 0.2
    for pose in ("cycling", "pushing"):
        made = posed[pose][1]
        assert made.carried is not None
        assert (made.carried.region == BELONGINGS).all()
        assert made.carried.vertices[:, 2].min() == pytest.approx(0, abs=0.03)
        for side in ("left", "right"):
            nearest = np.linalg.norm(made.carried.vertices - at(pose, f"{side}_wrist"), axis=1).min()
            assert nearest < 0.3, "hands on it"
    lowest = posed["cycling"][1].person.mesh.vertices[:, 2].min()
    assert 0.02 < lowest < 0.25, "feet on pedals, not on the ground"
    for pose in ("walking", "standing"):
        assert posed[pose][1].carried is None
        assert posed[pose][1].under is None


@pytest.fixture(scope="module")
def stage() -> Stage:
    start_warp()
    model = load_body_model()
    camera = max((make_camera((0,), k, 6) for k in range(6)), key=lambda c: float(c.origin[2]))  # it looks down
    body = dress(model, people_of(CROWD)[0])
    return Stage(CROWD, model, camera, TracedMesh(camera.surroundings), 1, lambda _: body)


def actor(stage: Stage, monkeypatch: pytest.MonkeyPatch, away: float, *, umbrella: bool) -> Actor:
    """The same person in the same pose but for the right arm, so far behind the nearest place."""
    monkeypatch.setattr(crowd, "_UMBRELLAS", float(umbrella))
    rng = np.random.default_rng(2)
    return stage.actor(TARGET, stage.passer_by(0), rng, (0.0, stage.camera.near + away), yaw=0.3, pose="walking")


def test_an_umbrella_is_held_over_the_head_and_is_a_belonging(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    held, bare = (actor(stage, monkeypatch, 0.0, umbrella=umbrella) for umbrella in (True, False))
    mesh = held.traced.mesh
    umbrella = np.arange(held.outline, len(mesh.vertices))
    assert len(bare.traced.mesh.vertices) == bare.outline == held.outline
    regions = mesh.region[(mesh.faces >= held.outline).all(axis=1)]
    assert len(regions) > 100
    assert (regions == BELONGINGS).all()
    wrist, nose = (held.keypoints[KEYPOINTS.index(name)] for name in ("right_wrist", "nose"))
    assert np.linalg.norm(mesh.vertices[umbrella] - wrist, axis=1).min() < 0.12, "in the hand"
    canopy = mesh.vertices[umbrella][mesh.vertices[umbrella, 2] > nose[2]]
    assert np.ptp(canopy[:, 0]) > 0.8
    assert (canopy[:, :2].min(axis=0) < nose[:2]).all()
    assert (nose[:2] < canopy[:, :2].max(axis=0)).all()
    crown = mesh.vertices[: held.outline, 2].max()
    assert crown < mesh.vertices[:, 2].max() < crown + 0.6
    assert held.body.top == pytest.approx(bare.body.top, abs=0.01), "the box frames the body alone"
    legs = [KEYPOINTS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("knee", "ankle")]
    np.testing.assert_allclose(held.keypoints[legs], bare.keypoints[legs], atol=1e-3)


def test_an_umbrella_hides_others_but_never_its_carrier(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    target = actor(stage, monkeypatch, 1.0, umbrella=True)
    shape = framing.silhouette(target.traced, stage.camera, target.body, target.body)
    assert (shape.region == BELONGINGS).any(), "it is before the body"
    own = shape.hidden(np.zeros(len(shape.rays), bool))
    assert own.degree == 0
    assert all(share == 1 or np.isnan(share) for share in own.visible)
    degrees = []
    for umbrella in (True, False):
        other = actor(stage, monkeypatch, 0.0, umbrella=umbrella).shifted(stage.camera, np.array([0.45, 0, 0]))
        degrees.append(shape.hidden(shape.behind(stage.camera, other.traced)).degree)
    assert degrees[0] > degrees[1] + 0.1


def test_some_people_on_foot_carry_an_umbrella() -> None:
    rng = np.random.default_rng(0)
    assert 0.03 < np.mean([holds_umbrella(rng, "walking") for _ in range(4000)]) < 0.07
    assert not any(holds_umbrella(rng, pose) for pose in ("sitting", "cycling", "pushing") for _ in range(200))


def test_others_are_kept_apart(tmp_path: Path) -> None:
    out = render_dataset(CROWD, tmp_path / "set")
    with (out / "others.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = {p.relative_to(out / "others").with_suffix(".jpg").as_posix() for p in out.glob("others/*/*.png")}
    assert files == {row["path"] for row in rows}
    assert len(files) > 8
    for path in files:
        others = np.asarray(Image.open((out / "others" / path).with_suffix(".png")))
        target = np.asarray(Image.open((out / "parts" / path).with_suffix(".png")))
        assert not ((others > 0) & (target > 0)).any()
        assert others.max() % PERSON_STEP <= BELONGINGS
        of_it = [row for row in rows if row["path"] == path]
        assert sorted({int(v) for v in np.unique(others // PERSON_STEP)} - {0}) == sorted(
            int(r["number"]) for r in of_it
        )
        assert len({row["passer_by"] for row in of_it}) == len(of_it)
        for row in of_it:
            y, x = np.nonzero(others // PERSON_STEP == int(row["number"]))
            left, top = float(row["left"]), float(row["top"])
            body = others[y, x] % PERSON_STEP != BELONGINGS
            assert (x[body] + 1 >= left).all()
            assert (x[body] <= left + float(row["width"]) + 1).all()
            assert (y[body] + 1 >= top).all()
            assert (y[body] <= top + float(row["height"]) + 1).all()
            assert 0 <= float(row["seen"]) <= 1


def test_preview(tmp_path: Path) -> None:
    sheet = render_preview(CROWD, tmp_path / "sheet.png", columns=3, rows=2)
    with Image.open(sheet) as image:
        assert image.size == (3 * 34 - 2, 2 * 66 - 2)
        assert np.asarray(image.convert("L"), float).std() > 20
    for wrong in ("sheet", "sheet.gif"):
        with pytest.raises(ConfigError, match="preview"):
            render_preview(CROWD, tmp_path / wrong)
    with pytest.raises(ConfigError, match="columns and rows"):
        render_preview(CROWD, tmp_path / "sheet.png", rows=0)


def test_few_rows_are_enlarged() -> None:
    optics = make_camera((0,), 0, 2).optics
    light = np.random.default_rng(0).random((2 * 40 * 20, 3), np.float32)
    for motion in (0.0, 3.0):
        moving = np.zeros(len(light), np.float32)
        jpeg = develop(
            light, moving, Grid(2, 40, 20), optics, np.random.default_rng(0), motion=motion, image_size=(128, 64)
        )
        with Image.open(BytesIO(jpeg)) as image:
            assert (image.size, image.mode) == ((64, 128), "RGB")
