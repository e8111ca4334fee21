"""Evaluation of images of a data set: which gallery images are dropped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.evaluation.dataset import EmbeddedSplit, score_query_set
from partreid.functional.ranking import CROSS_CAMERA, OTHER_FILE
from partreid.types import PartEmbeddings, ReIDImage


def split(names: list[str], pids: list[int], vectors: np.ndarray) -> EmbeddedSplit:
    embeddings = PartEmbeddings(torch.from_numpy(vectors)[:, None], torch.ones(len(names), 1), ("foreground",))
    images = tuple(ReIDImage(Path(name), pid) for name, pid in zip(names, pids, strict=True))
    return EmbeddedSplit(images, embeddings, {"global": torch.from_numpy(vectors)})


@pytest.mark.parametrize("seed", range(5))
def test_without_cameras_the_very_file_is_dropped_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 5, 40).tolist()
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    names = [f"{i}.jpg" for i in range(40)]
    gallery, queries = split(names, people, vectors), list(range(0, 50, 3))
    # Every third image asks: those from 40 on lie elsewhere, so that the same person's images are all kept.
    asked = [i % 40 for i in queries]
    query = split([f"{i}.jpg" for i in queries], [people[i] for i in asked], vectors[asked])
    result = score_query_set(query, gallery).result

    precisions, first = [], []
    for i, name in zip(asked, (f"{i}.jpg" for i in queries), strict=True):
        order = sorted(range(40), key=lambda g: float(np.linalg.norm(vectors[i] - vectors[g])))
        kept = [g for g in order if names[g] != name]
        hits = [rank for rank, g in enumerate(kept, start=1) if people[g] == people[i]]
        if hits:
            precisions.append(np.mean([n / rank for n, rank in enumerate(hits, start=1)]))
            first.append(hits[0])
    assert result.protocol == OTHER_FILE
    assert result.mean_ap == pytest.approx(np.mean(precisions), abs=1e-6)
    assert result.rank(1) == pytest.approx(np.mean([rank == 1 for rank in first]))
    assert result.num_queries == len(precisions)


def test_with_cameras_the_rule_is_the_usual_one() -> None:
    plain = split(["a", "b"], [1, 1], np.eye(2, dtype=np.float32))
    cameras = tuple(replace(image, camid=i) for i, image in enumerate(plain.images))
    result = score_query_set(replace(plain, images=cameras), replace(plain, images=cameras)).result
    assert (result.protocol, result.rank(1)) == (CROSS_CAMERA, 1.0)
