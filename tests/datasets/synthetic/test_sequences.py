"""Rendered videos: how people walk, what is in a frame, and the truth about it. Skipped without the renderer."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from partreid.datasets import SequenceConfig, render_sequences
from partreid.datasets.synthetic import framing
from partreid.datasets.synthetic.cameras import Camera
from partreid.datasets.synthetic.filming import Film
from partreid.datasets.synthetic.lenses import Lens, Rect, merged
from partreid.datasets.synthetic.meshes import Mesh
from partreid.datasets.synthetic.people import pose_person
from partreid.datasets.synthetic.poses import Gait, cycle_length
from partreid.datasets.synthetic.raytrace import TracedMesh
from partreid.datasets.synthetic.scenes import SceneWorld, sites_of
from partreid.datasets.synthetic.sites import HALF_STREET, Site
from partreid.datasets.synthetic.walks import Walkers, Walks, simulate
from partreid.errors import ConfigError
from partreid.tracking import FrameFolder, read_boxes
from tests.datasets.synthetic.test_render import digest

TINY = SequenceConfig(
    scenes=1, people=3, seconds=1.2, fps=10, image_height=120, image_width=160, samples=1, seed=4, obstacles=2
)  # fmt: skip


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_sequences(TINY, tmp_path_factory.mktemp("sequences") / "set")


@pytest.fixture(scope="module")
def world() -> SceneWorld:
    return SceneWorld(TINY, 0)


def rows_of(sequence: Path) -> list[dict[str, float]]:
    """gt.txt and parts.csv together."""
    with (sequence / "parts.csv").open(newline="") as file:
        parts = [{k: float(v) if v else float("nan") for k, v in row.items()} for row in csv.DictReader(file)]
    names = ("frame", "id", "left", "top", "width", "height", "confidence", "class", "visibility")
    truth = [dict(zip(names, map(float, line.split(",")), strict=True)) for line in (sequence / "gt" / "gt.txt").open()]
    assert [(t["frame"], t["id"]) for t in truth] == [(p["frame"], p["id"]) for p in parts]
    return [t | p for t, p in zip(truth, parts, strict=True)]


def test_trackers_read_it(rendered: Path, recwarn: pytest.WarningsRecorder) -> None:
    for camera in ("cam1", "cam2"):
        sequence = rendered / "scene1" / camera
        frames = FrameFolder.open(sequence)
        assert (frames.numbers, frames.rate, frames.size) == (tuple(range(12)), 10.0, (160, 120))
        boxes = read_boxes(sequence / "gt" / "gt.txt")
        shown = [row for row in rows_of(sequence) if row["visibility"] > 0]
        assert len(boxes) == len(shown) > 0
    assert not list(rendered.rglob(".*"))


def test_truth_fits_together(rendered: Path) -> None:
    calibration = json.loads((rendered / "scene1" / "calibration.json").read_text())
    people = set()
    for camera in ("cam1", "cam2"):
        at = {key: np.array(calibration["cameras"][camera][key]) for key in ("intrinsics", "rotation", "translation")}
        for row in rows_of(rendered / "scene1" / camera):
            people.add(row["id"])
            assert 0 <= row["visibility"] == row["seen"] <= 1
            assert np.isnan(row["visible_left"]) <= (row["seen"] == 0)
            if row["seen"]:
                assert row["left"] - 1 <= row["visible_left"]
                assert row["visible_left"] + row["visible_width"] <= row["left"] + row["width"] + 1
                assert row["visible_top"] >= 1
                assert row["visible_top"] + row["visible_height"] <= 121
            shares = np.array([row[f"visible_{part}"] for part in ("head", "torso", "left_leg", "right_leg")])
            assert ((shares >= 0) & (shares <= 1) | np.isnan(shares)).all()
            u, v, w = at["intrinsics"] @ (at["rotation"] @ [row["x"], row["y"], 0.0] + at["translation"])
            foot, middle = v / w + 1, row["left"] + row["width"] / 2
            assert abs(u / w + 1 - middle) < 0.3 * row["height"]
            assert abs(foot - (row["top"] + row["height"])) < 0.2 * row["height"], "they stand on the ground"
            head = at["intrinsics"] @ (at["rotation"] @ [row["x"], row["y"], 1.72] + at["translation"])
            assert abs(foot - head[1] / head[2] - 1) == pytest.approx(row["height"], rel=0.3)
    assert people <= {1, 2, 3}
    starts = [calibration["cameras"][camera]["start_seconds"] for camera in ("cam1", "cam2")]
    assert all(0 <= start < 0.1 for start in starts)


def standing(site: Site, places: list[tuple[float, float]]) -> Walkers:
    """People at places of the camera's frame, in steps sideways to it."""
    count = len(places)
    return Walkers(site.world(np.array(places)), np.full(count, 1.4), np.zeros(count), np.full(count, 0.6))


def test_the_nearer_one_hides_the_other(world: SceneWorld) -> None:
    site, film = sites_of(TINY, 0)[0], world.film(0)
    low = site.away + 1.0
    far = (100.0, site.away)
    free = next(
        x for x in np.linspace(-3, 3, 13)
        if all(abs(x - o.circle[0] * low / o.circle[1]) > o.circle[2] + 0.8 for o in site.obstacles)
    )  # fmt: skip
    behind, front = (free, low), (free * (low - 1.2) / low, low - 1.2)
    for places, hidden in (((behind, front, far), 0), ((front, behind, far), 1)):
        _, seen = film.frame(0, standing(site, list(places)))
        shares = {one.who: one.seen for one in seen}
        assert shares.keys() == {0, 1}
        assert shares[1 - hidden] > 0.98
        assert shares[hidden] < 0.6
        assert seen[hidden].visible is None or seen[hidden].parts[1] < 0.7


def test_seen_share_against_rays_of_its_own(world: SceneWorld) -> None:
    """The sets of single images measure the same by other code: a silhouette of rays, and who is before each."""
    site, film = sites_of(TINY, 0)[1], world.film(1)
    rng = np.random.default_rng(0)
    lens = Lens.of(TINY)
    wide = (site.away * lens.middle[0]) / lens.focal
    for _ in range(3):
        places = [(rng.uniform(-0.9, 0.9) * wide, site.away + d) for d in (-1.2, 0.0, 1.2)]
        walkers = standing(site, places)
        _, seen = film.frame(0, walkers)
        bodies = [TracedMesh(_mesh(film, who, walkers, places[who])) for who in range(3)]
        things = [TracedMesh(obstacle.mesh) for obstacle in site.obstacles]
        edge = framing.Box(*(np.array([-1, -1, 1, 1]) * np.tile(lens.middle / lens.focal, 2)))
        for one in seen:
            own = bodies[one.who]
            around = framing.bounds(site.camera.project(own.mesh.vertices))
            shape = framing.silhouette(own, site.camera, around, edge)
            covers = [shape.behind(site.camera, t) for t in (*bodies, *things) if t is not own]
            expected = 1 - shape.hidden(np.logical_or.reduce(covers)).degree
            assert one.seen == pytest.approx(expected, abs=0.06)


def _mesh(film: Film, who: int, walkers: Walkers, place: tuple[float, float]) -> Mesh:
    return film._pose(who, walkers).at(*(float(v) for v in place)).mesh


def test_cameras_point_at_the_street() -> None:
    for site in sites_of(TINY, 0):
        rotation, shift = site.extrinsics()
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        middle = rotation @ [site.middle, 0.0, 0.9] + shift
        np.testing.assert_allclose(middle[:2] / middle[2], 0, atol=1e-9)
        places = np.array([[site.middle + 1, 2.0], [0.0, -1.0]])
        np.testing.assert_allclose(site.world(site.own(places)), places, atol=1e-12)


@pytest.fixture(scope="module")
def walks() -> tuple[Walks, list[Site]]:
    sites = sites_of(TINY, 0)
    return simulate(np.random.default_rng(5), sites, [1.7] * 10, 40.0), sites


def test_people_walk_as_people_do(walks: tuple[Walks, list[Site]]) -> None:
    walk, sites = walks
    steps = np.linalg.norm(np.diff(walk.place, axis=0), axis=-1)
    assert steps.max() < 0.05 * 1.6 * 1.3
    assert np.abs(np.diff(walk.yaw, axis=0)).max() < 0.14, "they turn, they do not jump round"
    assert np.abs(walk.place[..., 1]).max() < HALF_STREET + 1.0
    apart = np.linalg.norm(walk.place[:, :, None] - walk.place[:, None], axis=-1)
    assert (apart + 9 * np.eye(10)).min() > 0.25, "nobody walks through another"
    circles = np.array([[*s.world(np.array(o.circle[:2])), o.circle[2]] for s in sites for o in s.obstacles])
    clear = np.linalg.norm(walk.place[:, :, None] - circles[:, :2], axis=-1) - circles[:, 2]
    assert clear.min() > 0.15, "nobody walks through a thing"
    cycle = cycle_length(np.array(0.53 * 1.7), walk.stride[:-1])
    np.testing.assert_allclose(np.diff(walk.phase, axis=0) * cycle, steps, rtol=1e-6, atol=1e-12)
    inside = np.abs(walk.place[..., 0] - sites[0].middle) < sites[0].half
    assert (np.diff(inside.astype(int), axis=0) == 1).any(), "somebody comes in"
    assert (np.diff(inside.astype(int), axis=0) == -1).any(), "somebody leaves"
    both = inside.any(axis=0) & (np.abs(walk.place[..., 0] - sites[1].middle) < sites[1].half).any(axis=0)
    assert both.any(), "somebody is seen by two cameras"


def test_moments_between_steps(walks: tuple[Walks, list[Site]]) -> None:
    walk, _ = walks
    np.testing.assert_allclose(walk.at(1.0).place, walk.place[20])
    np.testing.assert_allclose(walk.at(1.025).place, (walk.place[20] + walk.place[21]) / 2)
    np.testing.assert_array_equal(walk.at(-3.0).place, walk.place[0])
    np.testing.assert_allclose(walk.at(1e6).place, walk.place[-1])


def test_a_killed_run_goes_on(rendered: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    shutil.copytree(rendered, out)
    scene = out / "scene1"
    (scene / "calibration.json").unlink()
    shutil.rmtree(scene / "cam2")
    half = scene / ".cam2.abc" / "img1"
    half.mkdir(parents=True)
    (half / "000001.jpg").write_bytes(b"half")
    stamp = (scene / "cam1" / "gt" / "gt.txt").stat().st_mtime_ns
    render_sequences(TINY, out)
    assert (scene / "cam1" / "gt" / "gt.txt").stat().st_mtime_ns == stamp
    assert digest(out) == digest(rendered)


@pytest.mark.slow
def test_same_bytes_with_more_workers(rendered: Path, tmp_path: Path) -> None:
    assert digest(render_sequences(TINY, tmp_path / "two", workers=2)) == digest(rendered)


def test_other_options_are_refused(rendered: Path) -> None:
    with pytest.raises(ConfigError, match="people = 3 there, 4 here"):
        render_sequences(TINY.override(people=4), rendered)
    with pytest.raises(ConfigError, match="workers"):
        render_sequences(TINY, rendered, workers=0)
    with pytest.raises(ConfigError, match="scenes times people"):
        SequenceConfig(scenes=900, people=90)


def test_rectangles() -> None:
    a, b, c = Rect(0, 0, 4, 4), Rect(2, 0, 6, 4), Rect(20, 20, 22, 21)
    assert (a.area, a.within(b)) == (16, Rect(2, 0, 4, 4))
    outside = Rect(-9, 1, -2, 3).within(a)
    assert outside.area == 0
    assert np.ones((4, 4))[outside.index].size == 0, "not counted from the end"
    assert set(merged([a, c, b])) == {Rect(0, 0, 6, 4), c}
    assert a.grown(1).seen_from(Rect(-1, -1, 9, 9)) == Rect(0, 0, 6, 6)


def test_gait_changes_the_legs_alone(world: SceneWorld) -> None:
    body, model = world._bodies[0], world.film(0)._model
    poses = [
        pose_person(model, body, np.random.default_rng(3), yaw=0.0, pose="walking", gait=Gait(phase, 0.9))
        for phase in (0.0, 0.5, 1.0 - 1e-9)
    ]
    np.testing.assert_allclose(poses[0].keypoints, poses[2].keypoints, atol=0.01)
    ankles = poses[0].keypoints[15:17, 1] - poses[1].keypoints[15:17, 1]
    assert -ankles[0] > 0.4 < ankles[1], "left foot forward, then the right one"
    assert np.abs(poses[0].keypoints[0] - poses[1].keypoints[0]).max() < 0.1, "the head stays"


def test_lens() -> None:
    lens = Lens.of(TINY.override(field_of_view=90))
    assert lens.focal == pytest.approx(80)
    np.testing.assert_allclose(lens.pixels(np.array([[0.0, 0.0], [1.0, 0.5]])), [[80, 60], [160, 100]])
    camera: Camera = sites_of(TINY, 0)[0].camera
    rays = lens.rays(camera, Rect(79, 59, 81, 61), 1)
    np.testing.assert_allclose(lens.pixels(camera.project(camera.origin + rays))[0], [79.5, 59.5], atol=1e-3)
