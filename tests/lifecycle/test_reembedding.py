"""Another model for a gallery."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from partreid.errors import ConfigError, DataError
from partreid.inference.extractor import PartExtractor
from partreid.lifecycle import re_embed
from partreid.retrieval import Gallery
from tests.lifecycle.people import NAMES, fill, model


@pytest.fixture(scope="module")
def former() -> PartExtractor:
    return model(1)


@pytest.fixture(scope="module")
def newer() -> PartExtractor:
    return model(2)


def folder_gallery(place: Path, extractor: PartExtractor) -> tuple[Gallery, list[Path]]:
    pytest.importorskip("lance")
    gallery = Gallery(place / "people", extractor=extractor)
    return gallery, fill(gallery, place / "crops", extractor)


def assert_of(gallery: Gallery, extractor: PartExtractor, paths: list[Path]) -> None:
    held = gallery.get(gallery.known(NAMES))
    assert gallery.model == extractor.fingerprint
    expected = extractor.embed([path for path, name in zip(paths, NAMES, strict=True) if name in held.ids])
    torch.testing.assert_close(held.embeddings.vectors.float(), expected.vectors, rtol=2e-3, atol=2e-3)


def test_a_folder_answers_as_before_until_all_is_new(
    tmp_path: Path, former: PartExtractor, newer: PartExtractor
) -> None:
    gallery, paths = folder_gallery(tmp_path, former)
    reader = Gallery(tmp_path / "people")
    items = [*gallery]
    seen: list[tuple[str, int]] = []

    def look(count: int) -> None:
        seen.append((reader.model, len(reader.search(former.embed(paths[:1]), 3)[0])))

    done = re_embed(gallery, newer, advance=look)
    assert seen == [(former.fingerprint, 3)]
    assert (done.items, done.left_out) == (6, {})
    assert [*reader] == items
    assert_of(reader, newer, paths)
    assert gallery.search(paths[0], 1)[0][0].id == NAMES[0], "its own model is the new one from now on"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "people"]
    with pytest.raises(DataError, match="There is nothing to do"):
        re_embed(gallery, newer)


def test_stopped_it_resumes_and_sees_what_changed_meanwhile(
    tmp_path: Path, former: PartExtractor, newer: PartExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, paths = folder_gallery(tmp_path, former)

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        re_embed(gallery, newer, advance=stop)
    assert gallery.model == former.fingerprint
    assert (tmp_path / ".people.re-embedding").is_dir()
    embedded: list[int] = []
    stream = PartExtractor.stream
    monkeypatch.setattr(
        PartExtractor, "stream",
        lambda self, images, **more: embedded.append(len(images)) or stream(self, images, **more),
    )  # fmt: skip

    def change(count: int) -> None:
        gallery.delete(NAMES[:1])
        gallery.upsert(former.embed(paths[1:2]), NAMES[1:2], cameras=7, metadata=[{"file": str(paths[1])}])
        gallery.add(former.embed(paths[:1]), ["new"], metadata=[{"file": str(paths[0])}])
        embedded.clear()

    re_embed(gallery, newer, advance=change)
    assert embedded == [2], "what is new or changed, and no other"
    assert [item.id for item in gallery] == ["new", *NAMES[1:]]
    assert gallery.get(NAMES[1:2]).items[0].camera == "7"
    assert_of(gallery, newer, paths)


def test_items_without_their_images_are_named(tmp_path: Path, former: PartExtractor, newer: PartExtractor) -> None:
    gallery = Gallery(extractor=former)
    paths = fill(gallery, tmp_path, former)
    paths[2].unlink()
    paths[3].write_bytes(b"no image")
    gallery.add(former.embed(paths[:1]), ["no file"])
    gallery.add(former.embed(paths[:1]), ["track"], metadata=[{"file": str(paths[0]), "boxes": 40}])
    gallery.add(former.embed(paths[:1]), ["boxed"], metadata=[{"file": str(paths[0]), "box": [0, 0, 16, 32]}])
    for wrong in ({}, {"tracks_from_one_image": True}):
        with pytest.raises(DataError, match="cannot be embedded again .*move-files"):
            re_embed(gallery, newer, **wrong)
        assert gallery.model == former.fingerprint
    done = re_embed(gallery, newer, skip_missing=True)
    assert {name: reason[:9] for name, reason in done.left_out.items()} == {
        NAMES[2]: "its image", NAMES[3]: done.left_out[NAMES[3]][:9], "no file": "names no ", "track": "is a trac",
    }  # fmt: skip
    assert [item.id for item in gallery] == ["boxed", NAMES[0], NAMES[1], NAMES[4], NAMES[5]]
    assert not torch.equal(gallery.get(["boxed"]).embeddings.vectors, gallery.get(NAMES[:1]).embeddings.vectors)


def test_into_another_gallery(tmp_path: Path, former: PartExtractor, newer: PartExtractor) -> None:
    gallery, target = Gallery(extractor=former), Gallery()
    paths = fill(gallery, tmp_path, former)
    for left in (6, 5):
        assert re_embed(gallery, newer, target=target).items == left
        assert gallery.model == former.fingerprint
        assert_of(target, newer, paths)
        gallery.delete(NAMES[:1])


def test_a_store_that_cannot_change_at_once_asks_for_a_target(
    tmp_path: Path, former: PartExtractor, newer: PartExtractor
) -> None:
    client = pytest.importorskip("qdrant_client").QdrantClient(":memory:")
    from partreid.retrieval.stores.qdrant.store import QdrantStore

    gallery = Gallery(QdrantStore(client, "people"))
    fill(gallery, tmp_path, former)
    with pytest.raises(ConfigError, match="--target"):
        re_embed(gallery, newer)
    shutil.rmtree(tmp_path)
