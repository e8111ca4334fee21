"""Galleries on disk whose writer is killed, or whose files are damaged, at random: whole or refused, never wrong."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.retrieval import Gallery, MatchingConfig
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.exact import can_run
from partreid.retrieval.stores.lance.store import LanceStore
from tests.retrieval.stores.lance_history import Items, Step, held, records, same, step, write_for_ever

FEW, MANY = 25, 500

QUERY = records(["query"] * 3, 99).embeddings
RULES = (
    (Filter(), MatchingConfig()),
    (Filter(cameras=[1, 2], not_metadata={"kind": 3}), MatchingConfig()),
    (Filter(since=12 * 10**8), MatchingConfig(visibility="ignore")),
)


def kill_writers(folder: Path, rounds: int) -> Counter[str]:
    """Kill a writer at a random moment, again and again; after each: everything acknowledged is there."""
    context = multiprocessing.get_context("forkserver")  # which has imported Lance, and never used it
    context.set_forkserver_preload(["tests.retrieval.stores.lance_history"])
    chance, outcomes = random.Random(rounds), Counter[str]()
    number, there = 0, Items()
    for _ in range(rounds):
        listen, say = context.Pipe(duplex=False)
        writer = context.Process(target=write_for_ever, args=(str(folder), number, there, say))
        writer.start()
        say.close()
        assert listen.poll(60)
        time.sleep(chance.uniform(0, 0.2))
        writer.kill()
        writer.join()
        for done in _said(listen):
            for n in range(number, done):
                there = step(n, there).applied(there)
            number = done
        found = held(LanceStore(folder, create=True))
        begun = step(number, there).applied(there)
        if same(found, there):
            outcomes["as acknowledged"] += 1
        elif same(found, begun):
            outcomes["and one more"] += 1
            number, there = number + 1, begun
        else:
            outcomes["wrong"] += 1
    assert number > rounds // 3  # it was killed at work
    return outcomes


def _said(listen: multiprocessing.connection.Connection) -> Iterator[int]:
    try:
        while listen.poll(0):
            yield listen.recv()
    except EOFError:
        pass


@dataclass(frozen=True)
class Sound:
    """An undamaged gallery with everything that one can have on the disk, and what is right to say of it."""

    folder: Path
    there: Items
    answers: list[object]


def sound(folder: Path) -> Sound:
    """Cached codes, deletions, former versions, what a killed writer leaves."""
    there = Items()
    for one in (
        Step("add", records([f"p{i:03d}" for i in range(700)], 1)),
        Step("add", records([f"q{i:03d}" for i in range(5)], 2)),
        Step("delete", where=Filter(ids=["p007", "p300", "q001"])),
        Step("add", records(["r"], 3)),
    ):
        store = opened(folder, create=True)
        one.apply(store)
        answers(store)
        there = one.applied(there)
    store = opened(folder)
    shutil.copy(folder / "gallery.json", folder / "former")
    Step("add", records(["unacknowledged"], 4)).apply(store)
    (folder / "former").replace(folder / "gallery.json")  # as if killed before that was written
    (last,) = (folder / "acknowledged").iterdir()
    last.rename(last.with_name(str(int(last.name) - 1)))
    store = opened(folder)
    assert same(held(store), there)
    assert store.verify() == []
    return Sound(folder, there, answers(store))


def opened(folder: Path, *, create: bool = False) -> LanceStore:
    return LanceStore(folder, create=create, engine="int8" if can_run() else "auto")


def answers(store: LanceStore) -> list[object]:
    """Everything that a gallery says."""
    gallery = Gallery(store)
    said: list[object] = [len(gallery), gallery.model, gallery.slots]
    for where, matching in RULES:
        result = gallery.search(QUERY, 5, where=where, matching=matching)
        parts = result.part_distances.nan_to_num(-1).tolist()
        said += [result.items, result.distances.tolist(), parts, gallery.count(where)]
    return said


def damage(folder: Path, chance: random.Random, *, cached: bool = True) -> str:
    """Do something to a random file; what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and (cached or path.suffix != ".codes"))
    kind = chance.choice(sorted({path.parent for path in files}))  # else nearly all were of the most numerous kind
    path = chance.choice([path for path in files if path.parent == kind])
    data = bytearray(path.read_bytes())
    what = chance.choice(["removed", "emptied", "cut", "grown", "flipped", "overwritten", "zeroed"])
    last = chance.random() < 0.3  # at the end, where formats keep what matters
    first = max(0, len(data) - chance.randrange(1, 100)) if last else chance.randrange(max(1, len(data)))
    some = slice(first, min(len(data), first + chance.choice([1, 8, 500])))
    if what == "removed":
        path.unlink()
        return f"{path} {what}"
    if what in ("emptied", "cut"):
        del data[0 if what == "emptied" else first :]
    elif what == "grown":
        data += chance.randbytes(50)
    elif what == "flipped" and data:
        data[first] ^= 1 << chance.randrange(8)
    else:
        data[some] = bytes(len(data[some])) if what == "zeroed" else chance.randbytes(len(data[some]))
    path.write_bytes(data)  # in place, as a disk would do it
    return f"{path} {what} from byte {first}"


def outcome(right: Sound, store: Callable[[], LanceStore]) -> str:
    """What a damaged gallery says: "whole", "refused" or "wrong"; and whether it can still be written to."""
    try:
        found = store()
        if answers(found) != right.answers or not same(held(found), right.there):
            return "wrong"
        Step("add", records(["p007", "new"], 5)).apply(found)
        if not same(held(found), Step("add", records(["p007", "new"], 5)).applied(right.there)):
            return "wrong"
    except DataError:
        return "refused"
    return "whole"


def damage_galleries(folder: Path, rounds: int, *, while_open: bool = False) -> Counter[str]:
    """Damage one file of a gallery, again and again."""
    right, chance, outcomes = sound(folder / "sound"), random.Random(rounds), Counter[str]()
    for _ in range(rounds):
        copy = folder / "damaged"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(right.folder, copy)
        store = opened(copy) if while_open else None
        if store is not None and chance.random() < 0.5:
            assert answers(store) == right.answers
        done = damage(copy, chance, cached=not while_open)
        found = outcome(right, lambda store=store, copy=copy: store or opened(copy, create=chance.random() < 0.5))
        assert found != "wrong", done
        outcomes[found] += 1
    return outcomes


def test_a_killed_writer_loses_nothing(tmp_path: Path) -> None:
    assert kill_writers(tmp_path / "g", 15)["wrong"] == 0


def test_a_damaged_gallery_is_whole_or_refused(tmp_path: Path) -> None:
    outcomes = damage_galleries(tmp_path, FEW)
    assert outcomes["whole"]
    assert outcomes["refused"]


def test_a_gallery_damaged_while_open_is_whole_or_refused(tmp_path: Path) -> None:
    assert damage_galleries(tmp_path, FEW, while_open=True)["refused"]


@pytest.mark.slow
def test_a_thousand_kills_and_damages(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    outcomes = {
        "killed": kill_writers(tmp_path / "g", MANY),
        "damaged": damage_galleries(tmp_path / "d", MANY),
        "damaged while open": damage_galleries(tmp_path / "o", MANY // 2, while_open=True),
    }
    assert not any(some["wrong"] for some in outcomes.values()), outcomes
    record_property("outcomes", str(outcomes))
