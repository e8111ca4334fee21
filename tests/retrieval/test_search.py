"""The coded search: its bounds against distances in double precision, its answers against brute force."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import DataError, MissingDependencyError, ShapeError
from partreid.functional.distance import part_distances
from partreid.retrieval import Gallery, MatchingConfig, gallery
from partreid.retrieval.search import SlotCodes, book
from partreid.types import PartEmbeddings

pytest.importorskip("numkong")
pytest.importorskip("numba")

from partreid.retrieval.search import engine, scan

SLOTS = ("foreground", "head", "legs")
KINDS = ("gaussian", "positive", "near duplicates", "duplicates", "outlier", "zeros", "lengths", "exact codes")
RULES = ("product", "geometric", "ignore")
seeds, kinds, rules = st.integers(0, 2**31), st.sampled_from(KINDS), st.sampled_from(RULES)
fast = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    """Several fragments, waves and tasks for a few hundred items."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "FRAGMENT", 100)
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
    weights = q.visibility[:, None] * g.visibility[None]
    if matching.visibility == "geometric":
        weights = weights.sqrt()
    elif matching.visibility == "ignore":
        weights = torch.ones_like(weights)
    return ((slots * weights).sum(dim=2) / weights.sum(dim=2)).nan_to_num(nan=torch.inf).numpy()


def rule(name: str, normalize: bool = False) -> MatchingConfig:
    return MatchingConfig.parse({"visibility": name, "normalize": normalize})


def filled(items: PartEmbeddings, **options: object) -> Gallery:
    result = Gallery(**options)  # type: ignore[arg-type]
    result.add(items, range(len(items)))
    return result


def check(
    found: Gallery, query: PartEmbeddings, k: int, matching: MatchingConfig, cameras: list[int] | None = None
) -> None:
    """Whether a search through codes gives what sorting true distances gives, as far as float32 tells them apart."""
    result = found.search(query, k, matching=matching, cameras=cameras)
    assert found.engine == "int8"
    expected = true_distances(query, found.embeddings, matching)
    if cameras is not None:
        expected[:, [c not in cameras for c in found.camids]] = np.nan
    count = result.indices.shape[1]
    for row, indices, distances in zip(expected, result.indices.numpy(), result.distances.numpy(), strict=True):
        near = 1e-6 * np.nanmax(row, where=np.isfinite(row), initial=1e-30)
        nearest = np.sort(row)[:count]
        np.testing.assert_allclose(distances, nearest, rtol=2e-5, atol=near)  # no nearer item was lost
        np.testing.assert_allclose(row[indices], nearest, rtol=2e-5, atol=near)
        assert len(set(indices)) == count
        order = np.lexsort((indices, distances))
        np.testing.assert_array_equal(order, np.arange(count))  # ties by position
    plain = filled(found.embeddings, engine="plain")
    plain._camids = list(found.camids)
    reference = plain.search(query, k, matching=matching, cameras=cameras)
    assert plain.engine == "plain"
    torch.testing.assert_close(result.distances, reference.distances, rtol=1e-4, atol=2e-6)
    assert torch.equal(result.comparable, reference.comparable)
    assert torch.equal(result.indices[~result.comparable], reference.indices[~result.comparable])
    mine = result.part_distances[result.indices == reference.indices]
    torch.testing.assert_close(mine, reference.part_distances[result.indices == reference.indices], equal_nan=True)


@fast
@given(seeds, kinds, rules, st.booleans())
def test_bounds_enclose_every_distance(seed: int, kind: str, name: str, normalize: bool) -> None:
    query, items, matching = people(kind, 4, seed), people(kind, 50, seed + 1), rule(name, normalize)
    factors = [book._weights(e, matching) for e in (query, items)]
    coded = scan.CodedQueries.build(query.vectors, factors[0], normalize=normalize)
    fragment = scan.Fragment(SlotCodes.build(items.vectors, torch.ones(50, 3, dtype=torch.bool)), factors[1])
    limits = np.full(4, np.inf, np.float32)
    pairs, bounds = scan.candidates(coded, fragment, range(10, 45), slots=[0, 1, 2], limits=limits)
    truth = true_distances(query, items, matching)[:, 10:45]
    assert set(map(tuple, pairs)) == set(zip(*np.nonzero(np.isfinite(truth)), strict=True))
    distances = truth[pairs[:, 0], pairs[:, 1]]
    rounding = 1 + 2.0**-12  # of weights and sums: in the limit's slack
    assert (bounds[:, 0] <= distances * rounding).all()
    assert (distances <= bounds[:, 1] * rounding).all()
    if kind == "gaussian":
        assert (bounds[:, 1] - bounds[:, 0] < 0.1 * distances).all()


@fast
@given(seeds, kinds, rules, st.booleans())
def test_search_equals_brute_force(seed: int, kind: str, name: str, normalize: bool) -> None:
    items = people(kind, 330, seed)
    check(filled(items, engine="int8"), people(kind, 7, seed + 1), 9, rule(name, normalize))


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
    assert gallery.engine == "int8"
    expected = np.argsort(true_distances(query, items, matching), axis=1)[:, :20]
    assert result.indices.tolist() == expected.tolist()


def test_ties_and_what_is_not_comparable_keep_the_order_of_items() -> None:
    vectors = torch.eye(4)[torch.arange(400) % 4][:, None].expand(-1, 3, -1).clone()
    seen = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[torch.arange(400) % 2]
    found = filled(PartEmbeddings(vectors, seen, SLOTS), engine="int8")
    query = PartEmbeddings(vectors[:3], torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0]]), SLOTS)
    result = found.search(query, 5)
    assert found.engine == "int8"
    assert result.indices.tolist() == [[0, 4, 8, 12, 16], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert result.comparable.tolist() == [[True] * 5, [False] * 5, [False] * 5]
    few = seen.clone()
    few[:, 0] = 0
    few[[350, 120], 0] = 1  # two items in all see what the first query sees
    result = filled(PartEmbeddings(vectors, few, SLOTS), engine="int8").search(query, 5)
    assert result.indices[0].tolist() == [120, 350, 0, 1, 2]
    assert result.distances[0, 2:].isinf().all()
    assert result.part_distances[0, 2:].isnan().all()


def test_cameras_slots_thresholds_and_types() -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = Gallery(engine="int8")
    found.add(items, range(400), camids=[i % 3 for i in range(400)])
    check(found, query, 4, rule("product"), cameras=[1])
    check(found, query, 4, MatchingConfig(slots=("legs", "head"), visibility_threshold={"head": 0.5}))
    check(found, query, 4, rule("ignore"))  # codes of unseen slots are made now
    check(found, query, 4, rule("geometric", normalize=True))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        check(filled(items.to(dtype=dtype), engine="int8"), query.to(dtype=dtype), 4, rule("product"))
    assert found.search(query[:0], 4).indices.shape == (0, 4)


def test_codes_follow_items_that_come_and_go() -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = filled(items[:130], engine="int8")
    check(found, query, 4, rule("product"))
    kept = found._codes.update(found.embeddings)[0]
    for start in (130, 131, 360):
        found.add(
            items[start : {130: 131, 131: 360, 360: 400}[start]], range(start, {130: 131, 131: 360, 360: 400}[start])
        )
        check(found, query, 4, rule("product"))
    assert found._codes.update(found.embeddings)[0] is kept  # a full fragment is never coded anew
    found.remove([0, 7, 399])
    check(found, query, 4, rule("product"))


def test_what_does_not_suit_codes_is_searched_the_plain_way() -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = filled(items, engine="int8")
    found.search(query, k=100)
    assert found.engine == "plain"  # bounds would leave everything
    for changed in (
        PartEmbeddings(items.vectors * 1e-12, items.visibility, SLOTS),
        PartEmbeddings(items.vectors * 1e12, items.visibility, SLOTS),
        PartEmbeddings(items.vectors, items.visibility * 1e-12, SLOTS),
    ):
        found = filled(changed, engine="int8")
        got = found.search(query, 5)
        assert found.engine == "plain"
        assert torch.equal(got.indices, filled(changed, engine="plain").search(query, 5).indices)
    with pytest.raises(ShapeError, match="holds NaN"):
        filled(items, engine="int8").search(PartEmbeddings(query.vectors * torch.nan, query.visibility, SLOTS), 5)


def test_bounds_that_leave_everything_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    items = people("gaussian", 20_000, 1, width=4)
    items.vectors[:, :, 0] = 3000.0  # one coordinate takes all levels of the code
    found, query = filled(items), people("gaussian", 2, 2, width=4)
    query.vectors[:, :, 0] = 3000.0
    result = found.search(query, 3)
    assert found.engine == "plain"
    expected = part_distances(query, items).sort(dim=1, stable=True)
    torch.testing.assert_close(result.distances, expected.values[:, :3])
    monkeypatch.setattr(found._codes, "update", None)
    found.search(query, 3)  # not tried again


def test_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    items, query = people("gaussian", 400, 1), people("gaussian", 3, 2)
    found = filled(items)
    assert found.engine is None
    found.search(query, 3)
    assert found.engine == "plain"  # small
    monkeypatch.setattr(gallery, "CODES_FROM", 300)
    found.search(query, 3)
    assert found.engine == "int8"
    monkeypatch.setattr(gallery, "can_run", lambda: False)
    found.search(query, 3)
    assert found.engine == "plain"
    with pytest.raises(MissingDependencyError, match=r"needs numkong or numba.*partreid\[search\]"):
        Gallery(engine="int8")


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


def test_codes_as_plain_arrays() -> None:
    items = people("gaussian", 9, 1)
    codes = SlotCodes.build(items.vectors, items.visibility > 0)
    again = SlotCodes.from_arrays(codes.arrays())
    assert again.count == 9
    assert all(np.array_equal(a, codes.arrays()[name]) for name, a in again.arrays().items())
    assert codes.nbytes == sum(a.nbytes for a in again.arrays().values())
    with pytest.raises(DataError, match="'norms' is missing"):
        SlotCodes.from_arrays({name: a for name, a in codes.arrays().items() if name != "norms"})
    with pytest.raises(DataError, match="do not fit together"):
        SlotCodes.from_arrays(codes.arrays() | {"norms": np.zeros(3, np.float32)})
    with pytest.raises(ShapeError, match=r"Expected vectors \[N, S, D\]"):
        SlotCodes.build(items.vectors, items.visibility[:4] > 0)
