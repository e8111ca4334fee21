"""Hidden queries: how much is hidden, by whom, and that it follows from the seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.images import read_image
from partreid.datasets.occlusion import OcclusionConfig, hide_behind_object, hide_behind_person, write_occluded_queries
from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError, DataError, LabelError
from partreid.types import ReIDDataset, ReIDImage

HEIGHT, WIDTH = 64, 32


@pytest.fixture
def other(tmp_path: Path) -> ReIDImage:
    """A white image of somebody who fills the middle three quarters of its width."""
    path, label = tmp_path / "other.png", tmp_path / "other.npy"
    Image.new("RGB", (WIDTH, HEIGHT), "white").save(path)
    fields = np.zeros((36, 17, 9), np.float32)
    fields[:, 1:16, 1:8] = 1
    np.save(label, fields)
    return ReIDImage(path, 2, 0, label=label)


@pytest.fixture
def labelled(tmp_path: Path, other: ReIDImage) -> ReIDDataset:
    """Two queries and a gallery of their persons, of whom all are labelled."""
    root = tmp_path / "set"
    images: dict[str, list[ReIDImage]] = {"query": [], "gallery": []}
    for split, pid, camid in (
        ("query", 1, 0),
        ("query", 2, 1),
        ("gallery", 1, 2),
        ("gallery", 2, 2),
        ("gallery", 1, 0),
    ):
        path = root / split / f"{pid}_{camid}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (60 * pid, 60 * pid, 60 * pid)).save(path)
        images[split].append(ReIDImage(path, pid, camid, label=other.label))
    return ReIDDataset("set", root, (), tuple(images["gallery"]), {"query": tuple(images["query"])})


def black() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_an_object_hides_the_share_asked_for_and_reaches_an_edge(other: ReIDImage, seed: int) -> None:
    config = OcclusionConfig(least=0.4, most=0.5)
    hidden = hide_behind_object(black(), other, config, np.random.default_rng(seed)).any(axis=2)
    assert 0.36 <= hidden.mean() <= 0.54  # whole pixels
    assert hidden[-1].any() or hidden[:, 0].any() or hidden[:, -1].any()
    rows, columns = hidden.any(axis=1).sum(), hidden.any(axis=0).sum()
    assert hidden.sum() == rows * columns


@pytest.mark.parametrize("seed", range(10))
def test_a_person_hides_the_share_asked_for_beside_the_middle(other: ReIDImage, seed: int) -> None:
    config = OcclusionConfig()
    random = np.random.default_rng(seed)
    hidden = hide_behind_person(black(), iter([other] * 1000), config, random).any(axis=2)
    assert config.least <= hidden.mean() <= config.most
    centre = hidden.nonzero()[1].mean() / (WIDTH - 1)
    assert abs(centre - 0.5) > 0.05


def test_nobody_who_hides_enough_is_an_error(other: ReIDImage) -> None:
    with pytest.raises(DataError, match="Nobody hides 95% to 99% of an image of 64×32"):
        hide_behind_person(black(), iter([other] * 3), OcclusionConfig(least=0.95, most=0.99), np.random.default_rng(0))


def test_a_set_of_its_own_with_whole_and_hidden_queries(labelled: ReIDDataset, tmp_path: Path) -> None:
    done: list[int] = []
    table = write_occluded_queries(labelled, tmp_path / "hidden", advance=done.append)
    written = read_dataset(table)
    assert len(done) == 4
    assert list(written.queries) == ["query", "objects", "people"]
    assert [len(images) for images in written.queries.values()] == [2, 2, 2]
    assert [(i.pid, i.camid) for i in written.gallery] == [(1, 0), (1, 2), (2, 2)]
    for kind in ("people", "objects"):
        for whole, hidden in zip(written.query, written.queries[kind], strict=True):
            assert (whole.pid, whole.camid) == (hidden.pid, hidden.camid)
            a, b = read_image(whole.path), read_image(hidden.path)
            changed = (a != b).any(axis=2)
            assert 0.3 <= changed.mean() <= 0.65
            # What is seen there is somebody else: pids 1 and 2 are of brightness 60 and 120.
            assert set(np.unique(b[changed])) == {180 - 60 * whole.pid}


def test_the_seed_decides(labelled: ReIDDataset, tmp_path: Path) -> None:
    folders = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_occluded_queries(labelled, tmp_path / name, OcclusionConfig(seed=seed))
        folders[name] = [(tmp_path / name / f"{kind}/00000_1_0.png").read_bytes() for kind in ("people", "objects")]
    assert folders["a"] == folders["b"]
    assert folders["a"] != folders["c"]


def test_what_is_missing_is_said_and_nothing_is_left(labelled: ReIDDataset, tmp_path: Path) -> None:
    bare = dataclasses.replace(labelled, gallery=tuple(dataclasses.replace(i, label=None) for i in labelled.gallery))
    out = tmp_path / "hidden"
    with pytest.raises(LabelError, match="--split gallery"):
        write_occluded_queries(bare, out)
    alone = dataclasses.replace(labelled, gallery=labelled.gallery[:1])
    with pytest.raises(DataError, match="shows the same person"):
        write_occluded_queries(alone, out)
    assert not out.exists()
    write_occluded_queries(bare, out, OcclusionConfig(occluders=("objects",)))
    with pytest.raises(DataError, match="is already there"):
        write_occluded_queries(bare, out)
    with pytest.raises(ConfigError, match=r"least = 0\.7 must not exceed most = 0\.6"):
        OcclusionConfig.parse({"least": 0.7})


def test_a_disk_without_links_is_told(labelled: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(DataError, match="privilege is not held.*developer mode"):
        write_occluded_queries(labelled, tmp_path / "hidden")
    assert not (tmp_path / "hidden").exists()
