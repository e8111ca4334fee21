"""What compaction and overwriting promise, tried on each store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from partreid.errors import DataError
from partreid.retrieval._columns import narrowed
from partreid.retrieval.filters import Filter
from partreid.retrieval.stores.base import CompactableStore, OverwritableStore
from partreid.types.gallery import GalleryRecords
from tests.retrieval.stores.backends import Backend
from tests.retrieval.stores.contract import add, assert_holds, embeddings, named, odd_items

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")


def test_compaction_keeps_what_is_there(backend: Backend) -> None:
    items, some = odd_items(40), embeddings(40)
    with backend.open() as gallery:
        assert isinstance(gallery.store, CompactableStore)
        assert gallery.store.compact()  # of nothing
        add(gallery, items, some)
        gallery.delete(where=Filter(ids=[item.id for item in items[::3]]))
        kept = [i for i in range(40) if i % 3]
        for _ in range(2):
            assert all(isinstance(limit, str) for limit in gallery.store.compact())
            assert_holds(gallery, [items[i] for i in kept], some[kept])
        assert gallery.verify() == []
        add(gallery, items[:1], some[:1])
        gallery.delete(where=Filter(not_ids=["none"]))
        gallery.store.compact()
        assert len(gallery) == 0
        add(gallery, items, some)
        assert_holds(gallery, items, some)


def test_all_items_take_the_place_of_others_at_once(backend: Backend) -> None:
    with backend.open() as gallery:
        add(gallery, odd_items(30), embeddings(30, model="former"))
        if backend.name.startswith("qdrant"):
            assert not isinstance(gallery.store, OverwritableStore)
            return
        items, some = named(25), embeddings(25, seed=3, width=4, model="next")
        half, seen = narrowed(some, torch.float16), list[int]()

        def records() -> Iterator[GalleryRecords]:
            for some in (slice(0, 20), slice(20, None)):
                seen.append(sum(len(page) for page in gallery.records()))  # what it held can be read
                yield GalleryRecords(tuple(items[some]), half[some])

        assert isinstance(gallery.store, OverwritableStore)
        gallery.store.overwrite(records)
        assert seen == [30, 30]
        assert gallery.model == "next"
        assert_holds(gallery, items, some)
        assert gallery.verify() == []
        assert gallery.search(some[:2], 3).distances.shape == (2, 3)
        add(gallery, odd_items(3), embeddings(3, seed=4, width=4, model="next"))
        assert len(gallery) == 28


def test_what_fails_half_way_changes_nothing(new_backend: Callable[[], Backend]) -> None:
    backend = new_backend()
    if backend.name.startswith("qdrant"):
        pytest.skip("it cannot")
    items, some = odd_items(30), embeddings(30, model="former")
    with backend.open() as gallery:
        add(gallery, items, some)

        def broken() -> object:
            yield GalleryRecords(tuple(named(5)), narrowed(embeddings(5, model="next"), torch.float16))
            raise DataError("the disk is gone")

        assert isinstance(gallery.store, OverwritableStore)
        for wrong in (broken, lambda: iter(())):
            with pytest.raises(DataError):
                gallery.store.overwrite(wrong)  # type: ignore[arg-type]
            assert gallery.model == "former"
            assert_holds(gallery, items, some)
