"""Searches and filters of galleries on disk: their rows, codes and checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import DataError
from partreid.retrieval import Gallery, MatchingConfig
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.exact import Engine, can_run
from partreid.retrieval.stores.lance.fragment import Fragment
from partreid.retrieval.stores.lance.store import LanceStore
from partreid.types import PartEmbeddings, SearchResult
from partreid.types.gallery import GalleryItem, GalleryRecords
from tests.retrieval.stores.lance_history import SLOTS, records

RULES = (
    MatchingConfig(),
    MatchingConfig(normalize=True, visibility="geometric"),
    MatchingConfig(visibility="ignore"),
    MatchingConfig(visibility_threshold=0.6, slots=("feet", "head")),
)
QUERY = records(["q"] * 5, 99).embeddings
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
ODD = st.sampled_from(
    ["'", '"', "\\", "%", "_", "';--", "a' OR 'a'='a", "ü", "u\u0308", "\n", "{}", "null", "true", "1", "1.0", "🚶"]
)
SCALARS = st.one_of(ODD, TEXTS, st.integers(-3, 3), st.booleans(), st.sampled_from([0.5, 1.0, -0.0, 1e300]))
TIMES = st.integers(26 * 10**8, 8 * 10**9).map(lambda quarters: quarters / 4)  # of a second: 1990 to 2033
SOME_TEXTS = st.lists(st.one_of(ODD, TEXTS, st.integers(-3, 3)), min_size=1, max_size=4)
METADATA = st.dictionaries(ODD, st.one_of(SCALARS, st.none(), st.lists(SCALARS, max_size=2)), max_size=4)


@st.composite
def items(draw: st.DrawFn) -> list[GalleryItem]:
    ids = draw(st.lists(st.one_of(ODD, TEXTS), min_size=1, max_size=12, unique=True))
    return [
        GalleryItem(name, draw(st.none() | ODD | st.integers(-3, 3)), draw(st.none() | TIMES), draw(METADATA))
        for name in ids
    ]


@st.composite
def filters(draw: st.DrawFn, there: list[GalleryItem]) -> Filter:
    """Conditions that often ask for what is there."""
    cameras = st.sampled_from([item.camera or "none" for item in there])
    known = st.sampled_from([item.id for item in there])
    times = st.sampled_from([item.time for item in there]) | TIMES
    pairs = [
        (key, value) for item in there for key, value in item.metadata.items() if isinstance(value, str | int | float)
    ]
    tagged = st.dictionaries(ODD, SOME_TEXTS, max_size=2)
    if pairs:
        tagged |= st.lists(st.sampled_from(pairs), max_size=2).map(lambda some: {key: [value] for key, value in some})
    conditions = {
        "cameras": st.lists(cameras | ODD, max_size=3),
        "not_cameras": st.lists(cameras | ODD, max_size=2),
        "since": times,
        "until": times,
        "metadata": tagged,
        "not_metadata": tagged,
        "ids": st.lists(known | ODD, max_size=9),
        "not_ids": st.lists(known | ODD, max_size=3),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(conditions)), max_size=3, unique=True))
    return Filter.parse({name: draw(conditions[name]) for name in chosen})


def filled(path: Path, some: GalleryRecords, engine: Engine = "auto", batches: int = 3) -> Gallery:
    store = LanceStore(path, create=True, engine=engine)
    for rows in np.array_split(np.arange(len(some)), batches):
        store.write(some[rows], replace=False)
    return Gallery(store)


def assert_same(found: SearchResult, expected: SearchResult) -> None:
    assert found.items == expected.items
    torch.testing.assert_close(found.distances, expected.distances, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.part_distances, expected.part_distances, rtol=1e-4, atol=1e-5, equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_filters_keep_what_keeps_keeps(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    there = data.draw(items())
    gallery = filled(
        tmp_path_factory.mktemp("g"), GalleryRecords(tuple(there), records(["x"] * len(there), 1).embeddings), batches=1
    )
    for where in data.draw(st.lists(filters(there), min_size=3, max_size=9)):
        expected = sorted(item.id for item in there if where.keeps(item))
        found = [item for page in gallery.records(where) for item in page.items]
        assert [item.id for item in found] == expected
        assert gallery.count(where) == len(expected)
        assert found == sorted((item for item in there if item.id in expected), key=lambda item: item.id)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gallery, Gallery]]:
    """The same items on disk, with deletions and in many fragments, and in memory."""
    some = records([f"p{i:04d}" for i in range(1500)], 5)
    stored, plain = (
        filled(tmp_path_factory.mktemp("g"), some, "int8" if can_run() else "plain", batches=6),
        Gallery(engine="plain"),
    )
    plain.store.write(some, replace=False)
    gone = Filter(ids=some.ids[100:400:3])
    assert stored.delete(where=gone) == plain.delete(where=gone) == 100
    yield stored, plain
    stored.close()


@pytest.mark.parametrize("matching", RULES, ids=str)
@pytest.mark.parametrize(
    "where", [Filter(), Filter(cameras=[1, 3]), Filter(not_metadata={"kind": [1, 2]}, since=12 * 10**8)], ids=str
)
def test_a_search_finds_what_memory_finds(
    many: tuple[Gallery, Gallery], matching: MatchingConfig, where: Filter
) -> None:
    stored, plain = many
    for k in (1, 9, 2000):
        assert_same(
            stored.search(QUERY, k, matching=matching, where=where),
            plain.search(QUERY, k, matching=matching, where=where),
        )
        assert isinstance(stored.store, LanceStore)
        assert stored.store.search.ran == (
            "int8" if (can_run() and k == 1) or (k == 9 and stored.count(where) >= 9 * 32) else "plain"
        )


def test_without_codes_little_memory_is_enough(many: tuple[Gallery, Gallery]) -> None:
    stored, plain = many
    found = Gallery.open(stored.store.location)
    for where in (Filter(), Filter(not_cameras=2)):
        assert_same(found.search(QUERY, 7, where=where, memory_budget=20_000), plain.search(QUERY, 7, where=where))


@pytest.mark.skipif(not can_run(), reason="the extra search is not installed")
def test_codes_are_kept_and_made_anew_where_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path, records([f"p{i:04d}" for i in range(700)], 5), "int8", batches=1)
    expected = gallery.search(QUERY, 3)
    (file,) = (tmp_path / "codes").iterdir()
    reads: list[int] = []
    read = Fragment.vectors
    monkeypatch.setattr(Fragment, "vectors", lambda self, rows: reads.append(len(rows)) or read(self, rows))

    def again() -> int:
        """Vectors read by the first search of a new process."""
        reads.clear()
        assert_same(Gallery(LanceStore(tmp_path, create=False, engine="int8")).search(QUERY, 3), expected)
        return sum(reads)

    assert again() < 700
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for torn in (
        b"",
        whole[:100],
        whole[:-1],
        whole[:middle],
        flipped,
        b"x" + whole[1:],
        whole[:40] + b"?" + whole[41:],
    ):
        file.write_bytes(torn)
        assert again() >= 700
        assert file.read_bytes() == whole
    file.unlink()
    (tmp_path / "codes").chmod(0o500)
    file.parent.rmdir()
    file.parent.write_text("no folder")  # as where nothing can be written
    assert again() >= 700


def test_ties_and_near_duplicates_by_id(tmp_path: Path) -> None:
    one = records(["x"], 3).embeddings
    one = PartEmbeddings(one.vectors, torch.ones(1, len(SLOTS)), SLOTS)
    near = PartEmbeddings(one.vectors + torch.tensor(2.0**-9).half(), one.visibility, SLOTS)
    some = PartEmbeddings.cat([one] * 40 + [near] * 3)
    order = np.random.default_rng(0).permutation(43)
    ids = [f"{i:02d}" for i in range(43)]
    gallery = filled(tmp_path, GalleryRecords(tuple(GalleryItem(ids[i]) for i in order), some[np.arange(43)]))
    twins = sorted(ids[i] for i in order[:40])
    assert list(gallery.search(one, 30).ids[0]) == twins[:30]
    assert list(gallery.search(one, 43).ids[0]) == twins + sorted(ids[i] for i in order[40:])


def test_damage_is_named(tmp_path: Path) -> None:
    gallery = filled(tmp_path, records([f"p{i:02d}" for i in range(50)], 5), batches=1)
    (file,) = (tmp_path / "data").iterdir()
    whole = file.read_bytes()
    vector = gallery.get(["p07"]).embeddings.vectors.numpy().tobytes()
    for wrong, reason in (
        (whole[:-1], f"expected {len(whole)} bytes, found {len(whole) - 1}"),
        (whole[:-30] + b"?" + whole[-29:], "its checksum does not fit"),
        (whole.replace(vector, vector[:-1] + b"?"), "the vectors of 1 of its rows are not those that were written"),
    ):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match=f"{file.name} is damaged: {reason}"):
            Gallery.open(tmp_path).search(QUERY)
        if len(wrong) == len(whole):  # sizes are looked at when a gallery is opened
            assert [reason in problem for problem in Gallery.open(tmp_path).verify()] == [True]
    file.write_bytes(whole)
    assert Gallery.open(tmp_path).verify() == []
