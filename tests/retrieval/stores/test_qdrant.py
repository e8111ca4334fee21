"""What only Qdrant can get wrong: addresses, formats, additions that collide or are broken off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from partreid.errors import DataError
from partreid.retrieval import Filter, Gallery, MatchingConfig
from partreid.types.gallery import GalleryItem, GalleryRecords
from tests.retrieval.stores.contract import (
    NOON,
    add,
    assert_answers,
    assert_holds,
    by_loops,
    embeddings,
    named,
    odd_items,
)

pytest.importorskip("qdrant_client")

from qdrant_client import QdrantClient, models

from partreid.retrieval.stores.qdrant import collection as qdrant_collection
from partreid.retrieval.stores.qdrant import store as qdrant
from partreid.retrieval.stores.qdrant.query import point_id
from partreid.retrieval.stores.qdrant.store import QdrantStore
from tests.retrieval.stores.rest import RestServer

pytestmark = pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect", "ignore:Local mode performs exact", "ignore:Api key is used"
)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    one = QdrantClient(":memory:")
    yield one
    one.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("qdrant://host:6333", "Expected qdrant://host:6333/name"),
        ("qdrant:///name", "Expected qdrant://host"),
        ("qdrant://host:port/name", "Not an address"),
        ("qdrant://host/a/b", "Not an address"),
        ("qdrant://host/a%2Fb", "Not an address"),
        ("qdrant://secret@host/name", "holds no key; set QDRANT_API_KEY"),
        ("qdrant://host/name?api_key=secret", "holds no key; set QDRANT_API_KEY"),
        ("qdrant://127.0.0.1:1/name", "qdrant://127.0.0.1:1/name: .*Is the server there"),
    ],
)
def test_addresses(address: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        Gallery.open(address)
    assert "secret" not in str(error.value)


def test_the_client_gets_address_and_key(monkeypatch: pytest.MonkeyPatch, client: QdrantClient) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(qdrant, "QdrantClient", lambda **options: asked.append(options) or client)
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    store = QdrantStore.open("qdrant+https://example.org/my%20people")
    assert {key: asked[0][key] for key in ("host", "port", "https", "api_key")} == {
        "host": "example.org", "port": 6333, "https": True, "api_key": "secret",
    }  # fmt: skip
    add(Gallery(store), named(2), embeddings(2))
    assert client.collection_exists("my people")
    monkeypatch.delenv("QDRANT_API_KEY")
    Gallery.open("qdrant://example.org:7000/people")
    assert (asked[1]["port"], asked[1]["https"], asked[1]["api_key"]) == (7000, False, None)


def test_requests_and_answers_survive_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    items, some, query = odd_items(40), embeddings(40), embeddings(4, seed=1)
    with RestServer() as server:
        address = f"qdrant://127.0.0.1:{server.port}/my%20people"
        with Gallery.open(address) as gallery:
            assert len(gallery) == 0
            add(gallery, items[:30], some[:30])
            add(gallery, items[20:], some[20:], replace=True)
            with pytest.raises(DataError, match="Already in the gallery"):
                add(gallery, items[:2], some[:2])
        with Gallery.open(address, create=False) as gallery:
            assert_holds(gallery, items, some)
            assert gallery.verify() == []
            held = GalleryRecords(tuple(items), some)
            for matching in (MatchingConfig(visibility="geometric"), MatchingConfig(visibility_threshold=0.5)):
                for where in (Filter(), Filter(since=NOON, not_cameras=2, not_metadata={"track": 17}, not_ids="a")):
                    found = gallery.search(query, 7, matching=matching, where=where)
                    assert_answers(found, by_loops(query, held, 7, matching, where))
            assert gallery.delete(where=Filter(cameras=(), ids="a")) == 0
            assert gallery.delete(where=Filter(not_ids="a")) == 39
            assert_holds(gallery, items[:1], some[:1])
        assert all(headers["api-key"] == "secret" for *_, headers in server.seen)
        writes = [query for method, path, query, _ in server.seen if method == "PUT" and path.endswith("/points")]
        assert writes
        assert all((query["wait"], query["ordering"]) == (["true"], ["strong"]) for query in writes)


def test_a_gallery_is_made_only_where_that_is_wished(client: QdrantClient) -> None:
    with pytest.raises(DataError, match="There is no gallery.*create=True"):
        QdrantStore(client, "people", create=False)
    add(Gallery(QdrantStore(client, "people")), named(2), embeddings(2))
    assert len(Gallery(QdrantStore(client, "people", create=False))) == 2


def test_other_collections_and_formats_are_refused(client: QdrantClient) -> None:
    client.create_collection("other", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    with pytest.raises(DataError, match="no gallery"):
        QdrantStore(client, "other")
    client.create_collection("newer", vectors_config={}, metadata={"partreid": {"version": 9}})
    with pytest.raises(DataError, match="format version 9; this partreid reads 2"):
        QdrantStore(client, "newer")


def test_of_two_that_begin_a_gallery_the_first_decides(client: QdrantClient) -> None:
    first, second = (QdrantStore(client, "people") for _ in range(2))
    assert second.header() is None
    first.write(GalleryRecords(tuple(named(2)), embeddings(2)), replace=False)
    with pytest.raises(DataError, match="Another process or thread began.*widths differ"):
        second.write(GalleryRecords(tuple(named(1, "b")), embeddings(1, width=5)), replace=False)
    second.write(GalleryRecords(tuple(named(1, "b")), embeddings(1)), replace=False)
    assert_holds(Gallery(first), [*named(2), *named(1, "b")], type(embeddings(1)).cat([embeddings(2), embeddings(1)]))


def test_of_two_that_add_one_id_at_once_one_is_refused(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, other = Gallery(QdrantStore(client, "people")), Gallery(QdrantStore(client, "people"))
    add(gallery, named(1, "before"), embeddings(1))
    real = client.upsert

    def after_the_other(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(client, "upsert", real)
        other.add(embeddings(1, seed=7), ["item0002"], cameras="other")
        return real(*arguments, **options)

    monkeypatch.setattr(client, "upsert", after_the_other)
    with pytest.raises(DataError, match="Already in the gallery: 'item0002'"):
        add(gallery, named(4), embeddings(4))
    expected = [GalleryItem("before0000"), GalleryItem("item0002", "other")]
    assert_holds(gallery, expected, type(embeddings(1)).cat([embeddings(1), embeddings(1, seed=7)]))


def test_an_addition_that_fails_half_way_is_taken_back(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(QdrantStore(client, "people"))
    add(gallery, named(2, "before"), embeddings(2))
    monkeypatch.setattr(qdrant_collection, "_BYTES", 1)  # a point in each request
    real, count = client.upsert, iter(range(100))

    def failing(*arguments: Any, **options: Any) -> Any:
        if next(count) == 3:
            raise ValueError("disk full")
        return real(*arguments, **options)

    monkeypatch.setattr(client, "upsert", failing)
    with pytest.raises(DataError, match="disk full"):
        add(gallery, named(6), embeddings(6))
    assert_holds(gallery, named(2, "before"), embeddings(2))
    add(gallery, named(6), embeddings(6))
    assert len(gallery) == 8


def test_verify_names_what_was_spoilt_by_hand(client: QdrantClient) -> None:
    gallery = Gallery(QdrantStore(client, "people"))
    some = embeddings(4, seed=2)
    add(gallery, named(4), some)
    assert gallery.verify() == []
    slot = some.slots[int(some.visibility[1].argmax())]
    client.delete_vectors("people", [slot], [point_id("item0001")])
    client.set_payload("people", {"id": "somebody"}, [point_id("item0002")])
    client.delete_payload("people", ["metadata"], [point_id("item0003")])
    assert len(gallery.verify()) == 3
    assert "'item0001'" in " ".join(gallery.verify())
