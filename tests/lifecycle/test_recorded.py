"""What becomes of a gallery stands in its audit log, and an erased person's ids do not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from partreid.lifecycle import (
    backup_gallery,
    compact_gallery,
    erase,
    expire,
    move_files,
    preview_erasure,
    preview_expiry,
    re_embed,
)
from partreid.retrieval import Gallery, audit_log_of, begin_audit_log
from tests.lifecycle.people import NOW, fill, model


def test_every_deed_is_one_event_that_says_what_it_changed(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "people") as gallery:
        fill(gallery, tmp_path / "crops", model(0))
        log = begin_audit_log(gallery.store.location)
        expire(gallery, preview_expiry(gallery, NOW - timedelta(days=45)))
        erase(gallery, preview_erasure(gallery, ["person-2", "person-3"]))
        compact_gallery(gallery)
        backup_gallery(gallery, tmp_path / "backup")
        (tmp_path / "crops").rename(tmp_path / "moved")
        move_files(gallery, tmp_path / "crops", tmp_path / "moved", dry_run=True)
        move_files(gallery, tmp_path / "crops", tmp_path / "moved")
        re_embed(gallery, model(1))
        found = audit_log_of(gallery.store.location)
        assert found is not None
        _, *done = [one for one in found.records() if one.get("outcome") == "done"]
    assert [one["action"] for one in done] == [
        "expire", "erase", "compact", "backup", "move-files", "move-files", "re-embed",
    ]  # fmt: skip
    told = [{key: one[key] for key in ("results", "added", "deleted", "changed") if key in one} for one in done]
    assert told == [{"deleted": 1}, {"deleted": 2}, {}, {"results": 3}, {}, {"changed": 3}, {"changed": 3}]
    assert done[1]["asked"] == {"ids": 2, "with_crops": False}
    assert not any(b"person-2" in file.read_bytes() for file in log.iterdir())
