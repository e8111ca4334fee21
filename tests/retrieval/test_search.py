"""The coded search: its bounds against distances in double precision, its answers against brute force."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import MissingDependencyError, ShapeError
from partreid.functional.distance import part_distances
from partreid.functional.visibility import query_weights
from partreid.retrieval import Filter, Gallery, MatchingConfig
from partreid.retrieval.search import exact
from partreid.retrieval.search.codes import SlotCodes, load_codes, save_codes
from partreid.retrieval.search.exact import ExactSearch
from partreid.retrieval.stores.base import Candidates, SearchRule
from partreid.retrieval.stores.memory import MemoryStore
from partreid.types import PartEmbeddings, SearchResult
from tests.retrieval.stores.contract import OWN_RULES

pytest.importorskip("numkong")
pytest.importorskip("numba")

from partreid.retrieval.search import engine, products

SLOTS = ("foreground", "head", "legs")
KINDS = ("gaussian", "positive", "near duplicates", "duplicates", "outlier", "zeros", "lengths", "exact codes")
FACTORS = {"product": lambda v: v, "geometric": torch.sqrt, "ignore": torch.ones_like, **OWN_RULES}
seeds, kinds, rules = st.integers(0, 2**31), st.sampled_from(KINDS), st.sampled_from(sorted(FACTORS))
own_weights = st.dictionaries(st.sampled_from(SLOTS), st.floats(1e-4, 1e4))
fast = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    """Several fragments, waves and tasks for a few hundred items."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "FRAGMENT", 100)
        patch.setattr(engine, "_SEED", 16)
        patch.setattr(engine, "_TASK_ITEMS", 30)
        patch.setattr(engine, "_QUERIES", 5)
        yield


def people(kind: str, n: int, seed: int, width: int = 24) -> PartEmbeddings:
    """Embeddings of one kind; those of a kind are alike, whatever the seed."""
    own, common = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(7)
    vectors = torch.randn(n, len(SLOTS), width, generator=own)
    if kind == "positive":
        vectors = vectors.relu()
    elif kind in ("near duplicates", "duplicates"):
        pool = torch.randn(3, len(SLOTS), width, generator=common)
        vectors = pool[torch.randint(0, 3, (n,), generator=own)] + vectors * (1e-4 if kind == "near duplicates" else 0)
    elif kind == "outlier":
        vectors[:, :, 5] = 30.0
    elif kind == "exact codes":  # nothing is lost by coding: what remains is the rounding of the bound itself
        pool = torch.randint(-127, 128, (2, len(SLOTS), width), generator=common).float()
        pool[:, :, 0] = 127
        vectors = pool[torch.randint(0, 2, (n,), generator=own)] * (1 + 1e-6 * vectors[:, :, :1])
    elif kind == "zeros":
        vectors[torch.rand(n, len(SLOTS), generator=own) < 0.3] = 0
    elif kind == "lengths":
        vectors *= 10 ** torch.empty(n, len(SLOTS), 1).uniform_(-4, 4, generator=own)
    levels = torch.tensor([0.0, 0.0, 0.25, 1.0, 1.0])
    return PartEmbeddings(vectors, levels[torch.randint(0, 5, (n, len(SLOTS)), generator=own)], SLOTS)


def true_distances(query: PartEmbeddings, items: PartEmbeddings, matching: MatchingConfig) -> np.ndarray:
    """Eq. 9 from differences, in double precision; infinity where nothing is compared."""
    q, g = (matching.prepare(e).to(dtype=torch.float64) for e in (query, items))
    if matching.normalize:
        q, g = q.normalized(), g.normalized()
    slots = (q.vectors[:, None] - g.vectors[None]).norm(dim=3)
    factor = FACTORS[matching.visibility]
    weights = factor(q.visibility)[:, None] * factor(g.visibility)[None]
    weights *= torch.tensor([(matching.slot_weights or {}).get(slot, 1.0) for slot in q.slots], dtype=torch.float64)
    return ((slots * weights).sum(dim=2) / weights.sum(dim=2)).nan_to_num(nan=torch.inf).numpy()


def rule(name: str, normalize: bool = False, weights: dict[str, float] | None = None) -> MatchingConfig:
    return MatchingConfig.parse({"visibility": name, "normalize": normalize, "slot_weights": weights})


def filled(items: PartEmbeddings, **options: object) -> Gallery:
    result = Gallery(**options)  # type: ignore[arg-type]
    result.add(items, names(range(len(items))))
    return result


def names(positions: Iterable[int]) -> list[str]:
    """Ids whose order is that of the positions."""
    return [f"{i:05d}" for i in positions]


def indices(result: SearchResult) -> torch.Tensor:
    """[Q, k] positions of what was found."""
    return torch.tensor([[int(name) for name in row] for row in result.ids])


def searcher(found: Gallery) -> ExactSearch:
    assert isinstance(found.store, MemoryStore)
    return found.store.search


def stored(found: Gallery) -> PartEmbeddings:
    """All items' embeddings in the order of their ids."""
    return PartEmbeddings.cat(records.embeddings for records in found.records())


def check(found: Gallery, query: PartEmbeddings, k: int, matching: MatchingConfig, where: Filter | None = None) -> None:
    """Whether a search through codes gives what sorting true distances gives, as far as float32 tells them apart."""
    result = found.search(query, k, matching=matching, where=where)
    assert searcher(found).ran == "int8"
    ids = [name for records in found.records() for name in records.ids]
    expected = true_distances(query, stored(found), matching)
    if where is not None:
        kept = {name for records in found.records(where) for name in records.ids}
        expected[:, [name not in kept for name in ids]] = np.nan
    count = result.distances.shape[1]
    for row, found_ids, distances in zip(expected, result.ids, result.distances.numpy(), strict=True):
        near = 1e-6 * np.nanmax(row, where=np.isfinite(row), initial=1e-30)
        nearest, places = np.sort(row)[:count], np.searchsorted(ids, found_ids)
        np.testing.assert_allclose(distances, nearest, rtol=2e-5, atol=near)  # no nearer item was lost
        np.testing.assert_allclose(row[places], nearest, rtol=2e-5, atol=near)
        assert len(set(found_ids)) == count
        assert list(zip(distances, found_ids, strict=True)) == sorted(zip(distances, found_ids, strict=True))
    plain = Gallery(engine="plain")
    for records in found.records():
        plain.add(records.embeddings, records.ids, cameras=[item.camera for item in records.items])
    reference = plain.search(query, k, matching=matching, where=where)
    assert searcher(plain).ran == "plain"
    assert result.ids == reference.ids
    assert torch.equal(result.distances, reference.distances)
    assert torch.equal(result.comparable, reference.comparable)
    torch.testing.assert_close(result.part_distances, reference.part_distances, rtol=0, atol=0, equal_nan=True)


@fast
@given(seeds, kinds, rules, st.booleans(), own_weights)
def test_bounds_enclose_every_distance(
    seed: int, kind: str, name: str, normalize: bool, weights: dict[str, float]
) -> None:
    query, items, matching = people(kind, 4, seed), people(kind, 50, seed + 1), rule(name, normalize, weights)
    factors = query_weights(query.visibility, name, SLOTS, weights).numpy(), exact.weights_of(items, matching)
    coded = engine.CodedQueries.build(query.vectors, factors[0], normalize=normalize)
    fragment = engine.CodedFragment(SlotCodes.build(items.vectors, torch.ones(50, 3, dtype=torch.bool)), factors[1])
    limits = np.full(4, np.inf, np.float32)
    pairs, bounds = engine.candidates(coded, fragment, range(10, 45), slots=[0, 1, 2], limits=limits)
    truth = true_distances(query, items, matching)[:, 10:45]
    assert set(map(tuple, pairs)) == set(zip(*np.nonzero(np.isfinite(truth)), strict=True))
    distances = truth[pairs[:, 0], pairs[:, 1]]
    rounding = 1 + 2.0**-12  # of weights and sums: in the limit's slack
    assert (bounds[:, 0] <= distances * rounding).all()
    assert (distances <= bounds[:, 1] * rounding).all()
    if kind == "gaussian":
        assert (bounds[:, 1] - bounds[:, 0] < 0.1 * distances).all()


@fast
@given(seeds, kinds, rules, st.booleans(), own_weights)
def test_search_equals_brute_force(seed: int, kind: str, name: str, normalize: bool, weights: dict[str, float]) -> None:
    items = people(kind, 330, seed)
    check(filled(items, engine="int8"), people(kind, 7, seed + 1), 9, rule(name, normalize, weights))


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("normalize", [True, False])
def test_no_near_duplicate_is_lost(factor: float, normalize: bool) -> None:
    """Items nearer to each other than codes can tell; their true order decides."""
    base = people("gaussian", 20, 1, width=256)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(20, 40, 3, 256, generator=generator) * torch.logspace(-5, -2, 40)[:, None, None]
    vectors = (base.vectors[:, None] + noise).reshape(800, 3, 256) * factor
    items = PartEmbeddings(vectors, torch.ones(800, 3), SLOTS)
    query = PartEmbeddings(base.vectors * factor, torch.ones(20, 3), SLOTS)
    matching = rule("product", normalize)
    gallery = filled(items, engine="int8")
    result = gallery.search(query, 20, matching=matching)
    assert searcher(gallery).ran == "int8"
    expected = np.argsort(true_distances(query, items, matching), axis=1)[:, :20]
    assert indices(result).tolist() == expected.tolist()


def test_ties_and_what_is_not_comparable_keep_the_order_of_items() -> None:
    vectors = torch.eye(4)[torch.arange(400) % 4][:, None].expand(-1, 3, -1).clone()
    seen = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[torch.arange(400) % 2]
    found = filled(PartEmbeddings(vectors, seen, SLOTS), engine="int8")
    query = PartEmbeddings(vectors[:3], torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0]]), SLOTS)
    result = found.search(query, 5)
    assert searcher(found).ran == "int8"
    assert indices(result).tolist() == [[0, 4, 8, 12, 16], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert result.comparable.tolist() == [[True] * 5, [False] * 5, [False] * 5]
    few = seen.clone()
    few[:, 0] = 0
    few[[350, 120], 0] = 1  # two items in all see what the first query sees
    result = filled(PartEmbeddings(vectors, few, SLOTS), engine="int8").search(query, 5)
    assert indices(result)[0].tolist() == [120, 350, 0, 1, 2]
    assert result.distances[0, 2:].isinf().all()
    assert result.part_distances[0, 2:].isnan().all()


def test_cameras_slots_thresholds_and_types() -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = Gallery(engine="int8")
    found.add(items, names(range(400)), cameras=[i % 3 for i in range(400)])
    check(found, query, 4, rule("product"), Filter(cameras=("1",)))
    check(found, query, 4, MatchingConfig(slots=("legs", "head"), visibility_threshold={"head": 0.5}))
    check(found, query, 4, rule("ignore"))  # codes of unseen slots are made now
    check(found, query, 4, rule("geometric", normalize=True))
    check(found, query, 4, MatchingConfig(slots=("legs", "head"), slot_weights={"foreground": 9, "legs": 3}))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        check(filled(items.to(dtype=dtype), engine="int8"), query.to(dtype=dtype), 4, rule("product"))
    assert found.search(query[:0], 4).distances.shape == (0, 4)


def test_codes_follow_items_that_come_and_go() -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = filled(items[:130], engine="int8")
    check(found, query, 4, rule("product"))
    kept = searcher(found).codes_in_memory(stored(found), False)[0]
    for start in (130, 131, 360):
        stop = {130: 131, 131: 360, 360: 400}[start]
        found.add(items[start:stop], names(range(start, stop)))
        check(found, query, 4, rule("product"))
    assert searcher(found).codes_in_memory(stored(found), False)[0] is kept  # a full fragment is never coded anew
    found.delete(names([0, 7, 399]))
    check(found, query, 4, rule("product"))


def test_what_does_not_suit_codes_is_searched_the_plain_way() -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = filled(items, engine="int8")
    found.search(query, k=100)
    assert searcher(found).ran == "plain"  # bounds would leave everything
    for changed in (
        PartEmbeddings(items.vectors * 1e-12, items.visibility, SLOTS),
        PartEmbeddings(items.vectors * 1e12, items.visibility, SLOTS),
        PartEmbeddings(items.vectors, items.visibility * 1e-12, SLOTS),
    ):
        found = filled(changed, engine="int8")
        got = found.search(query, 5)
        assert searcher(found).ran == "plain"
        assert got.ids == filled(changed, engine="plain").search(query, 5).ids
    with pytest.raises(ShapeError, match="holds NaN"):
        filled(items, engine="int8").search(PartEmbeddings(query.vectors * torch.nan, query.visibility, SLOTS), 5)


def test_bounds_that_leave_everything_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    items = people("gaussian", 20_000, 1, width=4)
    items.vectors[:, :, 0] = 3000.0  # one coordinate takes all levels of the code
    found, query = filled(items), people("gaussian", 2, 2, width=4)
    query.vectors[:, :, 0] = 3000.0
    result = found.search(query, 3)
    assert searcher(found).ran == "plain"
    expected = part_distances(query, items).sort(dim=1, stable=True)
    torch.testing.assert_close(result.distances, expected.values[:, :3])
    monkeypatch.setattr(searcher(found), "_codes_of", None)
    found.search(query, 3)  # not tried again


def test_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = filled(items)
    assert searcher(found).ran is None
    assert found.engine is None
    found.search(query, 3)
    assert searcher(found).ran == found.engine == "plain"  # small
    monkeypatch.setattr(exact, "CODES_FROM", 300)
    for asked in (query, query[:1]):
        found.search(asked, 3)
        assert searcher(found).ran == "int8"
        assert found.engine == f"int8 ({products.quickest(len(asked) == 1).name})"
    monkeypatch.setattr(exact, "can_run", lambda: False)
    found.search(query, 3)
    assert searcher(found).ran == "plain"
    with pytest.raises(MissingDependencyError, match=r"needs numkong or numba.*partreid\[search\]"):
        Gallery(engine="int8")


@pytest.mark.parametrize("way", [products.NUMBA, products.NUMKONG, products.ONEDNN], ids=lambda way: way.name)
@pytest.mark.parametrize("queries", [1, 3, 16, 33])
def test_every_library_that_is_trusted_multiplies_exactly(way: products.Multiplier, queries: int) -> None:
    if way is products.ONEDNN and not products.onednn_is_exact():
        pytest.skip("this processor has no instructions for int8 products")
    rng = np.random.default_rng(1)
    for count, width in ((1, 1), (7, 31), (70, 512), (700, 95)):
        vectors, asked = (rng.integers(-127, 128, (n, width), np.int8) for n in (count, queries))
        vectors[0], asked[-1] = 127, -127
        found = np.empty((count, queries), np.int32)
        way.multiply(vectors, way.pack(asked), found)
        np.testing.assert_array_equal(found, vectors.astype(np.int32) @ asked.T.astype(np.int32))
    assert way.exact(queries)


@pytest.mark.parametrize("queries", [1, 3, 64])
def test_queries_begin_a_cache_line(queries: int) -> None:
    """Wherever their memory comes from: a third of the speed was lost where it did not happen to."""
    asked = np.random.default_rng(0).integers(-127, 128, (queries, 95), np.int8)
    packed = products.NUMBA.pack(asked)
    assert packed.ctypes.data % 64 == 0
    assert packed.dtype == np.int16
    np.testing.assert_array_equal(packed, asked)


def test_a_library_that_cuts_products_off_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As oneDNN does where the processor adds up pairs of products in 16 bits."""

    def saturating(vectors: np.ndarray, packed: np.ndarray, out: np.ndarray) -> None:
        pairs = vectors.astype(np.int32)[:, None] * packed
        out[:] = pairs.reshape(*out.shape, -1, 2).sum(axis=3).clip(-(2**14), 2**14).sum(axis=2)

    bad = products.Multiplier("bad", lambda codes: codes.astype(np.int32), saturating)
    assert not bad.exact(16)
    monkeypatch.setattr(products, "ONEDNN", bad)
    products.quickest.cache_clear()
    try:
        assert not products.onednn_is_exact()
        assert products.quickest(alone=False) in (products.NUMBA, products.NUMKONG)
    finally:
        products.quickest.cache_clear()


@pytest.mark.parametrize("way", [products.NUMBA, products.NUMKONG], ids=lambda way: way.name)
def test_the_answer_does_not_depend_on_the_library(monkeypatch: pytest.MonkeyPatch, way: products.Multiplier) -> None:
    monkeypatch.setattr(engine, "quickest", lambda alone: way)
    items, query = people("near duplicates", 500, 1), people("near duplicates", 7, 2)
    check(filled(items, engine="int8"), query, 6, rule("product"))
    check(filled(items, engine="int8"), query[:1], 6, rule("product", normalize=True))


@pytest.mark.parametrize("normalize", [False, True])
def test_distances_of_a_search_are_those_of_the_answer(normalize: bool) -> None:
    """Known from the search, or computed from the records as for a store that knows none: to the last bit."""
    items, query = people("positive", 400, 1), people("positive", 6, 2)
    matching = rule("geometric", normalize, {"head": 3.0})
    for engine_name in ("int8", "plain"):
        found = filled(items, engine=engine_name)
        near = found.store.nearest(query, SearchRule(5, matching, Filter()))
        assert (near.distances is not None) == (engine_name == "int8")
        result = found.search(query, 5, matching=matching)
        unknown = Candidates(near.records, near.query, near.record)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(found.store, "nearest", lambda *_, same=unknown: same)
            again = found.search(query, 5, matching=matching)
        assert again.ids == result.ids
        assert torch.equal(again.distances, result.distances)


def test_threads_of_a_search_leave_pytorch_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        filled(people("gaussian", 400, 1), engine="int8").search(people("gaussian", 3, 2), 4)
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
        workers = engine._workers(os.getpid(), 3)
        assert {workers.submit(torch.get_num_threads).result() for _ in range(9)} == {1}
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads: int) -> None:
    items, query = people("near duplicates", 500, 1), people("near duplicates", 12, 2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(filled(items, engine="int8"), query, 6, rule("product"))
    finally:
        torch.set_num_threads(before)


@fast
@given(seeds, kinds, st.sampled_from([1, 24, 515]))
def test_codes_lie_within_their_error(seed: int, kind: str, width: int) -> None:
    items = people(kind, 9, seed, width=max(width, 6))
    seen = items.visibility > 0
    codes = SlotCodes.build(items.vectors, seen)
    assert codes.starts[-1] == len(codes.codes) == int(seen.sum())
    for slot in range(3):
        rows = range(codes.starts[slot], codes.starts[slot + 1])
        assert codes.rows.items[rows].tolist() == seen[:, slot].nonzero().flatten().tolist()
        for row in rows:
            vector = items.vectors[codes.rows.items[row], slot].double().numpy()
            coded = codes.rows.scales[row].astype(np.float64) * codes.codes[row]
            assert abs(codes.codes[row].astype(int)).max() <= 127
            assert np.linalg.norm(vector - coded) <= codes.rows.errors[row]
            np.testing.assert_allclose(codes.rows.lengths[row], coded @ coded, rtol=1e-6)
            np.testing.assert_allclose(codes.rows.norms[row], np.linalg.norm(vector), rtol=1e-6)


def test_codes_in_a_file(tmp_path: Path) -> None:
    items, path = people("gaussian", 9, 1), tmp_path / "a.codes"
    codes = SlotCodes.build(items.vectors, items.visibility > 0)
    save_codes(path, codes, "a 1 2")
    again = load_codes(path, "a 1 2")
    assert again is not None
    assert again.count == 9
    for mine, other in zip(
        (codes.starts, codes.codes, *codes.rows), (again.starts, again.codes, *again.rows), strict=True
    ):
        np.testing.assert_array_equal(mine, other)
    assert load_codes(path, "a 1 3") is None  # of other vectors
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(broken)
        assert load_codes(path, "a 1 2") is None
    assert load_codes(tmp_path / "none.codes", "a 1 2") is None


def test_what_cannot_be_coded_is_refused() -> None:
    items = people("gaussian", 9, 1)
    with pytest.raises(ShapeError, match=r"Expected vectors \[N, S, D\]"):
        SlotCodes.build(items.vectors, items.visibility[:4] > 0)
