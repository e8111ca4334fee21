"""Right arguments of the tensor functions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from partreid.functional import distance, losses, mining, pooling, ranking, tolerance, two_sample, visibility
from tests.property.fuzzing import Target, embeddings, fuzz, tensors

RULES = st.sampled_from(["product", "geometric", "ignore"])
WEIGHTS = st.dictionaries(st.sampled_from(["foreground", "head", "legs"]), st.floats(1e-4, 1e4))
PAIR = {"query": embeddings(), "gallery": embeddings(), "normalize": st.booleans()}
BUDGET = st.sampled_from([1000, 2**20])
ATTENTION = tensors(2, 4, 3, 2, kind="uniform")
PIDS = tensors(6, kind="integer", high=3)


@st.composite
def whole_ids(draw: st.DrawFn, count: int) -> np.ndarray:
    """Persons or cameras; the first three people are there."""
    return np.array([0, 1, 2, *draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))][:count])


@st.composite
def distances(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Distances, one of them infinite."""
    values = draw(tensors(*shape, kind="uniform")).numpy()
    values[0, 0] = draw(st.sampled_from([0.5, np.inf]))
    return values


@st.composite
def chosen(draw: st.DrawFn) -> dict[str, object]:
    """Queries with indices into their gallery."""
    query, gallery = draw(embeddings()), draw(embeddings())
    indices = draw(tensors(len(query), 2, kind="integer", high=len(gallery)))
    return {"query": query, "gallery": gallery, "indices": indices, "visibility": draw(RULES)}


@st.composite
def scores(draw: st.DrawFn) -> ranking.QueryScores:
    """Scores of three queries, one of which does not count."""
    values = draw(tensors(3, kind="uniform")).numpy().astype(np.float64)
    values[1] = np.nan
    return ranking.QueryScores(values, values, np.array([1, 0, 3]))


IDS = {"query_pids": whole_ids(3), "gallery_pids": whole_ids(5), "query_camids": np.zeros(3, int),
       "gallery_camids": np.ones(5, int)}  # fmt: skip

TARGETS: list[Target] = [
    fuzz(distance.part_distances, **PAIR, visibility=RULES, weights=WEIGHTS, memory_budget=BUDGET),
    fuzz(distance.distance_rows, **PAIR, visibility=RULES, weights=WEIGHTS, memory_budget=BUDGET),
    fuzz(distance.slot_distances, **PAIR),
    fuzz(distance.pairwise_slot_distances, nan=True, all=chosen()),
    fuzz(distance.paired_distances, first=embeddings(n=3), second=embeddings(n=3), visibility=RULES, weights=WEIGHTS),
    fuzz(distance.comparable_slots, query=embeddings(), gallery=embeddings(), visibility=RULES),
    fuzz(
        losses.part_attention_loss, part_logits=tensors(2, 4, 3, 2), labels=tensors(2, 3, 2, kind="integer", high=4),
        smoothing=0.1,
    ),
    fuzz(losses.identity_loss, logits=st.one_of(tensors(6, 3), tensors(6, 2, 3)), pid_index=PIDS, smoothing=0.1),
    fuzz(
        losses.part_averaged_triplet, vectors=tensors(6, 2, 4), pids=PIDS, margin=0.3,
        visibility=st.one_of(st.none(), tensors(6, 2, kind="uniform")),
    ),
    fuzz(losses.per_part_triplet, vectors=tensors(6, 2, 4), pids=PIDS, margin=0.3),
    fuzz(mining.pairwise_distances, vectors=tensors(3, 2, 4)),
    fuzz(mining.batch_hard, distances=tensors(2, 6, 6, kind="uniform"), pids=PIDS,
         comparable=st.one_of(st.none(), tensors(6, 6, kind="bool"))),
    fuzz(pooling.foreground_map, attention=ATTENTION),
    fuzz(pooling.weighted_average_pool, features=tensors(2, 5, 3, 2), maps=ATTENTION),
    fuzz(pooling.mean_pool, features=tensors(2, 5, 3, 2), maps=ATTENTION),
    fuzz(pooling.stripe_maps, stripes=st.integers(1, 5), size=st.tuples(st.integers(5, 8), st.integers(1, 4))),
    fuzz(ranking.evaluate_ranking, id_arguments=tuple(IDS), distances=distances(3, 5), **IDS,
         max_rank=st.integers(1, 9)),
    fuzz(ranking.rank_block, nan=True, id_arguments=tuple(IDS), distances=distances(3, 5), **IDS),
    fuzz(ranking.QueryScores.cat, nan=True, blocks=st.lists(scores(), min_size=1, max_size=3)),
    fuzz(ranking.summarize_scores, nan=True, scores=scores(), num_gallery=5, protocol="rule", max_rank=5),
    fuzz(visibility.threshold_visibility, attention=ATTENTION, threshold=0.4),
    fuzz(visibility.argmax_visibility, attention=ATTENTION),
    fuzz(visibility.continuous_visibility, attention=ATTENTION),
    fuzz(visibility.slot_weights, visibility=tensors(2, 3, kind="uniform"), rule=RULES),
    fuzz(visibility.query_weights, fixed=("slots",), visibility=tensors(2, 3, kind="uniform"), rule=RULES,
         slots=("foreground", "head", "legs"), weights=WEIGHTS),
    fuzz(visibility.weighs_unseen, rule=RULES, slots=3),
    fuzz(tolerance.require_share, name="share", value=0.1),
    fuzz(tolerance.tolerance_rank, count=st.integers(0, 99), share=0.1, confidence=0.9),
    fuzz(tolerance.share_above, count=50, rank=st.integers(1, 50), confidence=0.9),
    fuzz(tolerance.draws_needed, share=0.1, confidence=0.9),
    fuzz(tolerance.share_below, count=50, found=st.integers(0, 50), confidence=0.9),
    fuzz(two_sample.energy_test, first=tensors(3, 4), second=tensors(5, 4), permutations=9, seed=0),
]  # fmt: skip
"""One for each public function of ``functional``; ``PartEmbeddings`` and ``torch`` are what they speak."""
