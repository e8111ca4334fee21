"""What holds for any ids: how they are written, junk, and the order of images change no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partreid.errors import DataError, PartReIDError
from partreid.evaluation import (
    EvaluationConfig,
    Identities,
    distance_distribution,
    evaluate_embeddings,
    slot_mapping,
    slot_table,
)
from partreid.evaluation.calibration import labelled_pairs
from partreid.evaluation.dataset import EmbeddedSplit
from partreid.evaluation.reranking import RerankingConfig
from partreid.functional import _loops as loops
from partreid.functional.ranking import evaluate_ranking, rank_block
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings, ReIDImage
from tests.property.fuzzing import SCALARS, WRITERS, items

Q, G = 5, 12
SLOTS = ("foreground", "head")
Sides = tuple[PartEmbeddings, PartEmbeddings, tuple[list[int], list[int]], tuple[list[int], list[int]]]


def problem(seed: int) -> Sides:
    """Queries and a gallery, each with persons and cameras; every query has a positive."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    query, gallery = (
        PartEmbeddings(
            torch.randn(n, 2, 4, generator=generator), (torch.rand(n, 2, generator=generator) > 0.3).float(), SLOTS
        )
        for n in (Q, G)
    )
    persons = [0, 1, 2, *rng.integers(0, 4, G - 3).tolist()]
    cameras = [9, 9, 9, *rng.integers(0, 3, G - 3).tolist()]
    return query, gallery, (rng.integers(0, 3, Q).tolist(), rng.integers(0, 3, Q).tolist()), (persons, cameras)


def everything(query: PartEmbeddings, gallery: PartEmbeddings, asked: Any, stored: Any) -> dict[str, Any]:
    """All that is told of a ranking, as plain numbers."""
    distances = MatchingConfig().distances(query, gallery)
    ids = asked[0], stored[0], asked[1], stored[1]
    whole, streamed = evaluate_ranking(distances, *ids), evaluate_embeddings(query, gallery, asked, stored)
    rerank = EvaluationConfig(reranking=RerankingConfig(k1=3, k2=2))
    blocks = rank_block(distances, *ids)
    pairs = distance_distribution(query, gallery, asked, stored, bins=32)
    return {
        "whole": whole.summary(),
        "ranks": whole.first_match.tolist(),
        "block": blocks.first_match.tolist(),
        "streamed": streamed.summary(),
        "reranked": evaluate_embeddings(query, gallery, asked, stored, options=rerank).summary(),
        "slots": slot_table(slot_mapping(query), slot_mapping(gallery), asked, stored),
        "pairs": (pairs.same.tolist(), pairs.different.tolist(), pairs.not_comparable),
    }


def without(found: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """What was found, without some entries of the summaries."""
    return {
        name: {k: v for k, v in value.items() if k not in left_out} if isinstance(value, dict) else value
        for name, value in found.items()
    }


seeds = st.integers(0, 2**31)
writers = st.sampled_from(sorted(WRITERS))


@given(seeds, writers, writers)
def test_how_ids_are_written_changes_nothing(seed: int, persons: str, cameras: str) -> None:
    query, gallery, asked, stored = problem(seed)
    write, film = WRITERS[persons], WRITERS[cameras]
    got = everything(query, gallery, *((write(pids), film(camids)) for pids, camids in (asked, stored)))
    assert got == everything(query, gallery, asked, stored)


JUNK_ROWS = ("junk_queries", "junk_gallery")


@given(seeds, st.sampled_from(["list", "padded text", "array of f8", "objects"]), st.integers(1, 4), st.booleans())
def test_junk_in_the_gallery_changes_nothing(seed: int, writer: str, junk: int, compiled: bool) -> None:
    query, gallery, asked, stored = problem(seed)
    near = PartEmbeddings(query.vectors[:1].expand(junk, -1, -1), torch.ones(junk, 2), SLOTS)  # nearest of all
    order = np.random.default_rng(seed).permutation(G + junk)
    more = PartEmbeddings.cat([gallery, near])[order]
    persons, cameras = (
        [values[i] for i in order] for values in (stored[0] + [-1] * junk, stored[1] + list(range(junk)))
    )
    kept = [i for i in order if i < G]  # the order of equal distances must be the same
    expected = everything(query, gallery[kept], asked, tuple([values[i] for i in kept] for values in stored))
    write = WRITERS[writer]
    with patch.object(loops, "_WORTH_COMPILING", 0 if compiled else 2**62):
        got = everything(query, more, (write(asked[0]), asked[1]), (write(persons), cameras))
    assert got["whole"]["junk_gallery"] == junk
    assert without(got, *JUNK_ROWS) == expected


@given(seeds, st.integers(1, 3))
def test_junk_among_the_queries_is_not_counted_and_said(seed: int, junk: int) -> None:
    query, gallery, asked, stored = problem(seed)
    more = PartEmbeddings.cat([query, gallery[list(range(junk))]])
    got = everything(more, gallery, (asked[0] + [-1] * junk, asked[1] + [0] * junk), stored)
    assert got["whole"]["junk_queries"] == junk
    assert got["ranks"][Q:] == [0] * junk
    expected = everything(query, gallery, asked, stored)
    for name in ("whole", "streamed", "reranked", "slots", "pairs"):
        assert without(got, *JUNK_ROWS)[name] == expected[name]


@given(seeds)
def test_the_order_of_queries_and_gallery_changes_no_score(seed: int) -> None:
    query, gallery, asked, stored = problem(seed)
    # No ties: images that cannot be compared would keep the gallery's order.
    query, gallery = (PartEmbeddings(e.vectors, torch.ones(len(e), 2), SLOTS) for e in (query, gallery))
    rng = np.random.default_rng(seed)
    first, second = rng.permutation(Q), rng.permutation(G)
    orders = (asked, first), (stored, second)
    ids = (tuple(np.array(values)[order] for values in side) for side, order in orders)
    got = evaluate_embeddings(query[first], gallery[second], *ids)
    assert got.summary() == pytest.approx(evaluate_embeddings(query, gallery, asked, stored).summary())


def split(made: PartEmbeddings, ids: tuple[list[int], list[int]], side: str) -> EmbeddedSplit:
    images = tuple(ReIDImage(Path(f"{side}{i}.jpg"), pid, cam) for i, (pid, cam) in enumerate(zip(*ids, strict=True)))
    return EmbeddedSplit(images, made, {})


@given(seeds)
def test_labelled_pairs_hold_no_junk(seed: int) -> None:
    query, gallery, asked, stored = problem(seed)
    plain = labelled_pairs(split(query, asked, "q"), split(gallery, stored, "g"), matching=MatchingConfig())
    more = PartEmbeddings.cat([gallery, query])
    junk = (stored[0] + [-1] * Q, stored[1] + [0] * Q)
    got = labelled_pairs(
        split(PartEmbeddings.cat([query, query[:1]]), (asked[0] + [-1], asked[1] + [1]), "q"),
        split(more, junk, "g"),
        matching=MatchingConfig(),
    )
    for name in ("distances", "same", "query_person", "gallery_person", "weights"):
        assert torch.equal(getattr(got, name), getattr(plain, name))


@given(seeds, st.data())
def test_one_wild_id_is_refused_or_means_one_thing_in_every_function(seed: int, data: st.DataObject) -> None:
    """The same id gives a result everywhere, or an error everywhere."""
    query, gallery, asked, stored = problem(seed)
    wild = [asked[0], stored[0], asked[1], stored[1]]
    which, scalar = data.draw(st.integers(0, 3)), data.draw(SCALARS)
    wild[which] = items([*wild[which][:-1], scalar])  # type: ignore[assignment]
    ids = Identities(wild[0], wild[2]), Identities(wild[1], wild[3])
    ways: dict[str, Callable[[], Any]] = {
        "whole": lambda: evaluate_ranking(MatchingConfig().distances(query, gallery), *wild).summary(),
        "streamed": lambda: evaluate_embeddings(query, gallery, *ids).summary(),
        "pairs": lambda: distance_distribution(query, gallery, *ids).pairs,
        "slots": lambda: slot_table(slot_mapping(query), slot_mapping(gallery), *ids),
    }
    errors = {}
    for name, way in ways.items():
        try:
            way()
        except PartReIDError as error:
            errors[name] = str(error)
    assert set(errors) in (set(), set(ways)) or all("has a positive" in error for error in errors.values())
    assert len(set(errors.values())) <= 1, errors


def test_a_gallery_of_junk_alone() -> None:
    query, gallery, asked, stored = problem(1)
    with pytest.raises(DataError, match="None of the 5 queries has a positive among the 0 gallery images"):
        evaluate_embeddings(query, gallery, asked, ([-1] * G, stored[1]))
    with pytest.raises(DataError, match=r"5 queries are of person -1, which is junk"):
        evaluate_embeddings(query, gallery, ([-1] * Q, asked[1]), stored)
