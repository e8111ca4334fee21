"""What only PostgreSQL can get wrong: addresses, names, formats, several writers, lost connections."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import DataError
from partreid.retrieval import Gallery
from partreid.retrieval._columns import narrowed
from partreid.retrieval.filters import Filter
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords
from tests.retrieval.stores.contract import add, assert_holds, embeddings, named, odd_items

psycopg = pytest.importorskip("psycopg")
_COUNT = itertools.count()


@pytest.fixture
def address(server: Callable[[], str]) -> str:
    return f"{server()}&gallery=own{next(_COUNT)}"


def run(address: str, statement: str) -> Any:
    """A statement of SQL on a gallery's schema, as an administrator writes it."""
    place, _, name = address.partition("&gallery=")
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute(f"SET search_path = partreid_{name}, public")
        return connection.execute(statement)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgres://user@host/db", "Name one gallery.*gallery=name"),
        ("postgres://user@host/db?gallery=", "Name one gallery"),
        ("postgres://user@host/db?gallery=a&gallery=b", "Name one gallery"),
        (f"postgres://user@host/db?gallery={'a' * 51}", "1 to 50 bytes"),
        ("postgres://user@host/db?gallery=a%25s", "without %"),
        ("postgres://[user@host/db?gallery=a", "Not an address"),
        ("postgres://user@host:port/db?gallery=a", "postgres://user@host:port/db"),
        ("postgres://user:secret@127.0.0.1:1/db?gallery=a", "postgres://user@127.0.0.1:1/db.*Is the server there"),
        ("postgres://user@127.0.0.1:1/db?gallery=a&password=secret", "Is the server there"),
        ("postgres://user@127.0.0.1:1/db?gallery=a&no_such_option=1", "no_such_option"),
    ],
)
def test_addresses(address: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        Gallery.open(address)
    assert "secret" not in str(error.value)


def test_a_gallery_is_made_only_where_that_is_wished(address: str) -> None:
    with pytest.raises(DataError, match="There is no gallery.*create=True"):
        Gallery.open(address, create=False)
    Gallery.open(address).close()
    with Gallery.open(address, create=False) as gallery:
        assert len(gallery) == 0


def test_another_format_is_refused(address: str) -> None:
    Gallery.open(address).close()
    run(address, "UPDATE header SET version = 1")
    with pytest.raises(DataError, match="format version 1; this partreid reads 2"):
        Gallery.open(address)
    run(address, "DROP TABLE header")
    with pytest.raises(DataError, match="header"):
        Gallery.open(address)


@pytest.mark.parametrize("filled", [True, False])
def test_a_gallery_of_former_versions_takes_weights(address: str, filled: bool) -> None:
    """Its header has no column for them."""
    with Gallery.open(address) as gallery:
        if filled:
            gallery.add(embeddings(2), ["a", "b"])
    run(address, "ALTER TABLE header DROP COLUMN compare_weights")
    with Gallery.open(address) as gallery:
        assert len(gallery) == 2 * filled
        gallery.add(replace(embeddings(1, model="A"), compare_weights={"head": 2}), ["c"])
        assert gallery.get(["c"]).embeddings.compare_weights == {"head": 2.0}
    with Gallery.open(address) as gallery:
        assert gallery.store.header().compare_weights == {"head": 2.0}  # type: ignore[union-attr]
        assert gallery.search(embeddings(1), 1).matching.slot_weights == {"head": 2.0}  # type: ignore[union-attr]


def test_names_are_quoted_and_galleries_kept_apart(server: Callable[[], str]) -> None:
    names = ["other", 'a"; DROP SCHEMA partreid_other; --', "ü {x} $1", "Other"]
    galleries = [Gallery.open(f"{server()}&gallery={name}") for name in names]
    for i, gallery in enumerate(galleries):
        add(gallery, named(i + 1), embeddings(i + 1))
    assert [len(gallery) for gallery in galleries] == [1, 2, 3, 4]
    for gallery in galleries:
        gallery.close()


def test_writers_at_once_never_share_an_id(address: str) -> None:
    """Each adds batches of ids that overlap with the others'; each batch is in whole or not at all."""
    batches = [[f"{(start + i) % 40:02d}" for i in range(4)] for start in range(0, 40, 2)]
    some = embeddings(4)
    won: list[list[str]] = []
    said: list[str] = []

    def work(number: int) -> None:
        with Gallery.open(address) as gallery:
            for batch in batches[number:] + batches[:number]:
                order = batch if number % 2 else batch[::-1]  # two orders: were rows locked as given, they would block
                try:
                    gallery.add(some, order, metadata=[{"by": number}] * 4)
                    won.append(order)
                except DataError as error:
                    said.append(str(error))
                gallery.upsert(some, order[::-1])

    threads = [threading.Thread(target=work, args=(n * 5,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said
    assert all("Already in the gallery" in message for message in said)
    with Gallery.open(address) as gallery:
        assert len(gallery) == 40
        assert len({name for batch in won for name in batch}) == sum(map(len, won))
        assert (
            run(address, "SELECT count(*) FROM part").fetchone()[0]
            == 10
            * run(
                address, "SELECT count(*) FROM part JOIN item ON number = item WHERE id IN ('00', '01', '02', '03')"
            ).fetchone()[0]
            or gallery.verify() == []
        )


@pytest.mark.parametrize("how", ["delete", "upsert"])
def test_rows_are_locked_in_the_order_of_ids(address: str, how: str) -> None:
    """Else two processes that hold some rows each would wait for one another."""
    place, _, name = address.partition("&gallery=")
    table = f"partreid_{name}.item"
    with Gallery.open(address) as gallery, psycopg.connect(place) as other:
        for name in "ba":  # rows lie in this order
            gallery.add(embeddings(1), [name], cameras=1)
        other.execute(f"SELECT FROM {table} WHERE id = 'a' FOR UPDATE")
        work = {
            "delete": lambda: gallery.delete(where=Filter(cameras=1)),
            "upsert": lambda: gallery.upsert(embeddings(2), ["b", "a"]),
        }[how]
        thread = threading.Thread(target=work)
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while run(address, waiting).fetchone() == (0,):
            assert thread.is_alive()
        other.execute(f"SELECT FROM {table} WHERE id = 'b' FOR UPDATE NOWAIT")
        other.rollback()
        thread.join()
        assert len(gallery) == (0 if how == "delete" else 2)


def test_of_two_that_begin_a_gallery_the_first_decides(address: str) -> None:
    with Gallery.open(address) as first, Gallery.open(address) as second:
        assert first.slots == second.slots == ()
        add(first, named(2), embeddings(2, model="A"))
        with pytest.raises(DataError, match="Another process or thread began.*widths differ"):
            second.store.write(GalleryRecords(tuple(named(1, "b")), embeddings(1, width=5)), replace=False)
        assert len(second) == 2
        assert second.model == "A"


def test_rows_deleted_by_hand_take_their_parts_along(address: str) -> None:
    items, some = odd_items(20), embeddings(20)
    with Gallery.open(address) as gallery:
        add(gallery, items, some)
        run(address, "DELETE FROM item WHERE time IS NULL")
        left = [i for i, item in enumerate(items) if item.time is not None]
        assert_holds(gallery, [items[i] for i in left], some[left])
        shown = int((some[left].visibility > 0).sum())
        assert run(address, "SELECT count(*) FROM part").fetchone() == (shown,)


def test_verify_names_what_was_spoilt_by_hand(address: str) -> None:
    with Gallery.open(address) as gallery:
        add(gallery, named(6), embeddings(6))
        assert gallery.verify() == []
        spoil = "UPDATE part SET {} FROM item WHERE item = number AND id = '{}'"
        run(address, spoil.format("vector = '[1,2]'", "item0001"))
        run(address, spoil.format("slot = slot + 9", "item0002"))
        problems = " ".join(gallery.verify())
        assert "'item0001': slot" in problems
        assert "'item0002': slot" in problems
        assert "'item0003'" not in problems
        with pytest.raises(DataError, match="do not fit.*verify"):
            gallery.get(["item0001"])
        with pytest.raises(DataError, match="dimensions"):
            gallery.search(PartEmbeddings(torch.zeros(1, 3, 8), torch.ones(1, 3), gallery.slots))
        run(address, "DELETE FROM item WHERE id IN ('item0001', 'item0002')")
        run(address, "UPDATE item SET camera = repeat('x', 501) WHERE id = 'item0004'")
        assert "1 to 500 characters" in " ".join(gallery.verify())


def test_a_lost_connection_is_an_error_once(address: str) -> None:
    with Gallery.open(address) as gallery:
        add(gallery, named(3), embeddings(3))
        run(address, f"SELECT pg_terminate_backend({gallery.store._connection.info.backend_pid})")
        with pytest.raises(DataError, match="Is the server there"):
            gallery.count()
        assert gallery.count() == 3


def test_a_search_takes_one_state_of_the_gallery(address: str) -> None:
    """While another process replaces all items by others again and again."""
    some, stop = embeddings(8), threading.Event()
    with Gallery.open(address) as reader, Gallery.open(address) as writer:
        add(writer, named(8), some)

        def work() -> None:
            for step in itertools.count():
                if stop.is_set():
                    return
                add(writer, named(8), embeddings(8, seed=step % 2), replace=True)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for _ in range(40):
                held = reader.store.fetch(Filter(), limit=10)
                states = [embeddings(8, seed=seed).visibility.tolist() for seed in (0, 1)]
                assert held.embeddings.visibility.tolist() in states
        finally:
            stop.set()
            thread.join()


def test_compaction_leaves_nothing_in_the_tables(server: Callable[[], str]) -> None:
    location = server() + "&gallery=compacted"
    with psycopg.connect(location.partition("&")[0], autocommit=True) as connection:
        # Else it may sample the table while the items are there; what it keeps of that is told as not covered.
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
    with Gallery.open(location) as gallery:
        some = narrowed(embeddings(300, seed=977), torch.float16)  # no other gallery of this server holds these
        ids = [f"victim-{i}-Qz7" if i < 200 else f"kept-{i}" for i in range(300)]
        gallery.add(some, ids, cameras="camera-Xk9", metadata=[{"note": f"note of {name}"} for name in ids])
        gallery.delete(where=Filter(ids=ids[:200]))
        with psycopg.connect(location.partition("&")[0], autocommit=True) as connection:
            connection.execute("CHECKPOINT")  # what is in the server's memory is in its files
            folder = Path(connection.execute("SHOW data_directory").fetchone()[0]) / "base"  # type: ignore[index]
            seen = some[:200].visibility > 0
            secrets = [b"victim-", *(vector.numpy().tobytes() for vector in some[:200].vectors[seen])]
            assert in_files(folder, secrets) == len(secrets)
            gallery.store.compact()  # type: ignore[attr-defined]
            connection.execute("CHECKPOINT")
            assert in_files(folder, secrets) == 0
        assert len(gallery) == 100
        assert gallery.verify() == []


def in_files(folder: Path, secrets: list[bytes]) -> int:
    """How many of some bytes stand in any file below a folder."""
    content = b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return sum(secret in content for secret in secrets)
