"""The shipped set: never skipped, needs no renderer."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.readers import read_dataset
from partreid.datasets.synthetic import shipped
from partreid.datasets.synthetic.body import BELONGINGS, REGIONS
from partreid.datasets.synthetic.dataset import RENDERER_VERSION
from partreid.datasets.synthetic.manifest import manifest_of
from partreid.datasets.synthetic.render_config import plan_images
from partreid.errors import DataError
from partreid.labels.fields import read_pose_fields
from partreid.labels.grouping import group_fields, label_map
from partreid.parts import get_part_schema


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(shipped.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        return shipped.shipped_split()


@pytest.fixture(scope="module")
def rows(root: Path) -> list[dict[str, str]]:
    with (root / "pictures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_size() -> None:
    assert shipped.ARCHIVE.stat().st_size <= 8_000_000


def test_counts(root: Path) -> None:
    dataset = read_dataset(root)
    assert (len(dataset.train), len(dataset.gallery)) == (768, 384)
    assert {name: len(images) for name, images in dataset.queries.items()} == {"query": 192, "holistic": 64}
    assert all(image.label is not None for image in dataset.train)


def test_made_from_the_configuration_in_the_code(root: Path, rows: list[dict[str, str]]) -> None:
    manifest = json.loads((root / "synthetic.json").read_text().replace("_pictures", "_images"))
    mine = manifest_of(shipped.SHIPPED, RENDERER_VERSION)
    assert 1 <= manifest["renderer"] <= RENDERER_VERSION
    assert {name: mine["config"][name] for name in manifest["config"]} == manifest["config"]
    assert all(len(sha) == 64 for kind in ("panoramas", "assets") for sha in manifest[kind].values())
    assert [r["path"] for r in rows] == [f"{p.folder}/{p.stem}.jpg" for p in plan_images(shipped.SHIPPED)]


def test_occlusion(rows: list[dict[str, str]]) -> None:
    degree = {s: np.array([float(r["occlusion"]) for r in rows if r["split"] == s]) for s in {r["split"] for r in rows}}
    assert 0.45 <= degree["query"].mean() <= 0.6
    assert degree["query"].min() >= 0.35
    assert degree["query"].max() <= 0.75
    assert degree["query_holistic"].max() <= 0.12
    assert 0.3 <= (degree["train"] > 0.14).mean() <= 0.4
    assert (degree["gallery"] > 0.14).mean() <= 0.16


def test_parts_and_fields_agree(root: Path, rows: list[dict[str, str]]) -> None:
    for row in rows[::40]:
        parts = np.asarray(Image.open(root / "parts" / row["path"].replace(".jpg", ".png")))
        fields = read_pose_fields(root / "masks" / "rendered" / row["path"].replace(".jpg", ".npy"))
        assert parts.shape == (128, 64)
        assert parts.max() <= BELONGINGS
        assert fields.shape == (36, 17, 9)
        if float(row["visible_head"] or 0) == 0:
            assert not (parts == 1 + REGIONS.index("head")).any()


@pytest.mark.parametrize("schema", ["five", "eight"])
def test_head_and_feet_own_label_pixels(root: Path, rows: list[dict[str, str]], schema: str) -> None:
    parts = get_part_schema(schema)
    whole = [r["path"] for r in rows if float(r["occlusion"]) < 0.02]
    maps = [
        label_map(group_fields(read_pose_fields(root / "masks" / "rendered" / p.replace(".jpg", ".npy")), parts))
        for p in whole
    ]
    for i, name in enumerate(parts.parts, start=1):
        present = np.mean([(m == i).any() for m in maps])
        assert present >= (0.95 if "arm" not in name else 0.85), name


def test_second_call_unpacks_nothing_and_repairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shipped.CACHE_VARIABLE, str(tmp_path))
    first = shipped.shipped_split()
    kept, lost, cut = sorted((first / "query").iterdir())[:3]
    stamp = kept.stat().st_mtime_ns
    assert shipped.shipped_split() == first
    assert kept.stat().st_mtime_ns == stamp
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:10])
    shipped.shipped_split()
    assert lost.stat().st_size > 0
    assert cut.stat().st_size > 10
    assert list(tmp_path.iterdir()) == [first.parent]
    assert list(first.parent.iterdir()) == [first]


def test_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shipped.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(shipped, "ARCHIVE", tmp_path / "pedestrians.zip")
    with pytest.raises(DataError, match="Install partreid again"):
        shipped.shipped_split()
    (tmp_path / "pedestrians.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="damaged"):
        shipped.shipped_split()


def test_archive_holds_no_strange_paths() -> None:
    with zipfile.ZipFile(shipped.ARCHIVE) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert not any(n.startswith("/") or ".." in n for n in names)
