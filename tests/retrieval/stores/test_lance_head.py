"""What ``gallery.json`` may say, and that an older one, put back alone, is noticed."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.retrieval import Filter, Gallery
from partreid.retrieval.stores.lance import head as lance_head
from partreid.retrieval.stores.lance import writer as lance_writer
from partreid.retrieval.stores.lance.store import LanceStore
from tests.retrieval.stores.lance_history import records

ALL = Filter()
Body = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gallery of 20 items, of which one was deleted."""
    store = LanceStore(tmp_path / "g", create=True)
    store.write(records([f"p{i:02d}" for i in range(20)], 1), replace=False)
    store.delete(Filter(ids="p03"))
    return tmp_path / "g"


def forge(folder: Path, change: Callable[[Body], object]) -> None:
    """Change what the head says, with a right checksum."""
    whole = json.loads((folder / "gallery.json").read_text())
    change(whole["gallery"])
    whole["crc"] = zlib.crc32(json.dumps(whole["gallery"], sort_keys=True).encode())
    (folder / "gallery.json").write_text(json.dumps(whole))


def fragment(**said: Any) -> Callable[[Body], object]:
    return lambda body: body["fragments"][0].update(said)


def header(**said: Any) -> Callable[[Body], object]:
    return lambda body: body["header"].update(said)


@pytest.mark.parametrize(
    "change",
    [
        fragment(file="../../../../etc/passwd"),
        fragment(file="/etc/passwd"),
        fragment(file=7),
        fragment(file=""),
        fragment(rows=10**12),
        fragment(rows=10**30),
        fragment(rows=-1),
        fragment(rows=True),
        fragment(rows="20"),
        fragment(rows=19.0),
        fragment(size=10**15),
        fragment(extents=[[0, 10**15]]),
        fragment(extents=[[-16, 960]]),
        fragment(extents=[[1]]),
        fragment(extents=7),
        fragment(deleted=5),
        fragment(deleted=21),
        fragment(deletions=None),
        fragment(deletions={"file": "../../x", "size": 1, "crc": 1}),
        fragment(deletions=[1]),
        fragment(id=None),
        lambda body: body["fragments"].append(dict(body["fragments"][0])),
        lambda body: body["fragments"].append("x"),
        lambda body: body.pop("fragments"),
        lambda body: body.update(fragments=5),
        lambda body: body.update(fragments={"a": 1}),
        lambda body: body.update(header=[1]),
        lambda body: body.pop("header"),
        header(width=0),
        header(width=10**9),
        header(width="8"),
        header(slots=["a", "b"]),
        header(slots="abc"),
        header(slots=[]),
        header(slots=[1, 2, 3]),
        header(model=None),
        header(compare_weights={"hat": 2.0}),
        header(compare_weights={"head": 0.0}),
        header(compare_weights=[1.0, 2.0, 3.0]),
        lambda body: body.update(version="x"),
        lambda body: body.update(version=-1),
        lambda body: body.update(version=10**40),
        lambda body: body["manifest"].update(file="../../x"),
        lambda body: body["manifest"].update(file="_versions/../../x"),
        lambda body: body.update(manifest=7),
    ],
)
def test_a_forged_head_is_refused(folder: Path, change: Callable[[Body], object]) -> None:
    forge(folder, change)
    with pytest.raises(DataError, match="damaged"):
        Gallery.open(folder).count()


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, '{"type": "partreid gallery", "crc": 1' + "0" * 5000]
)
def test_hostile_json_is_refused(folder: Path, content: str) -> None:
    (folder / "gallery.json").write_text(content)
    with pytest.raises(DataError, match="damaged"):
        Gallery.open(folder)


def test_what_a_later_version_may_say_more_is_passed_over(folder: Path) -> None:
    forge(folder, lambda body: (body.update(more=1), body["header"].update(more=[2])))
    assert len(Gallery.open(folder)) == 19


def test_an_older_head_that_is_put_back_is_noticed(folder: Path) -> None:
    open_before = LanceStore(folder, create=False)
    old = (folder / "gallery.json").read_bytes()
    writer = LanceStore(folder, create=False)
    for number in range(12):
        writer.write(records([f"new{number}"], number), replace=False)
    kept = sorted(path.name for path in (folder / "data").iterdir())
    new = (folder / "gallery.json").read_bytes()
    (folder / "gallery.json").write_bytes(old)
    for ask in (
        lambda: Gallery.open(folder),
        lambda: Gallery.open(folder, create=False),
        lambda: writer.count(ALL),
        lambda: open_before.verify(),
        lambda: writer.write(records(["more"], 1), replace=False),
        lambda: writer.delete(ALL),
    ):
        with pytest.raises(DataError, match=r"gallery\.json is outdated: it has version 2, but version 14 was"):
            ask()
    assert sorted(path.name for path in (folder / "data").iterdir()) == kept  # nothing was overwritten or removed
    (folder / "gallery.json").write_bytes(new)
    assert (writer.count(ALL), writer.verify()) == (31, [])
    (folder / "gallery.json").write_bytes(old)
    shutil.rmtree(folder / "acknowledged")  # the way out that the message names
    assert LanceStore(folder, create=False).count(ALL) == 19


def test_galleries_of_before_are_read_and_written(folder: Path) -> None:
    """They have no note of what was acknowledged, and no weights of slots."""
    forge(folder, lambda body: body["header"].pop("compare_weights"))
    shutil.rmtree(folder / "acknowledged")
    store = LanceStore(folder, create=False)
    assert (store.count(ALL), store.verify()) == (19, [])
    store.write(records(["new"], 5), replace=False)
    assert [path.name for path in (folder / "acknowledged").iterdir()] == ["3"]


def test_a_write_that_is_done_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails behind the moment in which ``gallery.json`` takes its place."""
    store = LanceStore(folder, create=False)

    def fail(*_: object, **__: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(lance_head.Path, "touch", fail)
    monkeypatch.setattr(lance_writer.os, "utime", fail)
    monkeypatch.setattr(lance_writer, "_CLEAN_EVERY", 1)
    store.write(records(["a"], 5), replace=False)
    real = os.replace

    def then_nothing_can_be_removed(*names: Any) -> None:
        real(*names)
        monkeypatch.setattr(Path, "unlink", fail)

    monkeypatch.setattr(os, "replace", then_nothing_can_be_removed)
    store.delete(Filter(ids="a"))
    monkeypatch.undo()
    assert LanceStore(folder, create=False).count(ALL) == 19
    assert store.verify() == []


def test_a_failing_unlink_hides_no_other_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(Path, "unlink", fail)
    with atomic_file(tmp_path / "a", error=DataError) as temporary:
        temporary.write_text("done")
    assert (tmp_path / "a").read_text() == "done"
    with pytest.raises(ValueError, match="mine"), atomic_file(tmp_path / "b", error=DataError):
        raise ValueError("mine")


def test_a_walk_whose_files_are_cleared_away_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_writer, "_GRACE", -1)
    monkeypatch.setattr(lance_writer, "_CLEAN_EVERY", 1)
    with Gallery.open(folder) as gallery:
        monkeypatch.setattr("partreid.retrieval.gallery._PAGE", 5)
        pages = gallery.records()
        next(pages)
        for number in range(3):
            LanceStore(folder, create=False).write(records([f"p{i:02d}" for i in range(20)], number), replace=True)
        with pytest.raises(DataError, match="was changed while all of it was read.*Read it again from the start"):
            list(pages)
        assert len(gallery) == 20


def test_a_walk_keeps_its_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.retrieval.stores.lance.store._LEASE", -1)
    monkeypatch.setattr("partreid.retrieval.gallery._PAGE", 5)
    monkeypatch.setattr(lance_writer, "_CLEAN_EVERY", 1)
    with Gallery.open(folder) as gallery:
        pages = gallery.records()
        next(pages)
        store = LanceStore(folder, create=False)
        for number in range(2):
            store.write(records([f"p{i:02d}" for i in range(20)], number), replace=True)
            for path in folder.rglob("*.*"):
                os.utime(path, (1, 1))  # long ago
            next(pages)
            store.write(records(["other"], number), replace=True)
        assert len(list(pages)[-1]) == 4
