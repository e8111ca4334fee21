"""Answers while someone else writes: of one state of the gallery, in every store that knows states."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from partreid.errors import DataError
from partreid.retrieval import Filter, Gallery, MatchingConfig
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords
from partreid.types.search import SearchResult
from tests.retrieval.stores.backends import Backend
from tests.retrieval.stores.contract import assert_answers, by_loops

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")
SLOTS, PEOPLE = ("a", "b"), [f"p{i}" for i in range(6)]
Change = Callable[[Gallery], object]


def seen(count: int, *visibility: float, start: int = 0) -> PartEmbeddings:
    """People apart from one another, who show the same slots."""
    vectors = torch.eye(8)[start : start + count, None].expand(-1, 2, -1)
    return PartEmbeddings(vectors, torch.tensor([visibility]).repeat(count, 1), SLOTS)


CHANGES: dict[str, Change] = {
    "one shows another part": lambda g: g.upsert(seen(1, 0, 1), ["p0"]),
    "most are deleted": lambda g: g.delete(["p0", "p1", "p2", "p3"]),
    "all are deleted": lambda g: g.delete(where=Filter()),
    "nearer ones are added": lambda g: g.add(seen(2, 1, 0), ["n0", "n1"]),
    "ones that cannot be compared are added": lambda g: g.add(seen(2, 0, 1), ["n0", "n1"]),
    "one goes and one comes": lambda g: (g.delete(["p0"]), g.add(seen(1, 1, 0), ["n0"])),
}
QUERY = seen(1, 1, 0)


def fill(gallery: Gallery) -> None:
    gallery.add(seen(6, 1, 0), PEOPLE)
    gallery.add(seen(2, 0, 1), ["z0", "z1"])


def changing(gallery: Gallery, step: str, change: Change, *, other: Gallery, after: bool) -> None:
    """Someone else's write lands before or behind the first call of ``step``."""
    real, done = getattr(gallery.store, step), []

    def wrapped(*values: Any, **options: Any) -> Any:
        found = real(*values, **options) if after else None
        if not done:
            done.append(step)
            change(other)
        return found if after else real(*values, **options)

    setattr(gallery.store, step, wrapped)


def everything(gallery: Gallery) -> GalleryRecords:
    pages = list(gallery.records())
    return GalleryRecords.cat(pages) if pages else GalleryRecords((), seen(0, 1, 1))


def answers_one_of(result: SearchResult, states: list[GalleryRecords], k: int) -> bool:
    for state in states:
        try:
            assert_answers(result, by_loops(QUERY, state, k, MatchingConfig(), Filter()))
        except AssertionError:
            continue
        return True
    return False


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["nearest", "count", "fetch"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_search_answers_from_one_state(backend: Backend, change: str, step: str, after: bool) -> None:
    for k in (2, 8):
        with backend.open() as gallery:
            gallery.delete(where=Filter())
            fill(gallery)
            before = everything(gallery)
            other = backend.open() if backend.handles else gallery
            real = getattr(gallery.store, step)
            changing(gallery, step, CHANGES[change], other=other, after=after)
            result = gallery.search(QUERY, k)
            setattr(gallery.store, step, real)
            now = everything(gallery)
            ids = result.ids[0]
            assert len(set(ids)) == len(ids)
            assert torch.equal(result.comparable, result.compared > 0)
            if backend.name.startswith("qdrant"):  # each item is before or behind the change
                assert set(ids) <= {*before.ids, *now.ids}
                assert min(k, len(now)) <= len(ids) <= k
            else:
                assert answers_one_of(result, [before, now], k), ids
            if other is not gallery:
                other.close()


@pytest.mark.parametrize("change", CHANGES)
def test_several_calls_make_one_answer(backend: Backend, change: str) -> None:
    if backend.name.startswith("qdrant"):
        pytest.skip("Qdrant knows no states")
    with backend.open() as gallery, backend.open() as other:
        fill(gallery)
        once = iter([CHANGES[change]])

        def answer() -> tuple[int, list[str], int, list[str]]:
            first = gallery.count()
            for one in once:
                one(other)
            names = [name for page in gallery.records() for name in page.ids]
            return first, sorted(gallery.known(["p0", "n0"])), gallery.cameras()[0].count, names

        assert gallery.read(answer) == (8, ["p0"], 8, [*PEOPLE, "z0", "z1"])
        assert gallery.count() == len(everything(other))


def test_all_items_are_of_the_state_at_the_first_page(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.retrieval.gallery._PAGE", 3)
    with backend.open() as gallery:
        fill(gallery)
        before = everything(gallery)
        other = backend.open() if backend.handles else gallery
        pages = gallery.records()
        found = [next(pages)]
        other.delete(["p4"])
        other.upsert(seen(1, 0, 1), ["p5"])
        other.add(seen(1, 1, 0, start=3), ["zz"])
        found += pages
        records = GalleryRecords.cat(found)
        if backend.name.startswith("qdrant"):
            assert records.ids == [name for name in before.ids if name != "p4"]
        else:
            assert records.ids == before.ids
            assert torch.equal(records.embeddings.visibility, before.embeddings.visibility)
        assert everything(gallery).ids == [*(name for name in before.ids if name != "p4"), "zz"]
        if other is not gallery:
            other.close()


def test_whoever_walks_through_a_gallery_may_write_to_it(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.retrieval.gallery._PAGE", 3)
    with backend.open() as gallery:
        fill(gallery)
        for page in gallery.records():
            gallery.add_records(page, replace=True)
            gallery.add(page.embeddings, [f"{name} again" for name in page.ids])  # behind the page: not walked through
        assert len(gallery) == 16


def test_threads_that_share_a_gallery_see_whole_states(backend: Backend) -> None:
    """One replaces all items by others again and again; a search finds those of one replacement."""
    if not backend.handles or backend.name.startswith("qdrant"):
        pytest.skip(f"{backend.name} knows no states")
    states = [seen(4, 1, 0), seen(4, 1, 1, start=4)]
    with backend.open() as gallery:
        gallery.add(states[0], PEOPLE[:4])
        stop, problems = threading.Event(), []

        def write() -> None:
            try:
                for turn in itertools.count(1):
                    if stop.is_set():
                        return
                    gallery.upsert(states[turn % 2], PEOPLE[:4])
            except BaseException as problem:
                problems.append(problem)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(30):
                found = gallery.search(seen(1, 1, 1), 4)
                assert sorted(found.ids[0]) == PEOPLE[:4]
                assert len({int(count) for count in found.compared[0]}) == 1
        finally:
            stop.set()
            thread.join()
        assert not problems, problems


def test_an_item_that_goes_while_it_is_asked_for(backend: Backend) -> None:
    for after in (False, True):
        with backend.open() as gallery:
            gallery.delete(where=Filter())
            fill(gallery)
            other = backend.open() if backend.handles else gallery
            changing(gallery, "fetch", lambda g: g.delete(["p0"]), other=other, after=after)
            try:
                assert gallery.get(["p0", "p1"]).ids == ["p0", "p1"]
            except DataError as error:
                assert str(error) == "Not in the gallery of 7 items: 'p0'."  # noqa: PT017 - either is an answer
            del gallery.store.fetch  # type: ignore[misc]
            if other is not gallery:
                other.close()
