"""Re-ranking of part embeddings: equals the dense method, respects visibility, and stays off unless asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from partreid.errors import DataError
from partreid.evaluation import PROTOCOLS, EvaluationConfig, MatchingConfig, evaluate_embeddings, paired_difference
from partreid.evaluation import reranking as module
from partreid.evaluation.reranking import Reranker, RerankingConfig
from partreid.types import PartEmbeddings
from tests.functional.test_reranking import loops

SLOTS = ("foreground", "head", "legs")


def people(*, n: int, seed: int, seen: float = 0.6) -> tuple[PartEmbeddings, tuple[torch.Tensor, torch.Tensor]]:
    centres = torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    pids = torch.randint(0, 5, (n,), generator=generator)
    vectors = centres[pids] + torch.randn(n, 3, 6, generator=generator, dtype=torch.float64)
    visibility = (torch.rand(n, 3, generator=generator) < seen).double()
    return PartEmbeddings(vectors, visibility, SLOTS), (pids, torch.randint(0, 3, (n,), generator=generator))


QUERY, QUERY_IDS = people(n=9, seed=1)
GALLERY, GALLERY_IDS = people(n=30, seed=2)
CONFIG = RerankingConfig(k1=5, k2=3)


def rerank(matching: MatchingConfig, config: RerankingConfig, budget: int = 2**28) -> torch.Tensor:
    reranker = Reranker(QUERY, GALLERY, matching=matching, config=config, memory_budget=budget)
    blocks = [reranker.rerank(matching.distances(QUERY[s : s + 4], GALLERY), first=s) for s in range(0, len(QUERY), 4)]
    return torch.cat(blocks)


@pytest.mark.parametrize(
    "matching",
    [MatchingConfig(), MatchingConfig(normalize=True, slots=("head", "legs")), MatchingConfig(visibility="ignore")],
)
@pytest.mark.parametrize("budget", [2**28, 2000])
def test_equals_plain_loops_on_part_distances(matching: MatchingConfig, budget: int) -> None:
    everyone = PartEmbeddings.cat([QUERY, GALLERY])
    dense = matching.distances(everyone, everyone)
    expected = torch.tensor(loops(dense.tolist(), len(QUERY), CONFIG.k1, CONFIG.k2, CONFIG.weight))
    assert torch.isinf(expected).any() == (matching.visibility != "ignore")
    torch.testing.assert_close(rerank(matching, CONFIG, budget).float(), expected, atol=1e-5, rtol=0)


def test_weight_one_gives_the_original_order() -> None:
    plain = MatchingConfig().distances(QUERY, GALLERY)
    got = rerank(MatchingConfig(), CONFIG.model_copy(update={"weight": 1.0}))
    assert torch.equal(got.argsort(dim=1, stable=True), plain.argsort(dim=1, stable=True))
    assert not torch.equal(rerank(MatchingConfig(), CONFIG).argsort(dim=1), plain.argsort(dim=1))
    scores = [
        evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, options=options).average_precision
        for options in (EvaluationConfig(), EvaluationConfig(reranking=RerankingConfig(weight=1)))
    ]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_what_shares_no_slot_stays_infinitely_far(weight: float) -> None:
    plain = MatchingConfig().distances(QUERY, GALLERY)
    got = rerank(MatchingConfig(), CONFIG.model_copy(update={"weight": weight}))
    assert torch.equal(torch.isinf(got), torch.isinf(plain))
    assert torch.isinf(plain).any()
    assert not got.isnan().any()


def test_a_image_that_shows_nothing_changes_nothing_for_the_others() -> None:
    blind = PartEmbeddings(torch.zeros(1, 3, 6, dtype=torch.float64), torch.zeros(1, 3), SLOTS)
    more = PartEmbeddings.cat([GALLERY, blind])
    plain = MatchingConfig().distances(QUERY, more)
    got = Reranker(QUERY, more, matching=MatchingConfig(), config=CONFIG).rerank(plain, first=0)
    assert torch.isinf(got[:, -1]).all()
    torch.testing.assert_close(got[:, :-1], rerank(MatchingConfig(), CONFIG), atol=1e-6, rtol=0)


def test_finds_a_match_through_a_common_neighbour() -> None:
    """On a line, the far end of a dense group is nearer to its start than a lone image on the other side."""
    places = torch.tensor([0.0, 1.0, 2.0, 3.0, -2.5])
    e = PartEmbeddings(places[:, None, None], torch.ones(5, 1), ("foreground",))
    plain = MatchingConfig().distances(e[:1], e[1:])
    got = Reranker(e[:1], e[1:], matching=MatchingConfig(), config=RerankingConfig(k1=3, k2=2)).rerank(plain, first=0)
    assert plain[0, 3] < plain[0, 2]
    assert got[0, 3] > got[0, 2]


def test_result_names_the_protocol_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    options = EvaluationConfig(reranking=CONFIG, bootstrap=10)
    result = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, options=options)
    plain = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS)
    assert result.protocol == f"{plain.protocol}, re-ranked"
    assert "no re-ranking" in PROTOCOLS[plain.protocol]
    assert "Zhong" in PROTOCOLS[result.protocol]
    assert "rank1" in result.confidence
    assert not np.array_equal(result.average_precision, plain.average_precision)
    with pytest.raises(DataError, match="different protocols"):
        paired_difference(plain, result)
    monkeypatch.setattr("partreid.evaluation.evaluator._RANKED_BYTES", 2**19 // 30 // 2)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 2**18 // 39 // 2)
    small = options.model_copy(update={"memory_budget_mib": 1})
    streamed = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, options=small)
    np.testing.assert_array_equal(streamed.average_precision, result.average_precision)


def test_nothing_to_rank_and_one_image() -> None:
    reranker = Reranker(QUERY[:0], GALLERY[:1], matching=MatchingConfig(), config=CONFIG)
    assert reranker.rerank(torch.zeros(0, 1), first=0).shape == (0, 1)
    everyone = MatchingConfig(visibility="ignore")
    one = Reranker(QUERY[:1], GALLERY[:1], matching=everyone, config=CONFIG)
    assert math.isfinite(float(one.rerank(everyone.distances(QUERY[:1], GALLERY[:1]), first=0)))
