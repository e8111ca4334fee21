"""What is particular to galleries on disk: files, formats, several processes, small fragments, cached codes."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import lance
import pytest
import torch

from partreid.errors import DataError
from partreid.files import hold_folder
from partreid.retrieval import MatchingConfig
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.exact import can_run
from partreid.retrieval.stores.base import SearchRule
from partreid.retrieval.stores.lance import store as store_module
from partreid.retrieval.stores.lance import writer as lance_writer
from partreid.retrieval.stores.lance.store import LanceStore
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords
from tests.retrieval.stores.lance_history import SLOTS, WIDTH, held, records, same

ALL, PAPER = Filter(), MatchingConfig()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LanceStore]:
    made = LanceStore(tmp_path / "people", create=True)
    yield made
    made.close()


def names(count: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{i:05d}" for i in range(count)]


def rule(k: int = 5, matching: MatchingConfig = PAPER, where: Filter = ALL) -> SearchRule:
    return SearchRule(k, matching, where)


def fragments(store: LanceStore) -> list[int]:
    """Items of each fragment."""
    content = json.loads((Path(store.location) / "gallery.json").read_text())
    return [entry["rows"] - entry["deleted"] for entry in content["gallery"]["fragments"]]


def test_the_folder_is_a_lance_dataset_that_says_what_it_holds(store: LanceStore) -> None:
    some = records(names(5), 1)
    store.write(some, replace=False)
    store.delete(Filter(ids="p00003"))
    dataset = lance.dataset(store.location)
    about = json.loads(dataset.schema.metadata[b"partreid gallery"])
    assert dataset.config() == {}  # Lance itself never clears anything away
    assert about == {"format": 2, "slots": list(SLOTS), "width": WIDTH, "model": "model"}
    table = dataset.to_table(filter="id >= 'p00002'").sort_by("id")
    assert table["id"].to_pylist() == ["p00002", "p00004"]
    vectors = torch.tensor(table["vectors"].to_pylist()).view(2, len(SLOTS), WIDTH)
    torch.testing.assert_close(vectors, some.embeddings.vectors[[2, 4]].float(), rtol=0, atol=0)
    assert [json.loads(text) for text in table["metadata"].to_pylist()] == [some.items[i].metadata for i in (2, 4)]
    assert table["time"].to_pylist() == [some.items[i].time for i in (2, 4)]


@pytest.mark.parametrize("wide", [(1, 1), (3, 8), (2, 257), (9, 512)])
def test_vectors_of_any_width_come_back(tmp_path: Path, wide: tuple[int, int]) -> None:
    slots, width = wide
    vectors = torch.randn(70, slots, width, generator=torch.Generator().manual_seed(0)).half()
    embeddings = PartEmbeddings(vectors, torch.rand(70, slots), tuple(map(str, range(slots))))
    store = LanceStore(tmp_path / "g", create=True)
    store.write(GalleryRecords(records(names(70), 0).items, embeddings), replace=False)
    found = LanceStore(tmp_path / "g", create=False).fetch(ALL, limit=100)
    assert torch.equal(found.embeddings.vectors, vectors)
    assert torch.equal(found.embeddings.visibility, embeddings.visibility)


def test_what_is_no_gallery_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.jpg").write_text("hello")
    (tmp_path / "empty").mkdir()
    for create in (True, False):
        with pytest.raises(DataError, match="is a file; a gallery is a folder"):
            LanceStore(tmp_path / "file", create=create)
        with pytest.raises(DataError, match="holds other things .holiday.jpg. and no gallery"):
            LanceStore(tmp_path / "other", create=create)
    for place in ("empty", "new"):
        with pytest.raises(DataError, match="No gallery in .*expected a folder with gallery.json"):
            LanceStore(tmp_path / place, create=False)
        store = LanceStore(tmp_path / place, create=True)
        assert (store.header(), store.count(ALL), store.delete(ALL)) == (None, 0, 0)
    assert not (tmp_path / "new").exists()  # made by the first write
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(("version", "hint"), [(1, "build the gallery again"), (3, "update partreid")])
def test_other_formats_are_refused(tmp_path: Path, version: int, hint: str) -> None:
    content = {"type": "partreid gallery", "format_version": version, "count": 0, "slots": [], "ids": []}
    (tmp_path / "gallery.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"format version {version}; .*{hint}"):
        LanceStore(tmp_path, create=True)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"type": "something"}', "\0" * 100])
def test_a_damaged_gallery_json_is_refused(store: LanceStore, content: str) -> None:
    store.write(records(names(3), 0), replace=False)
    (Path(store.location) / "gallery.json").write_text(content)
    for found in (lambda: store, lambda: LanceStore(Path(store.location), create=True)):
        with pytest.raises(DataError, match=r"gallery\.json is damaged: .* restore its folder"):
            found().count(ALL)


def test_a_removed_gallery_json_is_refused(store: LanceStore) -> None:
    store.write(records(names(3), 0), replace=False)
    (Path(store.location) / "gallery.json").unlink()
    for found in (lambda: store, lambda: LanceStore(Path(store.location), create=True)):
        with pytest.raises(DataError, match=r"gallery\.json is damaged: it is missing"):
            found().count(ALL)
    shutil.rmtree(store.location)
    with pytest.raises(DataError, match="it is gone"):  # a new one would forget everything without a word
        store.count(ALL)


def test_single_items_are_put_together(store: LanceStore) -> None:
    for i in range(80):
        store.write(records([f"p{i:05d}"], i), replace=False)
        assert len(fragments(store)) <= 3 * 7
    assert sum(fragments(store)) == 80
    assert max(fragments(store)) >= 64
    expected = GalleryRecords.cat(records([f"p{i:05d}"], i) for i in range(80))
    assert store.fetch(ALL, limit=200).items == expected.items
    assert store.verify() == []


def test_full_fragments_are_left_alone(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_writer, "FULL", 50)
    store.write(records(names(230), 1), replace=False)
    assert fragments(store) == [50, 50, 50, 50, 30]
    for i in range(40):
        store.write(records([f"q{i}"], i), replace=False)
    assert fragments(store)[:5] == [50, 50, 50, 50, 30]
    assert len(fragments(store)) < 5 + 2 * 8
    assert same(held(LanceStore(Path(store.location), create=False)), held(store))


def test_deleted_rows_leave_the_disk_with_half_of_their_fragment(store: LanceStore) -> None:
    ids = names(600)
    store.write(records(ids, 1), replace=False)
    file = next((Path(store.location) / "data").iterdir())
    assert store.delete(Filter(ids=ids[:250])) == 250
    assert fragments(store) == [350]
    assert lance.dataset(store.location).get_fragments()[0].num_deletions == 250
    assert store.delete(Filter(ids=ids[200:300])) == 50
    assert fragments(store) == [300]
    assert lance.dataset(store.location).get_fragments()[0].num_deletions == 0
    assert store.fetch(ALL, limit=1000).ids == ids[300:]
    assert store.delete(ALL) == 300
    assert (fragments(store), store.count(ALL)) == ([], 0)
    assert store.header() is not None
    assert file.exists()  # for readers that came before


def test_old_files_are_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "g"
    store = LanceStore(folder, create=True, engine="int8" if can_run() else "auto")
    store.write(records(names(600), 1), replace=False)
    store.nearest(records(["q"], 2).embeddings, rule())
    (folder / "data" / "0123-left-by-a-killed-writer.lance").write_text("half")
    (folder / ".gallery.x1y2.json").write_text("half")
    for i in range(30):
        store.write(records(["again"], i), replace=True)
    before = sum(1 for path in folder.rglob("*") if path.is_file())
    monkeypatch.setattr(lance_writer, "_GRACE", -1)
    for i in range(8):
        store.write(records(["again"], i), replace=True)
    after = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert len(after) < 30 < before
    assert not [path for path in after if "killed" in path or ".gallery" in path]
    assert len([path for path in after if path.startswith("codes")]) == can_run()
    assert held(LanceStore(folder, create=False)).keys() == {*names(600), "again"}
    assert store.verify() == []


def test_readers_go_on_while_their_files_are_cleared_away(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_writer, "_GRACE", -1)
    monkeypatch.setattr(lance_writer, "_CLEAN_EVERY", 1)
    store.write(records(names(40), 1), replace=False)
    reader = LanceStore(Path(store.location), create=False)
    problems: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                assert reader.count(ALL) == 40
                assert reader.fetch(Filter(not_ids="p00000"), limit=100).ids == names(40)[1:]
                found = reader.nearest(records(["q"], 2).embeddings, rule())
                assert set(found.records.ids) <= set(names(40))
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(40):
        store.write(records(names(40)[i % 3 :: 3], i), replace=True)
    stop.set()
    thread.join()
    assert not problems, problems


def test_a_reader_sees_what_was_acknowledged(store: LanceStore) -> None:
    reader = LanceStore(Path(store.location), create=True)
    assert reader.header() is None
    for i in range(12):
        store.write(records([f"p{i}"], i), replace=False)
        assert reader.count(ALL) == i + 1
        assert reader.fetch(Filter(ids=f"p{i}"), limit=2).items == records([f"p{i}"], i).items
    reader.delete(Filter(ids="p3"))
    assert store.count(ALL) == 11


def test_an_unacknowledged_version_is_not_seen_and_not_built_upon(store: LanceStore) -> None:
    store.write(records(["a"], 1), replace=False)
    head = Path(store.location) / "gallery.json"
    content = head.read_bytes()
    store.write(records(["b"], 2), replace=False)
    head.write_bytes(content)  # as if killed between Lance's commit and this file
    (Path(store.location) / "acknowledged" / "2").rename(Path(store.location) / "acknowledged" / "1")
    found = LanceStore(Path(store.location), create=False)
    assert found.fetch(ALL, limit=9).ids == ["a"]
    found.write(records(["c"], 3), replace=False)
    assert found.fetch(ALL, limit=9).ids == ["a", "c"]
    assert lance.dataset(store.location).count_rows() == 2
    assert found.verify() == []


@pytest.mark.parametrize("what", ["_force_to_disk", "_written", "_head_of"])
def test_a_failed_write_leaves_nothing(store: LanceStore, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    store.write(records(["a"], 1), replace=False)
    folder = Path(store.location)
    before = sorted(folder.rglob("*.lance")) + sorted(folder.rglob("*.manifest"))
    works = getattr(lance_writer, what)

    def full(*args: object, **options: object) -> None:
        works(*args, **options)
        raise OSError("No space left on device")

    monkeypatch.setattr(lance_writer, what, full)
    with pytest.raises(DataError, match=r"Cannot write the gallery in .*: No space left .* Nothing was changed\."):
        store.write(records(["b"], 2), replace=False)
    monkeypatch.undo()
    assert sorted(folder.rglob("*.lance")) + sorted(folder.rglob("*.manifest")) == before
    assert store.fetch(ALL, limit=9).ids == ["a"]
    store.write(records(["b"], 2), replace=False)
    assert store.fetch(ALL, limit=9).ids == ["a", "b"]


@pytest.mark.parametrize("after", [True, False])
def test_an_interrupted_write_is_whole(store: LanceStore, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    store.write(records(["a"], 1), replace=False)
    write = lance_writer.Head.write

    def interrupted(head: lance_writer.Head, folder: Path) -> None:
        if after:
            write(head, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(lance_writer.Head, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(records(["b"], 2), replace=False)
    monkeypatch.undo()
    assert store.fetch(ALL, limit=9).ids == (["a", "b"] if after else ["a"])
    assert store.verify() == []
    store.write(records(["c"], 3), replace=False)
    assert LanceStore(Path(store.location), create=False).verify() == []


def test_one_writer_at_a_time(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.05)
    with hold_folder(store.location), pytest.raises(DataError, match="Another process is writing"):
        store.write(records(["a"], 1), replace=False)
    store.write(records(["a"], 1), replace=False)
    monkeypatch.undo()
    with hold_folder(store.location):
        waiting = threading.Thread(target=lambda: store.write(records(["b"], 1), replace=False))
        waiting.start()
        assert LanceStore(Path(store.location), create=False).count(ALL) == 1  # reading waits for nobody
    waiting.join()
    assert store.count(ALL) == 2


def test_two_that_begin_a_gallery_agree(tmp_path: Path) -> None:
    first, second = (LanceStore(tmp_path / "g", create=True) for _ in range(2))
    first.write(records(["a"], 1), replace=False)
    other = PartEmbeddings(torch.zeros(1, 1, 4).half(), torch.ones(1, 1), ("head",))
    with pytest.raises(DataError, match="Another process or thread began the gallery .* differently.*slots differ"):
        second.write(GalleryRecords(records(["b"], 1).items, other), replace=False)
    second.write(records(["b"], 1), replace=False)
    assert first.count(ALL) == 2


def test_damaged_rows_are_not_put_together(store: LanceStore) -> None:
    for i in range(7):
        store.write(records([f"p{i}"], i), replace=False)
    vector = records(["p3"], 3).embeddings.vectors.numpy().tobytes()
    (file,) = (f for f in (Path(store.location) / "data").iterdir() if vector in f.read_bytes())
    file.write_bytes(file.read_bytes().replace(vector, vector[::-1]))
    with pytest.raises(DataError, match=f"{file.name} is damaged: the vectors of 1 of its rows"):
        store.write(records(["p8"], 8), replace=False)
    assert (store.count(ALL), fragments(store)) == (7, [1] * 7)
    assert store.delete(Filter(ids="p3")) == 1  # a way to go on
    store.write(records(["p8"], 8), replace=False)
    assert store.verify() == []
