"""After a compaction nothing of a deleted item is in any file of a gallery's folder, wherever one was killed before."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.errors import DataError
from partreid.retrieval import Gallery
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.codes import SlotCodes
from partreid.retrieval.search.exact import can_run
from partreid.retrieval.stores.lance.store import LanceStore
from partreid.types.gallery import GalleryItem, GalleryRecords
from tests.retrieval.stores.killed_at_a_step import compact_until
from tests.retrieval.stores.lance_history import Items, Step, held, records, same

VICTIMS = [f"victim-{i}-Qz7" for i in range(4)]
MOST_STEPS = 500


@dataclass(frozen=True)
class Secrets:
    """A gallery with deleted items, and bytes that are theirs."""

    folder: Path
    there: Items
    texts: list[bytes]
    numbers: list[bytes]

    def found(self, folder: Path) -> list[str]:
        """Files of a folder that hold any of them."""
        return [
            f"{path.relative_to(folder)}: {secret!r:.40}"
            for path in sorted(folder.rglob("*")) if path.is_file()
            for secret in [*self.texts, *self.numbers] if secret in path.read_bytes()
        ]  # fmt: skip


def opened(folder: Path, *, create: bool = False) -> LanceStore:
    return LanceStore(folder, create=create, engine="int8" if can_run() else "auto")


def with_victims(names: list[str], victims: list[str], seed: int) -> GalleryRecords:
    some = records([*names, *victims], seed)
    items = [*some.items[: len(names)], *(
        GalleryItem(name, camera="camera-Xk9", time=1.2e9, metadata={"note": "note-Wv3", "file": f"/a/{name}.jpg"})
        for name in victims
    )]  # fmt: skip
    return GalleryRecords(tuple(items), some.embeddings)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """Victims in a large file with codes, in a small one, replaced by others, and in what a killed writer left."""
    folder = tmp_path_factory.mktemp("secrets") / "g"
    first = with_victims([f"p{i:03d}" for i in range(600)], VICTIMS[:2], 1)
    second = with_victims(["q0", "q1"], VICTIMS[2:], 2)
    there, codes = Items(), []
    for one in (
        Step("add", first),
        Step("add", second),
        Step("replace", records([VICTIMS[3]], 3)),  # another item under its id; what it was before is to go
        Step("delete", where=Filter(ids=VICTIMS[:3])),
        Step("add", records(["r"], 4)),
    ):
        store = opened(folder, create=True)
        one.apply(store)
        Gallery(store).search(first.embeddings[:1], 3)  # makes codes
        there = one.applied(there)
    shutil.copy(folder / "gallery.json", folder / "former")
    left = with_victims([], ["victim-unacknowledged-Qz7"], 5)
    Step("add", left).apply(opened(folder))
    (folder / "former").replace(folder / "gallery.json")  # as if it was killed before that was written
    (last,) = (folder / "acknowledged").iterdir()
    last.rename(last.with_name(str(int(last.name) - 1)))
    (folder / ".gallery.leftover.json").write_bytes(b"note-Wv3")
    gone = [GalleryRecords.cat([first[[600, 601]], second[[2, 3]], left])]
    numbers = [row.tobytes() for one in gone for row in one.embeddings.vectors.numpy().reshape(-1, 24)]
    if can_run():
        seen = torch.ones(5, 3, dtype=torch.bool)
        codes = [row.tobytes() for row in SlotCodes.build(gone[0].embeddings.vectors, seen).codes]
        numbers += [code for code in codes if len(set(code)) > 4]
    texts = [name.encode() for name in [*VICTIMS[:3], "victim-unacknowledged-Qz7", "camera-Xk9", "note-Wv3"]]
    store = opened(folder)
    assert same(held(store), there)
    known = Secrets(folder, there, texts, numbers)
    places = {line.partition("/")[0] for line in known.found(folder)}
    assert {"data", *(["codes"] if can_run() else [])} <= places, "they are there before"
    return known


def check_erased(secrets: Secrets, folder: Path) -> None:
    store = opened(folder)
    assert same(held(store), secrets.there)
    store.compact()
    assert secrets.found(folder) == []
    assert same(held(store), secrets.there)
    assert store.verify() == []


def killed_at(folder: Path, step: int) -> bool:
    """Whether a compaction was killed at that step, rather than done before it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.retrieval.stores.killed_at_a_step"])
    process = context.Process(target=compact_until, args=(str(folder), step))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def kill_at_every(secrets: Secrets, folder: Path, stride: int) -> int:
    for step in range(1, MOST_STEPS, stride):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(secrets.folder, folder)
        killed = killed_at(folder, step)
        if not killed:
            assert secrets.found(folder) == []
        check_erased(secrets, folder)
        if not killed:
            return step
    raise AssertionError("it has no end")


def test_nothing_is_left_after_a_compaction(secrets: Secrets, tmp_path: Path) -> None:
    shutil.copytree(secrets.folder, tmp_path / "g")
    check_erased(secrets, tmp_path / "g")


def test_killed_now_and_then(secrets: Secrets, tmp_path: Path) -> None:
    assert kill_at_every(secrets, tmp_path / "g", 15) > 30


@pytest.mark.slow
def test_killed_at_every_step(secrets: Secrets, tmp_path: Path) -> None:
    assert kill_at_every(secrets, tmp_path / "g", 1) > 30


def test_a_reader_goes_on_and_writes_no_codes_of_what_is_gone(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "g"
    shutil.copytree(secrets.folder, folder)
    shutil.rmtree(folder / "codes", ignore_errors=True)
    reader, query = opened(folder), records(["query"], 9).embeddings
    before = held(reader)
    from partreid.retrieval.stores.lance import fragment

    made = fragment.save_codes

    def save_late(path: Path, *arguments: object) -> None:
        if folder.joinpath("data", f"{path.stem}.lance").exists():
            opened(folder).compact()  # by another process, between the reading and the writing of codes
        made(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fragment, "save_codes", save_late)
    found = Gallery(reader).search(query, 5)
    monkeypatch.undo()
    assert len(found[0]) == 5
    assert secrets.found(folder) == []
    assert same(held(reader), before)


def test_a_walk_is_refused_after_a_compaction(secrets: Secrets, tmp_path: Path) -> None:
    folder = tmp_path / "g"
    shutil.copytree(secrets.folder, folder)
    walk = opened(folder).walk(Filter(), size=100)
    next(walk)
    opened(folder).compact()
    with pytest.raises(DataError, match="compacted.*Read it again from the start"):
        list(walk)


def test_a_file_that_cannot_be_removed_is_named(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "g"
    shutil.copytree(secrets.folder, folder)
    store, unlink = opened(folder), Path.unlink

    def refused(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".lance":
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(DataError, match=r"\.lance cannot be removed, and may hold deleted items"):
        store.compact()
    monkeypatch.undo()
    check_erased(secrets, folder)
    assert np.isfinite(held(store)["r"][1]).all()
