"""Folders of shards: whatever happens on the way, the end is the same, byte for byte."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch

from partreid.errors import ConfigError, DataError
from partreid.inference._shards import ShardSettings, embed_shards, finish_job, open_job
from partreid.inference.embedding_file import save_embeddings
from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import iter_embeddings, load_embeddings
from partreid.types import PartEmbeddings
from tests.inference.plain_network import plain_extractor, write_images

SETTINGS = ShardSettings(shard_size=5, batch_size=2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """43 images: nine shards, the last of three. Read only."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 43)
    return folder


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted run."""
    return content(make(tmp_path_factory.mktemp("whole"), images))


def make(
    folder: Path, images: Any, *, extractor: PartExtractor | None = None, settings: ShardSettings = SETTINGS,
    skip: bool = False, part: tuple[int, int] = (1, 1),
) -> Path:  # fmt: skip
    """A folder as one process makes it, or one of several."""
    extractor = extractor or plain_extractor()
    with open_job(folder, images, extractor, settings, part=part) as job:
        consume(embed_shards(extractor, job, job.faults(), skip=skip, readers=1))
        if not job.absent():
            finish_job(job)
    return folder


def missing(folder: Path, images: Any, part: tuple[int, int] = (1, 1)) -> list[int]:
    """The shards that the next run would make."""
    with open_job(folder, images, plain_extractor(), SETTINGS, part=part) as job:
        return list(job.faults())


def consume(steps: Iterable[tuple[int, int]]) -> int:
    return sum(count for _, count in steps)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_hold_what_a_stream_gives(images: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    assert sorted(expected) == ["manifest.json", *(f"shard-{i:06d}.safetensors" for i in range(9))]
    folder = make(tmp_path / "deep" / "out", images)
    assert content(folder) == expected
    embeddings, names = load_embeddings(folder)
    whole = plain_extractor().embed(images)
    assert torch.equal(embeddings.vectors, whole.vectors)
    assert torch.equal(embeddings.visibility, whole.visibility)
    assert (embeddings.slots, embeddings.model) == (whole.slots, "plain")
    assert list(names) == [str(file) for file in sorted(images.rglob("*.png"))]
    assert [len(e) for e, _ in iter_embeddings(folder)] == [5] * 8 + [3]


@pytest.mark.parametrize("file_type", ["safetensors", "parquet"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(images: Path, tmp_path: Path, file_type: Any) -> None:
    settings = ShardSettings(shard_size=5, batch_size=2, file_type=file_type)
    expected = content(make(tmp_path / "whole", images, settings=settings))
    context, moments = get_context("fork"), random.Random(7)  # forking costs nothing beside an import of PyTorch
    target, kills = tmp_path / "out", 0
    slow = plain_extractor(pause=0.002)
    for _ in range(60):
        process = context.Process(target=make, args=(target, images), kwargs={"extractor": slow, "settings": settings})
        process.start()
        process.join(moments.uniform(0.002, 0.06))
        if not process.is_alive():
            assert process.exitcode == 0
            break
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        kills += 1
        whole = list(target.glob("shard-*")) if target.exists() else []
        assert all(path.read_bytes() == expected[path.name] for path in whole)  # never half a shard
    assert kills >= 3
    assert content(make(target, images, settings=settings)) == expected


def test_a_damaged_or_lost_shard_is_made_again(images: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    folder = make(tmp_path, images)
    whole = expected["shard-000002.safetensors"]
    (folder / "shard-000002.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "shard-000004.safetensors").unlink()
    (folder / "shard-000005.safetensors").write_bytes(b"")
    # A whole shard, but of other images.
    (folder / "shard-000007.safetensors").write_bytes(expected["shard-000006.safetensors"])
    for name in (".manifest.x.json", ".skipped.x.csv"):  # as killed processes leave them
        (folder / name).write_bytes(whole[:10])
    for part in ("1-of-1", "2-of-7"):
        (folder / f".part-{part}").mkdir()
        (folder / f".part-{part}.lock").touch()
        for name in (".shard-000001.x.safetensors", "images", ".tmpYrcZId"):
            (folder / f".part-{part}" / name).write_bytes(whole[:10])
    assert missing(folder, images) == [2, 4, 5, 7]
    with open_job(folder, images, plain_extractor(), SETTINGS) as job:
        assert consume(embed_shards(plain_extractor(), job, job.faults())) == 20
        finish_job(job)
    assert content(folder) == expected


def test_an_unfinished_folder_is_told_from_a_whole_one(images: Path, tmp_path: Path) -> None:
    extractor = plain_extractor()
    with open_job(tmp_path, images, extractor, SETTINGS) as job:
        consume(embed_shards(extractor, job, [0, 3]))
    with pytest.raises(DataError, match=r"not finished: 7 of 9 shards are missing, the first is shard-000001"):
        load_embeddings(tmp_path)
    with pytest.raises(DataError, match="not a folder of embeddings"):
        load_embeddings(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extractor": plain_extractor(fingerprint="other")}, r"model was plain, now other"),
        ({"settings": ShardSettings(shard_size=7, batch_size=2)}, r"shard_size was 5, now 7"),
        ({"settings": ShardSettings(shard_size=5, batch_size=3)}, r"batch_size was 2, now 3"),
        ({"settings": ShardSettings(shard_size=5, batch_size=2, precision="bfloat16")}, r"precision was float32"),
        ({"settings": ShardSettings(shard_size=5, batch_size=2, file_type="parquet")}, r"file_type was safetensors"),
        ({"images": "fewer"}, r"images was 43, now 22; names_sha256 was .*; shards was 9, now 5"),
        ({"images": "other order"}, r"begun differently: names_sha256"),
        ({"images": "arrays"}, r"made from files, got ndarray"),
    ],
)
def test_another_model_other_images_and_settings_are_refused(
    images: Path, expected: dict[str, bytes], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = make(tmp_path, images)
    other = {
        "fewer": images / "camera0",
        "other order": [images / "camera1", images / "camera0"],
        "arrays": torch.zeros(2, 8, 8, 3, dtype=torch.uint8).numpy(),
    }
    change = {**change, "images": other.get(change.get("images", ""), images)}
    with pytest.raises(DataError, match=message):
        make(folder, **change)
    assert content(folder) == expected


def test_nothing_and_nonsense(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one image"):
        make(tmp_path / "none", [])
    with pytest.raises(ConfigError, match="shards of 0"):
        ShardSettings(shard_size=0)
    with (
        open_job(tmp_path / "out", images, plain_extractor(), SETTINGS) as job,
        pytest.raises(DataError, match="made with model plain, got other"),
    ):
        consume(embed_shards(plain_extractor(fingerprint="other"), job, [0]))
    for part in ((0, 2), (3, 2), (1, 0), (-1, -1)):
        with pytest.raises(ConfigError, match=r"a part \(i, n\) with 1 <= i <= n"):
            missing(tmp_path / "out", images, part)
    (tmp_path / "out" / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        missing(tmp_path / "out", images)


def test_damaged_images_stop_it_or_are_listed(images: Path, tmp_path: Path) -> None:
    source = tmp_path / "images"
    files = write_images(source, 43)
    damaged = [7, *range(10, 15), 42]  # a whole shard among them
    for i in damaged:
        files[i].write_bytes(b"\xff\xd8 no image")
    folder = tmp_path / "out"
    with pytest.raises(DataError, match=r"007\.png is a damaged JPEG"):
        make(folder, source)
    assert [path.name for path in sorted(folder.glob("shard-*"))] == ["shard-000000.safetensors"]
    make(folder, source, skip=True)
    with (folder / "skipped.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(int(row["position"]), row["name"]) for row in rows] == [(i, str(files[i])) for i in damaged]
    assert all("damaged JPEG" in row["reason"] for row in rows)
    embeddings, names = load_embeddings(folder)
    assert list(names) == [str(file) for i, file in enumerate(files) if i not in damaged]
    assert torch.equal(embeddings.vectors, plain_extractor().embed([Path(name) for name in names]).vectors)
    assert content(make(tmp_path / "again", source, skip=True)) == content(folder)
    assert missing(folder, source) == []


def test_names_of_any_bytes(tmp_path: Path) -> None:
    source = tmp_path / "images"
    whole = write_images(tmp_path / "spare", 1)[0].read_bytes()
    source.mkdir()
    names = ["a\nb.png", "ü ✓.png", os.fsdecode(b"\xff\xfe.png")]
    for name in names:
        (source / name).write_bytes(whole)
    found = load_embeddings(make(tmp_path / "out", source))[1]
    assert {Path(name).name for name in found} == set(names)
    with pytest.raises(DataError, match="UTF-8 alone"):
        make(tmp_path / "parquet", source, settings=ShardSettings(file_type="parquet"))


def test_parquet_is_a_table_that_others_read(tmp_path: Path) -> None:
    embeddings = PartEmbeddings(torch.randn(3, 2, 4), torch.rand(3, 2), ("foreground", "Kopf, ü"), model="m")
    path = save_embeddings(tmp_path / "e.parquet", embeddings, names=["a", "ü", ""], skipped=[(3, "x", "why")])
    table = pyarrow.parquet.read_table(path)
    assert table["name"].to_pylist() == ["a", "ü", ""]
    assert table["vectors"][1].as_py()["Kopf, ü"] == embeddings.vectors[1, 1].tolist()
    assert table["visibility"][2].as_py() == dict(zip(embeddings.slots, embeddings.visibility[2].tolist(), strict=True))
    loaded, names = load_embeddings(path)
    assert torch.equal(loaded.vectors, embeddings.vectors)
    assert torch.equal(loaded.visibility, embeddings.visibility)
    assert (loaded.slots, loaded.model, names) == (embeddings.slots, "m", ("a", "ü", ""))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not an intact file of embeddings"):
        load_embeddings(path)


def test_parts_make_the_bytes_of_one_process(images: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert [missing(folder, images, (i, 4)) for i in (1, 2, 3, 4)] == [[0, 4, 8], [1, 5], [2, 6], [3, 7]]
    assert missing(folder, images, (12, 12)) == []  # more parts than shards
    make(folder, images, part=(2, 2))
    with pytest.raises(DataError, match="not finished: 5 of 9 shards are missing"):
        load_embeddings(folder)
    with open_job(folder, images, plain_extractor(), SETTINGS, part=(1, 3)) as job:
        assert list(job.faults()) == [0, 6]  # 3 was made by the other
        with pytest.raises(DataError, match=r"is embedding part 1/3 of .*out\. Wait for it to end"):
            missing(folder, images, (1, 3))
        with pytest.raises(DataError, match="begun differently: batch_size was 2, now 3"):
            make(folder, images, settings=ShardSettings(shard_size=5, batch_size=3), part=(2, 3))
        make(folder, images)  # the whole command makes what is missing
        assert job.faults() == {}
    assert content(folder) == expected


def test_parts_killed_and_run_again_lose_and_double_nothing(
    images: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    context, moments = get_context("fork"), random.Random(3)
    target, kills = tmp_path / "out", 0
    slow = plain_extractor(pause=0.002)
    for _ in range(20):
        parts = [
            context.Process(target=make, args=(target, images), kwargs={"extractor": slow, "part": (i, 3)})
            for i in (1, 2, 3)
        ]
        for process in parts:
            process.start()
        moment = time.monotonic() + moments.uniform(0.01, 0.1)
        for process in parts:
            process.join(max(0, moment - time.monotonic()))
        killed = [process for process in parts if process.is_alive()]
        for process in killed:
            process.kill()
        for process in parts:
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
        kills += len(killed)
        assert all(path.read_bytes() == expected[path.name] for path in target.glob("shard-*"))
        if not killed:
            break
    assert kills >= 3
    for i in (1, 2, 3):  # the last one clears up after those that were killed
        make(target, images, part=(i, 3))
    assert content(target) == expected


def test_a_folder_of_an_earlier_version_is_read_and_resumed(
    images: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    folder = make(tmp_path, images)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["pictures"] = manifest.pop("images")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert len(load_embeddings(folder)[1]) == 43
    (folder / "shard-000004.safetensors").unlink()
    assert content(make(folder, images))["shard-000004.safetensors"] == expected["shard-000004.safetensors"]
    assert b'"pictures' in expected["shard-000004.safetensors"].replace(b"\\", b"")  # its checksum includes the name
