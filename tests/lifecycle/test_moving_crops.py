"""Crops that have moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.lifecycle import move_files
from partreid.retrieval import Gallery
from tests.lifecycle.people import NAMES, fill


def files(gallery: Gallery) -> list[str]:
    return [str(item.metadata["file"]) for item in gallery]


def test_items_name_the_new_folder(tmp_path: Path) -> None:
    gallery = Gallery()
    paths = fill(gallery, tmp_path / "old" / "crops")
    gallery.add(gallery.get(NAMES[:1]).embeddings, ["other"], metadata=[{"file": str(tmp_path / "older" / "a.png")}])
    before = gallery.get(NAMES)
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new" / "crops" / paths[2].name).unlink()
    with pytest.raises(DataError, match="1 files are not in .*person-2.png. Nothing was changed"):
        move_files(gallery, tmp_path / "old", tmp_path / "new")
    assert files(gallery)[1:] == [str(path) for path in paths]
    looked = move_files(gallery, tmp_path / "old", tmp_path / "new", dry_run=True)
    assert files(gallery)[1:] == [str(path) for path in paths]
    done: list[int] = []
    moved = move_files(gallery, tmp_path / "old", tmp_path / "new", skip_missing=True, advance=done.append)
    assert (looked, sum(done)) == (moved, 7)
    assert (moved.moved, moved.elsewhere) == (5, 1)
    assert moved.missing == (str(tmp_path / "new" / "crops" / paths[2].name),)
    after = gallery.get(NAMES)
    for i, item in enumerate(after.items):
        place = paths[i] if i == 2 else tmp_path / "new" / "crops" / paths[i].name
        assert item.metadata == {"file": str(place), "row": i}
        assert (item.id, item.camera, item.time) == (NAMES[i], before.items[i].camera, before.items[i].time)
    assert (after.embeddings.vectors == before.embeddings.vectors).all()
    assert move_files(gallery, tmp_path / "old", tmp_path / "new", skip_missing=True).moved == 0
