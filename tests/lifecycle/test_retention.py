"""Items that are older than they may be, and their crops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from partreid.errors import ConfigError, DataError
from partreid.lifecycle import CropFiles, crops_of, delete_crops, expire, preview_expiry
from partreid.retrieval import Filter, Gallery
from tests.lifecycle.people import NAMES, NOW, fill


@pytest.fixture
def gallery() -> Gallery:
    return Gallery()


def test_what_is_old_is_deleted_and_what_has_no_time_is_named(gallery: Gallery, tmp_path: Path) -> None:
    paths = fill(gallery, tmp_path)
    expiry = preview_expiry(gallery, NOW - timedelta(days=25))
    assert (expiry.deletion.count, expiry.undated, expiry.crops) == (3, (NAMES[0],), None)
    assert len(gallery) == 6, "a look deletes nothing"
    assert expire(gallery, expiry) == 3
    assert [item.id for item in gallery] == NAMES[:3]
    assert all(path.exists() for path in paths)
    with_them = preview_expiry(gallery, NOW, cameras=[1], undated=True, with_crops=True)
    assert (with_them.deletion.count, with_them.undated, len(with_them.crops.files)) == (3, (), 3)  # type: ignore[union-attr]
    assert expire(gallery, with_them) == 3
    assert [path.exists() for path in paths] == [False] * 3 + [True] * 3


def test_the_future_and_a_changed_gallery_are_refused(gallery: Gallery, tmp_path: Path) -> None:
    paths = fill(gallery, tmp_path)
    with pytest.raises(ConfigError, match="lies in the future"):
        preview_expiry(gallery, datetime.now(UTC) + timedelta(days=1))
    expiry = preview_expiry(gallery, NOW - timedelta(days=25), with_crops=True)
    gallery.delete([NAMES[5]])
    with pytest.raises(DataError, match="changed meanwhile"):
        expire(gallery, expiry)
    assert len(gallery) == 5
    assert all(path.exists() for path in paths)


def test_files_that_show_others_stay(gallery: Gallery, tmp_path: Path) -> None:
    paths = fill(gallery, tmp_path)
    link, folder = tmp_path / "link.png", tmp_path / "folder"
    link.symlink_to(paths[0])
    folder.mkdir()
    files = [{"file": str(paths[1]), "box": [0, 0, 9, 9]}, {"file": str(paths[2])}, {"file": str(link)},
             {"file": str(folder)}, {"file": "relative.png"}, {"file": str(tmp_path / ("x" * 240) / ("y" * 255))},
             {"file": str(tmp_path / "gone.png")}, {"file": 3}]  # fmt: skip
    embeddings = gallery.get(NAMES).embeddings
    ids = [f"more-{i}" for i in range(len(files))]
    gallery.add(embeddings[[0] * len(files)], ids, metadata=files)
    found = crops_of(gallery, Filter(ids=[*NAMES[1:4], *ids]))
    assert found.files == (paths[2], paths[3])  # both items of the first of these are meant
    assert {Path(name).name[:9]: reason.split(":")[0] for name, reason in found.left.items()} == {
        "person-1.": "a frame that may show others", "link.png": "a link, or no file", "folder": "a link, or no file",
        "relative.": "its path is relative to an unknown folder",
        "y" * 9: "its path is too long to look for among the other items",
    }  # fmt: skip
    assert crops_of(gallery, Filter(ids=[NAMES[2]])).left == {str(paths[2]): "another item shows it too"}


def test_a_file_that_cannot_be_deleted_is_named(tmp_path: Path) -> None:
    first, folder = tmp_path / "a.png", tmp_path / "folder"
    first.write_bytes(b"a")
    folder.mkdir()
    with pytest.raises(DataError, match=r"Cannot delete .*folder.*1 files were deleted before it"):
        delete_crops(CropFiles((first, folder)))
    assert delete_crops(CropFiles((first,))) == 0
