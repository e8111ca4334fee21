"""What must hold for any embeddings, visibilities and ids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.functional.distance import paired_distances, part_distances
from partreid.functional.ranking import evaluate_ranking, rank_block
from partreid.types import PartEmbeddings

fast = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
rules = st.sampled_from(["product", "geometric", "ignore"])


def embeddings(generator: torch.Generator, *, n: int, slots: int = 3) -> PartEmbeddings:
    levels = torch.tensor([0.0, 0.0, 0.25, 1.0])
    visibility = levels[torch.randint(0, 4, (n, slots), generator=generator)]
    vectors = torch.randn(n, slots, 4, generator=generator)
    return PartEmbeddings(vectors, visibility, tuple("abcdef"[:slots]))


def pair(seed: int, *, q: int = 5, g: int = 9) -> tuple[PartEmbeddings, PartEmbeddings]:
    generator = torch.Generator().manual_seed(seed)
    return embeddings(generator, n=q), embeddings(generator, n=g)


@fast
@given(seeds, st.sampled_from(["product", "geometric"]), st.floats(-100, 100))
def test_an_invisible_slots_vector_never_matters(seed: int, rule: str, value: float) -> None:
    query, gallery = pair(seed)
    other = gallery.vectors.clone()
    other[gallery.visibility == 0] = value
    changed = PartEmbeddings(other, gallery.visibility, gallery.slots)
    expected = part_distances(query, gallery, visibility=rule)  # type: ignore[arg-type]
    got = part_distances(query, changed, visibility=rule)  # type: ignore[arg-type]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@fast
@given(seeds, rules, st.booleans(), st.integers(1, 4000))
def test_chunked_equals_whole(seed: int, rule: str, normalize: bool, budget: int) -> None:
    query, gallery = pair(seed, q=6, g=20)
    options = {"visibility": rule, "normalize": normalize}
    whole = part_distances(query, gallery, **options)  # type: ignore[arg-type]
    chunked = part_distances(query, gallery, memory_budget=budget, **options)  # type: ignore[arg-type]
    assert torch.equal(torch.isinf(whole), torch.isinf(chunked))
    torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-6)


@fast
@given(seeds, rules)
def test_permuting_the_gallery_permutes_the_distances(seed: int, rule: str) -> None:
    query, gallery = pair(seed)
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(seed))
    expected = part_distances(query, gallery, visibility=rule)[:, order]  # type: ignore[arg-type]
    got = part_distances(query, gallery[order], visibility=rule)  # type: ignore[arg-type]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@fast
@given(seeds, rules)
def test_symmetric(seed: int, rule: str) -> None:
    query, gallery = pair(seed)
    there = part_distances(query, gallery, visibility=rule)  # type: ignore[arg-type]
    back = part_distances(gallery, query, visibility=rule)  # type: ignore[arg-type]
    torch.testing.assert_close(there, back.T, rtol=1e-5, atol=1e-6)


own_weights = st.dictionaries(st.sampled_from("abc"), st.floats(1e-4, 1e4))


@fast
@given(seeds, rules, st.booleans(), own_weights)
def test_weights_of_slots_as_in_a_plain_loop(seed: int, rule: str, normalize: bool, weights: dict[str, float]) -> None:
    query, gallery = pair(seed)
    factor = {"product": lambda v: v, "geometric": math.sqrt, "ignore": lambda v: 1.0}[rule]
    options = {"visibility": rule, "normalize": normalize, "weights": weights}
    got = part_distances(query, gallery, **options)  # type: ignore[arg-type]
    a, b = (e.normalized() if normalize else e for e in (query, gallery))
    for q in range(len(query)):
        paired = paired_distances(query[[q] * len(gallery)], gallery, **options)  # type: ignore[arg-type]
        for g in range(len(gallery)):
            above = below = 0.0
            for s, slot in enumerate(query.slots):
                weight = weights.get(slot, 1) * factor(float(a.visibility[q, s])) * factor(float(b.visibility[g, s]))
                above += weight * math.dist(a.vectors[q, s].tolist(), b.vectors[g, s].tolist())
                below += weight
            expected = above / below if below else math.inf
            assert float(got[q, g]) == pytest.approx(expected, rel=1e-4)
            assert float(paired[g]) == pytest.approx(expected, rel=1e-4)


@fast
@given(seeds, rules, st.floats(1e-4, 1e4), own_weights, st.floats(0.1, 10))
def test_only_the_ratios_of_weights_matter(
    seed: int, rule: str, weight: float, weights: dict[str, float], scale: float
) -> None:
    query, gallery = pair(seed)
    alike = part_distances(query, gallery, visibility=rule, weights=dict.fromkeys("abc", weight))
    assert torch.equal(alike, part_distances(query, gallery, visibility=rule))
    some = {slot: min(max(weights.get(slot, 1), 1e-3), 1e3) for slot in "abc"}
    scaled = {slot: value * scale for slot, value in some.items()}
    there, here = (part_distances(query, gallery, visibility=rule, weights=one) for one in (scaled, some))
    torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-6)
    back = part_distances(gallery, query, visibility=rule, weights=some)
    torch.testing.assert_close(back.T, here, rtol=1e-5, atol=1e-6)


@fast
@given(seeds, st.floats(0.01, 100))
def test_normalised_distance_ignores_the_scale(seed: int, scale: float) -> None:
    query, gallery = pair(seed)
    scaled = PartEmbeddings(gallery.vectors * scale, gallery.visibility, gallery.slots)
    expected = part_distances(query, gallery, normalize=True)
    torch.testing.assert_close(part_distances(query, scaled, normalize=True), expected, rtol=1e-4, atol=1e-5)


def ranking(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    distances = rng.permuted(np.tile(np.arange(12.0), (4, 1)), axis=1)  # no ties
    ids = [rng.integers(0, 3, 4), rng.integers(0, 3, 12), rng.integers(0, 3, 4), rng.integers(0, 3, 12)]
    ids[1][:3], ids[3][:3] = [0, 1, 2], 3  # each person is seen by a camera that no query has
    return distances, ids


@fast
@given(seeds)
def test_permuting_the_gallery_changes_no_score(seed: int) -> None:
    distances, (qp, gp, qc, gc) = ranking(seed)
    order = np.random.default_rng(seed).permutation(12)
    a = evaluate_ranking(distances, qp, gp, qc, gc)
    b = evaluate_ranking(distances[:, order], qp, gp[order], qc, gc[order])
    np.testing.assert_array_equal(a.average_precision, b.average_precision)
    np.testing.assert_array_equal(a.cmc, b.cmc)


@fast
@given(seeds, st.floats(-1, 13))
def test_junk_changes_no_score(seed: int, distance: float) -> None:
    distances, (qp, gp, qc, gc) = ranking(seed)
    query = slice(0, 1)
    before = rank_block(distances[query], qp[query], gp, qc[query], gc)
    more = np.concatenate([np.full((1, 1), distance), distances[query]], axis=1)
    after = rank_block(more, qp[query], np.append(qp[0], gp), qc[query], np.append(qc[0], gc))
    np.testing.assert_array_equal(before.average_precision, after.average_precision)
    np.testing.assert_array_equal(before.inverse_negative_penalty, after.inverse_negative_penalty)
    np.testing.assert_array_equal(before.first_match, after.first_match)


@fast
@given(seeds, st.sampled_from([20.0, np.inf]))
def test_a_distractor_ranked_last_changes_no_score(seed: int, distance: float) -> None:
    distances, (qp, gp, qc, gc) = ranking(seed)
    before = evaluate_ranking(distances, qp, gp, qc, gc)
    more = np.concatenate([distances, np.full((4, 1), distance)], axis=1)
    after = evaluate_ranking(more, qp, np.append(gp, -7), qc, np.append(gc, 0))
    np.testing.assert_array_equal(before.average_precision, after.average_precision)
    np.testing.assert_array_equal(before.cmc, after.cmc)


@fast
@given(seeds)
def test_scores_lie_between_zero_and_one(seed: int) -> None:
    distances, ids = ranking(seed)
    result = evaluate_ranking(distances, *ids)
    for score in (result.mean_ap, result.mean_inp, *result.cmc):
        assert 0 <= score <= 1
    assert (np.diff(result.cmc) >= 0).all()
