"""Right arguments of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st

from partreid.evaluation import (
    calibration,
    dataset,
    evaluator,
    groups,
    mot_sequences,
    protocols,
    reassociation,
    reranking,
    separation,
    slots,
    statistics,
    visibility,
)
from partreid.reports.evaluate import evaluate
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, ReIDDataset, ReIDImage
from tests.property.fuzz_functional import distances
from tests.property.fuzz_inference import extractor, files
from tests.property.fuzz_retrieval import MATCHING, pairs
from tests.property.fuzz_types import evaluation
from tests.property.fuzzing import Target, embeddings, fuzz, tensors

IDS = {"query_ids": ([0, 1, 2], [0, 0, 0]), "gallery_ids": ([0, 1, 2, 0], [1, 1, 1, 1])}
OPTIONS = st.sampled_from([None, evaluator.EvaluationConfig(bootstrap=9),
                           evaluator.EvaluationConfig(reranking=reranking.RerankingConfig(k1=2, k2=1))])  # fmt: skip
PAIR = {"query": embeddings(n=3), "gallery": embeddings(n=4)}
RESULT = st.builds(evaluation)


def split(made: PartEmbeddings, camera: int) -> dataset.EmbeddedSplit:
    """Embedded images of as many persons."""
    images = tuple(ReIDImage(Path(f"{camera}_{i}.jpg"), i % 5, camera) for i in range(len(made)))
    return dataset.EmbeddedSplit(images, made, {"global": made.vectors[:, 0]})


SPLITS = {"query": embeddings(n=5).map(lambda e: split(e, 0)), "gallery": embeddings(n=10).map(lambda e: split(e, 1))}
NAMED = {name: made.map(slots.slot_mapping) for name, made in PAIR.items()}
DISTRIBUTION = st.builds(
    lambda q, g: separation.distance_distribution(q, g, *IDS.values(), bins=64), embeddings(n=3), embeddings(n=4)
)
RERANKER = st.builds(
    lambda q, g: reranking.Reranker(q, g, matching=MatchingConfig(), config=reranking.RerankingConfig(k1=2)),
    embeddings(n=3), embeddings(n=4),
)  # fmt: skip

AGAIN = {"frames": np.array([0, 0, 0, 1, 1, 1]), "persons": list("abcabd"), "sequences": ["x"] * 6, "gaps": [1]}
FOUND = embeddings(n=6).map(lambda e: reassociation.reassociate(e, visibility=np.linspace(0, 1, 6), **AGAIN))
LEVEL = {"by": "query", "levels": [0.3, 0.6], "bootstrap": st.integers(1, 9)}

TARGETS: list[Target] = [
    fuzz(evaluator.evaluate_embeddings, id_arguments=tuple(IDS), **PAIR, **IDS, matching=MATCHING, options=OPTIONS),
    fuzz(evaluator.MatchedIdentities.of.__func__, fixed=("sizes",), id_arguments=("query", "gallery"), all=st.just(
        {"cls": evaluator.MatchedIdentities, "query": ([0], [0]), "gallery": ([0, 1], [1, 1]), "sizes": (1, 2)})),
    fuzz(protocols.reranked, protocol="rule"),
    fuzz(reranking.Reranker, **PAIR, matching=MatchingConfig(), config=reranking.RerankingConfig(k1=2)),
    fuzz(reranking.Reranker.rerank, self=RERANKER, distances=distances(3, 4).map(torch.from_numpy), first=0),
    fuzz(reassociation.reassociate, nan=True, embeddings=embeddings(n=6), visibility=np.linspace(0, 1, 6), **AGAIN,
         matching=MATCHING, alone=["head"]),
    fuzz(reassociation.Reassociation.rows, self=FOUND, **LEVEL),
    fuzz(reassociation.Reassociation.differences, self=FOUND, first="foreground", second="all", **LEVEL),
    fuzz(reassociation.ReassociationRow.summary, self=FOUND.map(lambda found: found.rows()[0])),
    fuzz(reassociation.check_levels, levels=[0.3, 0.6]),
    fuzz(reassociation.read_visibility, nan=True, values=np.array([-1.0, 0.5, 1.0]), count=3, fixed=("count",)),
    fuzz(mot_sequences.reassociate_sequences, right=False, extractor=st.builds(extractor), folder=Path("nowhere"),
         gaps=[1, "2s"], every=2),
    fuzz(separation.distance_distribution, id_arguments=tuple(IDS), **PAIR, **IDS, matching=MATCHING,
         bins=st.integers(1, 99)),
    fuzz(separation.DistanceDistribution.coarse, self=DISTRIBUTION, bins=st.integers(1, 99)),
    fuzz(slots.slot_mapping, embeddings=embeddings(n=3), holistic={"global": torch.ones(3, 7)}),
    fuzz(slots.slot_table, nan=True, id_arguments=tuple(IDS), **NAMED, **IDS),
    fuzz(statistics.bootstrap_interval, values=tensors(5, kind="uniform").map(torch.Tensor.numpy),
         groups=np.array([0, 0, 1, 1, 2]), samples=st.integers(1, 9), seed=0, confidence=0.9),
    fuzz(groups.score_groups, values={"mAP": np.linspace(0, 1, 24)}, persons=np.arange(24), groups=np.arange(24) % 2,
         names=["a", "b"], samples=st.integers(1, 9), seed=0),
    fuzz(statistics.with_confidence, result=RESULT, samples=9, seed=0),
    fuzz(statistics.paired_difference, first=RESULT, second=RESULT, samples=9, seed=0, confidence=0.9),
    fuzz(visibility.choose_threshold, nan=True, part="head", visibility=np.linspace(0, 1, 5), present=np.arange(5) > 2),
    fuzz(visibility.part_visibility, right=False, extractor=st.builds(extractor),
         images=files(".png").map(lambda p: [ReIDImage(p, 1, 0)])),
    fuzz(calibration.labelled_pairs, **SPLITS, matching=MatchingConfig(), max_negatives=20, seed=0),
    fuzz(calibration.fit_calibration, pairs=pairs(), num_slots=3, prior=st.sampled_from([None, 0.2])),
    fuzz(calibration.cross_validate, nan=True, all=st.fixed_dictionaries(SPLITS).map(
        lambda s: {"pairs": calibration.labelled_pairs(**s, matching=MatchingConfig()), "num_slots": 3, "folds": 2})),
    fuzz(calibration.measure, nan=True, probabilities=torch.full((6,), 0.3, dtype=torch.float64), pairs=pairs()),
    fuzz(evaluate, right=False, model="nowhere", data="nowhere", bootstrap=3, overrides=()),
    fuzz(calibration.calibrate, right=False, model="nowhere", data="nowhere", prior=0.5, folds=2, overrides=()),
    fuzz(dataset.chance_rank1, dataset=ReIDDataset("a", Path(), (), (ReIDImage(Path("b.jpg"), 1, 0),),
                                                   {"query": (ReIDImage(Path("a.jpg"), 1, 1),)})),
    fuzz(dataset.QuerySetScores.summary, self=RESULT.map(dataset.QuerySetScores)),
    fuzz(slots.SlotRow.summary, self=slots.SlotRow("head", 0.5, 0.6, 0.7, 0.4, 0.3, 1.0)),
    fuzz(dataset.EmbeddedSplit.table, self=SPLITS["query"]),
    fuzz(dataset.embed_split, extractor=st.builds(extractor), images=files(".png").map(lambda p: [ReIDImage(p, 1, 0)])),
    fuzz(dataset.score_query_set, nan=True, **SPLITS),
]  # fmt: skip
