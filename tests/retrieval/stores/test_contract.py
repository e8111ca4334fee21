"""What every store of galleries promises, tried on each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.retrieval import Gallery, MatchingConfig
from partreid.retrieval.filters import Filter
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryItem, GalleryRecords
from tests.retrieval.stores.backends import Backend
from tests.retrieval.stores.contract import (
    NOON,
    ODD_TEXTS,
    OWN_RULES,
    SLOTS,
    add,
    assert_answers,
    assert_holds,
    by_loops,
    embeddings,
    everything,
    named,
    near_duplicates,
    odd_items,
)
from tests.retrieval.stores.writer import BATCH, batch

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")
ALL, PAPER = Filter(), MatchingConfig()
YEARS_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def matchings() -> list[MatchingConfig]:
    return [
        PAPER,
        MatchingConfig(normalize=True),
        MatchingConfig(visibility="geometric"),
        MatchingConfig(visibility_threshold=0.5),
        MatchingConfig(visibility_threshold={"head": 0.3}, normalize=True, visibility="geometric"),
        MatchingConfig(slots=("left leg", "foreground")),
        MatchingConfig(slot_weights={"foreground": 3, "left leg": 0.5}),
        MatchingConfig(
            slot_weights={"head": 1e-4, "left leg": 1e4}, visibility="geometric", slots=("head", "left leg")
        ),
        MatchingConfig(slot_weights={"head": 7}, visibility_threshold={"head": 0.3}, normalize=True),
        MatchingConfig(visibility="ignore"),
        MatchingConfig(visibility="ignore", slot_weights={"head": 7}),
        *(MatchingConfig(visibility=rule) for rule in OWN_RULES),
    ]


def check_search(
    gallery: Gallery,
    held: GalleryRecords,
    query: PartEmbeddings,
    k: int,
    *,
    matching: MatchingConfig = PAPER,
    where: Filter = ALL,
) -> None:
    result = gallery.search(query, k, matching=matching, where=where)
    assert_answers(result, by_loops(query, held, k, matching, where))


@pytest.mark.parametrize("matching", matchings(), ids=str)
def test_search_equals_loops(backend: Backend, matching: MatchingConfig) -> None:
    items, some, query = odd_items(40), embeddings(40), embeddings(6, seed=1)
    with backend.open() as gallery:
        for start in range(0, 40, 15):
            add(gallery, items[start : start + 15], some[start : start + 15])
        for able, used, advice in (
            (backend.keeps_unseen, matching.visibility not in ("product", "geometric"), "invisible.*product"),
            (backend.normalizes, matching.normalize, "normalize=True.*folder"),
        ):
            if used and not able:
                with pytest.raises(ConfigError, match=advice):
                    gallery.search(query, matching=matching)
                return
        held = GalleryRecords(tuple(items), some)
        for k in (1, 7, 40, 100):
            check_search(gallery, held, query, k, matching=matching)
        check_search(
            gallery, held, query, 5, matching=matching, where=Filter(not_cameras=2, not_metadata={"track": 17})
        )


def test_ties_are_broken_by_id_and_near_duplicates_kept_apart(backend: Backend) -> None:
    near, far = near_duplicates(24), embeddings(10)
    some = PartEmbeddings.cat([near, near[[3] * 12], far])
    items = named(len(some))
    shuffled = np.random.default_rng(0).permutation(len(some))
    held = GalleryRecords(tuple(items[int(i)] for i in shuffled), some)
    with backend.open() as gallery:
        add(gallery, held.items, some)
        for matching in (PAPER, MatchingConfig(normalize=True))[: 1 + backend.normalizes]:
            for k in (1, 4, 5, 13, 20, 30):  # 13 items are one and the same: the k-th place cuts through them
                check_search(gallery, held, near[[0, 3, 17]], k, matching=matching)


def test_items_and_queries_that_show_nothing_rank_last_by_id(backend: Backend) -> None:
    some = embeddings(30)
    items = named(30)[::-1]
    unseen = PartEmbeddings(some.vectors[:2], torch.tensor([[0.0, 0, 0], [0, 1, 0]]), SLOTS)
    with backend.open() as gallery:
        add(gallery, items, some)
        check_search(gallery, GalleryRecords(tuple(items), some), unseen, 30)
        result = gallery.search(unseen[0], 3)
        assert result.ids == (("item0000", "item0001", "item0002"),)
        assert not result.comparable.any()
        assert gallery.search(unseen[:0], 3).distances.shape == (0, 3)


def test_an_item_that_is_near_in_no_slot_alone(backend: Backend) -> None:
    """Its mean is the smallest, but 700 items are nearer in the first slot, and 700 others in the second."""
    n = 1401
    vectors = torch.zeros(n, 2, 1)
    vectors[:, :, 0] = torch.where(
        (torch.arange(n) % 2 == 0)[:, None], torch.tensor([1.0, 5.0]), torch.tensor([5, 1.0])
    )
    vectors += torch.arange(n)[:, None, None] / 4096
    vectors[700] = 2.0
    some = PartEmbeddings(vectors.half().float(), torch.ones(n, 2), ("a", "b"))
    query = PartEmbeddings(torch.zeros(2, 2, 1), torch.tensor([[1.0, 1.0], [1.0, 0.5]]), ("a", "b"))
    with backend.open() as gallery:
        add(gallery, named(n), some)
        check_search(gallery, GalleryRecords(tuple(named(n)), some), query, 1)


def test_a_gallery_of_nothing_visible(backend: Backend) -> None:
    some = replace(embeddings(4), visibility=torch.zeros(4, len(SLOTS)))
    with backend.open() as gallery:
        add(gallery, named(4), some)
        check_search(gallery, GalleryRecords(tuple(named(4)), some), embeddings(3, seed=1), 3)
        assert_holds(gallery, named(4), some)


def test_nothing_to_find(backend: Backend) -> None:
    with backend.open() as gallery:
        for found in (gallery.search(embeddings(2), 3), gallery.search(embeddings(2), 3, where=Filter(cameras=1))):
            assert (found.ids, found.distances.shape, found.part_distances.shape) == (((), ()), (2, 0), (2, 0, 3))
        assert (len(gallery), gallery.slots, gallery.delete(["a"]), gallery.verify()) == (0, (), 0, [])
        assert everything(gallery) is None
        add(gallery, named(5), embeddings(5))
        for where in (Filter(cameras="9"), Filter(ids=()), Filter(metadata={"no": "such"}), Filter(cameras=())):
            assert gallery.search(embeddings(2), 3, where=where).ids == ((), ())
            assert gallery.count(where) == gallery.delete(where=where) == 0
        assert gallery.delete(where=Filter()) == 5
        assert gallery.search(embeddings(2), 3).ids == ((), ())
        with pytest.raises(ShapeError, match="slots differ"):  # emptied, not a new gallery
            gallery.add(embeddings(1).select("head"), ["a"])


def test_upsert_leaves_nothing_of_the_old_item(backend: Backend) -> None:
    items, some = odd_items(20), embeddings(20)
    new = [GalleryItem(item.id, metadata={"new": i}) for i, item in enumerate(items[:7])] + named(2, "fresh")
    other = embeddings(9, seed=5)
    with backend.open() as gallery:
        add(gallery, items, some)
        add(gallery, new, other, replace=True)
        now, vectors = [*items[7:], *new], PartEmbeddings.cat([some[7:], other])
        assert_holds(gallery, now, vectors)
        check_search(gallery, GalleryRecords(tuple(now), vectors), embeddings(4, seed=1), 30)
        for where in (
            Filter(metadata={"new": range(7)}),
            Filter(cameras=["1", "2"]),
            Filter(since=datetime.min.replace(tzinfo=UTC)),
        ):
            assert gallery.count(where) == sum(where.keeps(item) for item in now)
        add(gallery, new, other, replace=True)  # once more changes nothing
        assert_holds(gallery, now, vectors)


def test_delete_by_ids_and_by_filter(backend: Backend) -> None:
    items, some = odd_items(40), embeddings(40)
    with backend.open() as gallery:
        add(gallery, items, some)
        gone = {items[4].id, items[8].id, "nobody"}
        assert gallery.delete(gone) == 2
        where = Filter(metadata={"track": 17})
        expected = [i for i, item in enumerate(items) if item.id not in gone and not where.keeps(item)]
        assert gallery.delete(where=where) == 38 - len(expected)
        left = [items[i] for i in expected]
        assert_holds(gallery, left, some[expected])
        check_search(gallery, GalleryRecords(tuple(left), some[expected]), embeddings(4, seed=1), 30)
        add(gallery, [items[4]], some[9])  # the id is free again
        assert_holds(gallery, [*left, items[4]], PartEmbeddings.cat([some[expected], some[9]]))


def test_add_is_all_or_nothing(backend: Backend) -> None:
    items, some = odd_items(20), embeddings(20)
    with backend.open() as gallery:
        add(gallery, items[:10], some[:10])
        for new in ([*items[10:], items[3]], [items[0], *items[10:]]):
            with pytest.raises(DataError, match="Already in the gallery: .* Nothing was added"):
                add(gallery, new, embeddings(11, seed=3))
        assert_holds(gallery, items[:10], some[:10])
        with pytest.raises(ShapeError, match="half precision|finite"):
            gallery.add(replace(some[:1], vectors=some.vectors[:1] * torch.inf), ["infinite"])
        assert len(gallery) == 10


def test_header_and_model(backend: Backend) -> None:
    with backend.open() as gallery:
        gallery.add(embeddings(3, model="A"), ["a", "b", "c"])
        assert (gallery.slots, gallery.model) == (SLOTS, "A")
        for wrong, message in (
            (embeddings(1, model="B"), "different models"),
            (embeddings(1).select("head"), "slots differ"),
            (embeddings(1, width=5), "widths differ"),
        ):
            for call in (lambda e: gallery.add(e, ["d"]), lambda e: gallery.upsert(e, ["a"]), gallery.search):
                with pytest.raises(ShapeError, match=message):
                    call(wrong)
        assert len(gallery) == 3
        assert gallery.get(["b"]).embeddings.model in ("A", "")
        assert gallery.search(embeddings(1, model="A"), 1).ids


def test_the_first_known_model_binds_a_gallery(backend: Backend) -> None:
    with backend.open() as gallery:
        gallery.add(embeddings(2), ["a", "b"])
        assert gallery.model == ""
        assert gallery.search(embeddings(1, model="C"), 1).ids  # on the word of whoever asks
        gallery.add(embeddings(1, model="A"), ["c"])
        assert gallery.model == gallery.get(["a"]).embeddings.model == "A"
        for call in (lambda e: gallery.add(e, ["d"]), lambda e: gallery.upsert(e, ["a"]), gallery.search):
            with pytest.raises(ShapeError, match="different models, A and B"):
                call(embeddings(1, model="B"))
        gallery.add(embeddings(1), ["e"])  # unknown
        gallery.delete(["c"])
        with pytest.raises(ShapeError, match="different models"):
            gallery.add(embeddings(1, model="B"), ["d"])
        assert (len(gallery), gallery.verify()) == (3, [])
    if backend.location or backend.handles:
        with backend.open() as gallery:
            assert gallery.model == "A"
            assert sorted(gallery.search(embeddings(1, model="A"), 3).ids[0]) == ["a", "b", "e"]


def test_a_model_that_another_handle_brings_binds_too(backend: Backend) -> None:
    if not backend.handles:
        pytest.skip(f"{backend.name} knows one handle at a time")
    with backend.open() as first, backend.open() as second:
        first.add(embeddings(1), ["a"])
        assert second.model == ""
        first.add(embeddings(1, model="A"), ["b"])
        with pytest.raises(ShapeError, match="different models, A and B"):
            second.add(embeddings(1, model="B"), ["c"])
        with pytest.raises(DataError, match="different models, A and B"):
            second.store.write(GalleryRecords(tuple(named(1)), embeddings(1, model="B")), replace=False)
        assert (second.model, len(second)) == ("A", 2)


def test_a_gallery_compares_with_the_weights_of_its_model(backend: Backend) -> None:
    weights, plain = {"head": 5.0, "foreground": 0.1}, embeddings(30)
    some, query = replace(plain, compare_weights=weights), embeddings(4, seed=1)
    expected = MatchingConfig(slot_weights=weights)
    held = GalleryRecords(tuple(named(30)), plain)
    with backend.open() as gallery:
        gallery.add(plain[:20], [item.id for item in held.items[:20]])  # nobody says how they are compared
        assert gallery.search(query, 1).matching.slot_weights == {}  # type: ignore[union-attr]
        gallery.add(some[20:], [item.id for item in held.items[20:]])
        other = replace(query, compare_weights={"head": 2})
        for call in (lambda: gallery.add(other, list("abcd")), lambda: gallery.search(other)):
            with pytest.raises(ShapeError, match="made to be compared with the weights"):
                call()
    for asked in (query, replace(query, compare_weights=weights)):
        # What was kept in a place is read from there once more.
        with backend.open() if backend.location or backend.handles else gallery as again:
            result = again.search(asked, 30)
            assert_answers(result, by_loops(query, held, 30, expected, ALL))
            assert result.matching == expected.model_copy(update={"normalize": False})
            check_search(again, held, asked, 9, matching=MatchingConfig(slot_weights={}))
            assert again.get([held.items[0].id]).embeddings.compare_weights == weights


def test_numbers_kept_by_former_versions_are_found(backend: Backend) -> None:
    """They kept a camera 3.0 as "3.0", and a track 17.0 likewise."""
    items = [GalleryItem("a"), GalleryItem("b", 3, metadata={"track": 17}), GalleryItem("c", 4)]
    object.__setattr__(items[0], "camera", "3.0")
    with backend.open() as gallery:
        gallery.store.write(GalleryRecords(tuple(items), embeddings(3).to(dtype=gallery.store.dtype)), replace=False)
        if backend.name in ("memory", "outside"):
            return  # it keeps the items themselves, or has no former versions
        assert [(one.camera, one.count) for one in gallery.cameras()] == [("3", 2), ("4", 1)]
        assert gallery.get(["a"]).items[0].camera == "3"
        for camera in (3, 3.0, "3", "3.0"):
            assert gallery.count(Filter(cameras=camera)) == 2
            assert gallery.count(Filter(not_cameras=camera)) == 1
        assert gallery.verify() == []


def test_everything_comes_back_as_it_went_in(backend: Backend) -> None:
    items, some = odd_items(60), embeddings(60)
    with backend.open() as gallery:
        add(gallery, items, some)
        assert_holds(gallery, items, some)
        assert gallery.verify() == []
        for item in items[:18]:
            assert item.id in gallery
            assert gallery.get([item.id]).items == (item,)
        assert "nobody" not in gallery


def test_pages_hold_each_item_once_in_the_order_of_ids(backend: Backend) -> None:
    items, some = odd_items(50), embeddings(50)
    with backend.open() as gallery:
        add(gallery, items, some)
        for where in (ALL, Filter(not_cameras=1)):
            expected = sorted(item.id for item in items if where.keeps(item))
            for limit in (1, 7, 50, 1000):
                found = []
                for page in gallery.store.walk(where, size=limit):
                    assert 0 < len(page) <= limit
                    found += page.ids
                assert found == expected
                assert gallery.store.fetch(where, limit=limit).ids == expected[:limit]


def test_times_to_the_microsecond(backend: Backend) -> None:
    step = timedelta(microseconds=1)
    times = [NOON, NOON + step, NOON + 2 * step, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    items = [GalleryItem(f"{i}", time=time) for i, time in enumerate(times)] + [GalleryItem("never")]
    with backend.open() as gallery:
        add(gallery, items, embeddings(6))
        assert_holds(gallery, items, embeddings(6))
        for where in (
            Filter(since=NOON + step),
            Filter(until=NOON + step),
            Filter(since=NOON + step, until=NOON + 2 * step),
            Filter(since=times[3], until=times[4]),
            Filter(since=times[4]),
        ):
            assert gallery.count(where) == sum(where.keeps(item) for item in items)


texts = st.sampled_from([*ODD_TEXTS[:16], "1", "2", "17", "5", "1.5", "true", "item0020", "' OR 1=1"])
keys = st.sampled_from(["track", *ODD_TEXTS[:12]])
moments = st.none() | st.integers(-4, 5).map(lambda n: NOON + timedelta(microseconds=n))
several = st.lists(texts, max_size=3)
filters = st.builds(
    Filter,
    cameras=st.none() | several,
    not_cameras=several,
    since=moments,
    until=moments,
    undated=st.booleans(),
    metadata=st.dictionaries(keys, several, max_size=2),
    not_metadata=st.dictionaries(keys, several, max_size=2),
    ids=st.none() | st.none() | several,
    not_ids=several,
)


@pytest.fixture(scope="session")
def filled(new_backend: Callable[[], Backend]) -> Iterator[tuple[Gallery, GalleryRecords]]:
    """A gallery that no test changes."""
    records = GalleryRecords(tuple(odd_items(60)), embeddings(60))
    with new_backend().open() as gallery:
        add(gallery, records.items, records.embeddings)
        yield gallery, records


@settings(max_examples=40, deadline=None, derandomize=True)
@given(where=filters)
def test_filters_agree_with_keeps(filled: tuple[Gallery, GalleryRecords], where: Filter) -> None:
    gallery, records = filled
    expected = sorted(item.id for item in records.items if where.keeps(item))
    assert gallery.count(where) == len(expected)
    assert gallery.store.fetch(where, limit=100).ids == expected
    check_search(gallery, records, embeddings(2, seed=1), 10, where=where)


def test_a_random_history_equals_a_dictionary(backend: Backend) -> None:
    chance, held = np.random.default_rng(7), {}
    pool = [item.id for item in odd_items(30)]
    gallery = backend.open()
    for step in range(30):
        names = [str(name) for name in chance.choice(pool, int(chance.integers(1, 6)), replace=False)]
        new = [GalleryItem(name, str(chance.integers(3)), metadata={"step": step}) for name in names]
        some = embeddings(len(new), seed=step)
        kind = chance.choice(["add", "upsert", "delete", "where", "reopen"])
        if kind == "reopen":
            gallery.close()
            gallery = backend.open()
        elif kind == "delete":
            assert gallery.delete(names) == sum(held.pop(name, None) is not None for name in names)
        elif kind == "where":
            where = Filter(metadata={"step": range(step - 3, step)}, cameras=[0, 1])
            gone = [name for name, (item, _) in held.items() if where.keeps(item)]
            assert gallery.delete(where=where) == len(gone)
            held = {name: one for name, one in held.items() if name not in gone}
        elif kind == "add" and any(name in held for name in names):
            with pytest.raises(DataError, match="Already"):
                add(gallery, new, some)
        else:
            add(gallery, new, some, replace=bool(kind == "upsert"))
            held |= {item.id: (item, some[i]) for i, item in enumerate(new)}
        if held:
            items, vectors = zip(*held.values(), strict=True)
            records = GalleryRecords(items, PartEmbeddings.cat(vectors))
            check_search(gallery, records, embeddings(1, seed=99), 5)
            if step % 5 == 4:
                assert_holds(gallery, items, records.embeddings)
    gallery.close()


def test_reopening_finds_everything(backend: Backend) -> None:
    items, some = odd_items(20), embeddings(20, model="A")
    first = backend.open()
    add(first, items, some)
    first.delete([items[0].id])
    first.close()
    with backend.open() as second:
        assert_holds(second, items[1:], some[1:])
        assert second.model == "A"
        check_search(second, GalleryRecords(tuple(items[1:]), some[1:]), embeddings(3, seed=1), 5)


def test_two_handles_see_each_other(backend: Backend) -> None:
    if not backend.handles:
        pytest.skip(f"{backend.name} knows one handle at a time")
    items, some = odd_items(20), embeddings(20)
    with backend.open() as first, backend.open() as second:
        assert first.count() == second.count() == 0
        add(first, items[:10], some[:10])
        assert_holds(second, items[:10], some[:10])
        add(second, items[10:], some[10:])
        with pytest.raises(DataError, match="Already"):
            add(first, items[9:12], some[9:12])
        check_search(first, GalleryRecords(tuple(items), some), embeddings(3, seed=1), 5)
        second.delete([items[0].id])
        add(first, [GalleryItem(items[1].id)], some[3], replace=True)
        now = [GalleryItem(items[1].id), *items[2:]]
        vectors = PartEmbeddings.cat([some[3], some[2:]])
        for gallery in (first, second):
            assert_holds(gallery, now, vectors)
            check_search(gallery, GalleryRecords(tuple(now), vectors), embeddings(3, seed=1), 5)


def test_many_items_in_one_call(backend: Backend) -> None:
    """More than one request, page or statement holds."""
    n = 1500
    generator = torch.Generator().manual_seed(0)
    some = PartEmbeddings(torch.randn(n, 2, 4, generator=generator).half().float(), torch.ones(n, 2), ("a", "b"))
    items = [GalleryItem(f"{i:05d}", i % 7, NOON + timedelta(seconds=i)) for i in range(n)]
    with backend.open() as gallery:
        add(gallery, items, some)
        assert len(gallery) == n
        assert gallery.search(some[[5, 1400]], 2).ids[0][0] == "00005"
        result = gallery.search(some[5], n)
        assert sorted(result.ids[0]) == [item.id for item in items]
        assert [item.id for page in gallery.records() for item in page.items] == [item.id for item in items]
        assert gallery.delete([item.id for item in items[:1100]]) == 1100
        assert gallery.search(some[5], n).ids[0] == tuple(i for i in result.ids[0] if i >= "01100")


def test_a_killed_writer_loses_nothing_it_was_told_is_safe(backend: Backend) -> None:
    if not backend.location:
        pytest.skip(f"{backend.name} ends with its process")
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.retrieval.stores.writer", backend.name, backend.location]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        said = [int(line) for line, _ in zip(writer.stdout, range(3), strict=False)]
        writer.kill()
        assert len(said) == 3, writer.stderr.read()
        said += [int(line) for line in writer.stdout if line.endswith("\n")]
    with backend.open() as gallery:
        assert gallery.verify() == []
        there = len(gallery) // BATCH  # one more may have been written than was said
        assert there in (len(said), len(said) + 1)
        items = [item for number in range(there) for item in batch(number)]
        some = PartEmbeddings.cat([embeddings(BATCH, seed=number) for number in range(there)])
        assert_holds(gallery, items, some)
        check_search(gallery, GalleryRecords(tuple(items), some), embeddings(2, seed=1000), 9)
        add(gallery, named(2), embeddings(2))
        assert len(gallery) == len(items) + 2


def test_the_items_of_each_camera(backend: Backend) -> None:
    with backend.open() as gallery:
        assert gallery.cameras() == []
        gallery.add(
            embeddings(7),
            list("abcdefg"),
            cameras=[10, 2, "hall", 2, None, 2, "' OR 1=1"],
            times=[NOON, NOON, None, NOON + timedelta(microseconds=1), YEARS_AGO, None, NOON],
        )
        gallery.delete(["a"])
        gallery.upsert(embeddings(1), ["c"], cameras=10)
        assert gallery.cameras() == [
            CameraSummary("2", 3, NOON, NOON + timedelta(microseconds=1)),
            CameraSummary("10", 1, None, None),
            CameraSummary("' OR 1=1", 1, NOON, NOON),
            CameraSummary(None, 1, YEARS_AGO, YEARS_AGO),
        ]
        assert gallery.cameras(Filter(cameras=["2", "hall"], since=NOON + timedelta(microseconds=1))) == [
            CameraSummary("2", 1, NOON + timedelta(microseconds=1), NOON + timedelta(microseconds=1)),
        ]
        undated = gallery.cameras(Filter(until=NOON, undated=True))
        assert [(one.camera, one.count, one.first) for one in undated] == [
            ("2", 1, None),
            ("10", 1, None),
            (None, 1, YEARS_AGO),
        ]
