"""Backups: whole or refused, and back as they were."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from partreid.errors import DataError
from partreid.lifecycle import backup as backing_up
from partreid.lifecycle import backup_files, backup_gallery, restore_gallery, verify_backup
from partreid.linking import Corrections
from partreid.retrieval import Filter, Gallery
from partreid.types import PartEmbeddings
from tests.lifecycle.people import NAMES, fill, model


def random_items(count: int) -> PartEmbeddings:
    return PartEmbeddings(torch.randn(count, 2, 4), torch.ones(count, 2), ("foreground", "head"), "model")


def test_with_images_and_model_and_back(tmp_path: Path) -> None:
    pytest.importorskip("lance")
    extractor = model(1)
    gallery = Gallery(tmp_path / "people", extractor=extractor)
    paths = fill(gallery, tmp_path / "crops", extractor)
    shutil.copy(paths[0], paths[1])  # two items with the same image
    Corrections().with_said(same=[NAMES[:2]]).save(tmp_path / "people" / "corrections.json")
    facts = backup_gallery(gallery, tmp_path / "backup", with_images=True, with_model=True)
    assert (facts.items, facts.images, facts.model.fingerprint) == (6, 6, extractor.fingerprint)
    assert facts.model.preprocess == extractor.preprocess.model_dump(mode="json")
    assert len([*(tmp_path / "backup" / "images").rglob("*.png")]) == 5
    shutil.rmtree(tmp_path / "crops")
    back = type(extractor).from_pretrained(tmp_path / "backup" / "model", device="cpu")
    assert back.fingerprint == extractor.fingerprint
    assert restore_gallery(tmp_path / "backup", tmp_path / "again" / "people", images_to=tmp_path / "images") == facts
    again = Gallery(tmp_path / "again" / "people", extractor=back)
    assert again.model == gallery.model
    for mine, yours in zip(gallery.get(NAMES).items, again.get(NAMES).items, strict=True):
        assert (mine.camera, mine.time, mine.metadata["row"]) == (yours.camera, yours.time, yours.metadata["row"])
        assert Path(yours.metadata["file"]).name == Path(mine.metadata["file"]).name
        assert Path(yours.metadata["file"]).read_bytes()[1:4] == b"PNG"
    assert torch.equal(gallery.get(NAMES).embeddings.vectors, again.get(NAMES).embeddings.vectors)
    assert again.verify() == []
    assert len(Corrections.load(tmp_path / "again" / "people" / "corrections.json")) == 1
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["people"]
    with pytest.raises(DataError, match="a gallery there stays as it is"):
        restore_gallery(tmp_path / "backup", tmp_path / "again" / "people")


def test_while_others_write_it_is_of_one_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lance")
    monkeypatch.setattr(backing_up, "_FILE_BYTES", 1)  # a file for each page
    gallery, writer = Gallery(tmp_path / "people"), Gallery(tmp_path / "people")
    gallery.add(random_items(3000), [f"{i:05d}" for i in range(3000)])

    def write(count: int) -> None:
        writer.delete([f"{i:05d}" for i in range(2900, 3000)])
        writer.upsert(random_items(1), ["zzz"])

    facts = backup_gallery(gallery, tmp_path / "backup", advance=write)
    assert (facts.items, len(facts.files)) == (3000, 3)
    target = Gallery()
    restore_gallery(tmp_path / "backup", target)
    assert [item.id for item in target] == [f"{i:05d}" for i in range(3000)]
    assert len(gallery) == 2901


def test_whatever_is_damaged_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    gallery, chance, refused = Gallery(), random.Random(0), 0
    fill(gallery, tmp_path / "crops")
    backup_gallery(gallery, tmp_path / "backup", with_images=True)
    for path in sorted(file for file in (tmp_path / "backup").rglob("*") if file.is_file()):
        whole = path.read_bytes()
        place = whole.find(b'"items": 6') + 9 if path.suffix == ".json" else chance.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
        for damaged in (None, b"", whole[:-2], flipped):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            target = Gallery()
            with pytest.raises(DataError):
                restore_gallery(tmp_path / "backup", target, images_to=tmp_path / "images")
            assert len(target) == 0
            assert not (tmp_path / "images").exists()
            refused += 1
        path.write_bytes(whole)
    assert refused == 4 * 8
    assert verify_backup(tmp_path / "backup").items == 6


def test_what_cannot_be_backed_up(tmp_path: Path) -> None:
    gallery = Gallery()
    with pytest.raises(DataError, match="nothing to back up"):
        backup_gallery(gallery, tmp_path / "backup")
    paths = fill(gallery, tmp_path / "crops")
    paths[2].unlink()
    with pytest.raises(DataError, match=r"The image of 'person-2' cannot be read.*move-files"):
        backup_gallery(gallery, tmp_path / "backup", with_images=True)
    assert [path.name for path in tmp_path.iterdir()] == ["crops"]
    facts = backup_gallery(gallery, tmp_path / "backup", with_images=True, skip_missing=True)
    assert (facts.items, facts.images) == (6, 5)
    with pytest.raises(DataError, match="A backup replaces nothing"):
        backup_gallery(gallery, tmp_path / "backup")
    backup_gallery(gallery, tmp_path / "plain")
    with pytest.raises(DataError, match="holds no images"):
        restore_gallery(tmp_path / "plain", tmp_path / "people", images_to=tmp_path / "images")
    with pytest.raises(DataError, match="not by"):
        backup_gallery(gallery, tmp_path / "other", extractor=model(1))


def test_what_cannot_be_restored(tmp_path: Path) -> None:
    gallery, other = Gallery(), Gallery()
    fill(gallery, tmp_path / "crops")
    backup_gallery(gallery, tmp_path / "backup")
    other.add(random_items(1), ["another"])
    with pytest.raises(DataError, match="holds 1 items that are not of this backup"):
        restore_gallery(tmp_path / "backup", other)
    other.add(random_items(1), NAMES[:1])
    with pytest.raises(DataError, match="1 ids of this backup stand for other items"):
        restore_gallery(tmp_path / "backup", other)
    with pytest.raises(DataError, match="is no backup of a gallery"):
        restore_gallery(tmp_path / "crops", Gallery())
    manifest = tmp_path / "backup" / "manifest.json"
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(said | {"version": 2}))
    with pytest.raises(DataError, match="has version 2"):
        verify_backup(tmp_path / "backup")
    body = said["backup"] | {"items": "many"}
    manifest.write_text(json.dumps(said | {"backup": body, "sha256": backup_files._digest(body)}))
    with pytest.raises(DataError, match="is damaged"):
        verify_backup(tmp_path / "backup")


def slowly(kind: str, place: str) -> None:
    """Back up or restore, a moment of waiting after each step: to be killed."""
    backing_up._FILE_BYTES = 1

    def wait(count: int) -> None:
        time.sleep(0.05)

    if kind == "backup":
        backup_gallery(Gallery(Path(place) / "people"), Path(place) / "backup", advance=wait)
    else:
        restore_gallery(Path(place) / "backup", Path(place) / "restored", advance=wait)


def test_killed_it_leaves_nothing_or_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lance")
    monkeypatch.setattr(backing_up, "_FILE_BYTES", 1)
    gallery = Gallery(tmp_path / "people")
    gallery.add(random_items(8000), [f"{i:05d}" for i in range(8000)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.lifecycle.test_backup"])
    for kind, sign, whole in (
        ("backup", ".backup.*/records-000002*", "backup"),
        ("restore", ".restored.restoring/data/*", "restored"),
    ):
        process = context.Process(target=slowly, args=(kind, str(tmp_path)))
        process.start()
        while process.is_alive() and not [*tmp_path.glob(sign)]:
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / whole).exists()
        assert [*tmp_path.glob(sign)], "it was at work"
        if kind == "backup":
            backup_gallery(gallery, tmp_path / "backup")
        else:
            done: list[int] = []
            restore_gallery(tmp_path / "backup", tmp_path / "restored", advance=done.append)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    restored = Gallery(tmp_path / "restored")
    assert [item.id for item in restored] == [item.id for item in gallery]
    assert restored.count(Filter(ids=["00000"])) == 1
