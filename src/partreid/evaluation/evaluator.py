"""Scores from embeddings, block by block: memory does not grow with queries × gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from partreid.config import ConfigModel
from partreid.errors import ShapeError
from partreid.evaluation.protocols import reranked
from partreid.evaluation.reranking import Reranker, RerankingConfig
from partreid.evaluation.statistics import with_confidence
from partreid.functional.ranking import (
    ALL_CAMERAS,
    CROSS_CAMERA,
    OTHER_FILE,
    Ids,
    QueryScores,
    score_rows,
    summarize_scores,
)
from partreid.retrieval.matching import MatchingConfig
from partreid.types import EvaluationResult, PartEmbeddings, check_comparable

_RANKED_BYTES = 5  # per distance: itself, and what is looked through of one query at a time
_RERANKED_BYTES = 40  # per distance where new ones are made of it: both, their parts and masks


class Identities(NamedTuple):
    """Who is on each picture, and seen by which camera. A plain ``(pids, camids)`` does as well.

    Attributes:
        pids: [N] person ids. camids: [N] cameras, or None where unknown.
        files: [N] paths, used where cameras are unknown: the query's very file is dropped from the gallery.
    """

    pids: Ids
    camids: Ids | None = None
    files: Sequence[Path] | None = None

    @classmethod
    def of(cls, ids: Identities | tuple[Ids, Ids | None], side: str, *, count: int) -> Identities:
        """Checked ids of ``count`` pictures.

        Args:
            ids: as they came. side: "query" or "gallery", for the message. count: of the embeddings.

        Raises:
            ShapeError: they are no ``(pids, camids)``, or not as many.
        """
        if not isinstance(ids, tuple | list) or not 1 <= len(ids) <= 3 or ids[0] is None:
            raise ShapeError(f"Expected (pids, camids) of the {side}, got {ids!r:.80}. Cameras may be None.")
        identities = cls(*ids)
        if any(len(values) != count for values in identities if values is not None):
            raise ShapeError(
                f"The {side} has {count} embeddings but {len(identities.pids)} person ids"
                + ("." if identities.camids is None else f" and {len(identities.camids)} cameras.")
            )
        return identities


class EvaluationConfig(ConfigModel):
    """How scores are reported."""

    max_rank: Annotated[int, Field(ge=1)] = 50
    """Length of the CMC curve."""

    bootstrap: Annotated[int, Field(ge=0)] = 0
    """Resamplings for the 95 % intervals of rank-1 and mAP; 0 computes none, 1000 is usual."""

    seed: int = 0
    """Seed of the resampling."""

    memory_budget_mib: Annotated[int, Field(ge=1)] = 440
    """MiB to work in, beside the embeddings; the more queries fit at once, the less often the gallery is read."""

    reranking: RerankingConfig | None = None
    """Re-rank by k-reciprocal neighbours. None = by distance alone, as the paper does and published figures are."""


def evaluate_embeddings(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    query_ids: Identities | tuple[Ids, Ids | None],
    gallery_ids: Identities | tuple[Ids, Ids | None],
    *,
    matching: MatchingConfig | None = None,
    options: EvaluationConfig | None = None,
) -> EvaluationResult:
    """Rank the gallery for each query and score the rankings.

    Never holds more than one block of the [Q, G] distances, and sorts none: a rank is counted
    (:mod:`partreid.functional.counting`). A gallery so large that few queries' distances fit the memory budget takes
    longer, as its rows are gathered for each block of queries.

    Args:
        query: [Q, S, D]. gallery: [G, S, D], from the same model.
        query_ids: of the queries, gallery_ids: of the gallery, each ``(pids, camids)``.
        matching: how to compare; as the model was made for where None.
        options: length of the curve, intervals, memory, re-ranking.

    Returns:
        The scores; the rule is named in ``protocol`` and told in :data:`~partreid.evaluation.protocols.PROTOCOLS`.

    Raises:
        ShapeError: slots, widths or numbers of ids do not fit, a value is NaN, or only one side has cameras.
        DataError: no query has a positive.

    Example:
        >>> import torch
        >>> e = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
        >>> result = evaluate_embeddings(e, e, ([1, 2, 3], None), ([1, 2, 3], None))
        >>> result.rank(1), result.mean_ap
        (1.0, 1.0)
    """
    matching, options = matching or MatchingConfig(), options or EvaluationConfig()
    check_comparable(query, gallery)
    matching = matching.resolved(query, gallery)
    asked = Identities.of(query_ids, "query", count=len(query))
    stored = Identities.of(gallery_ids, "gallery", count=len(gallery))
    query_views, gallery_views, protocol = views(asked, stored)
    budget = options.memory_budget_mib * 2**20
    reranker, for_each = None, _RANKED_BYTES * len(gallery)
    if options.reranking is not None:
        budget, for_each = budget // 2, _RERANKED_BYTES * len(gallery)
        reranker = Reranker(query, gallery, matching=matching, config=options.reranking, memory_budget=budget)
    rows = matching.rows(query, gallery, memory_budget=budget)
    blocks = rows.blocks(beside=for_each)
    whole = rows.room(max((some.stop - some.start for some in blocks), default=0))
    scores = []
    for some in blocks:
        distances = rows.write(some, whole[: some.stop - some.start])
        if reranker is not None:
            distances = reranker.rerank(distances, first=some.start)
        seen_by = None if query_views is None else query_views[some]
        scores.append(score_rows(distances, asked.pids[some], stored.pids, seen_by, gallery_views))
    result = summarize_scores(
        QueryScores.cat(scores),
        num_gallery=len(gallery),
        protocol=protocol if reranker is None else reranked(protocol),
        max_rank=options.max_rank,
    )
    return with_confidence(result, samples=options.bootstrap, seed=options.seed) if options.bootstrap else result


def views(query: Identities, gallery: Identities) -> tuple[Ids | None, Ids | None, str]:
    """What must differ between a query and its match, as numbers, and the rule's name: cameras, else files."""
    if query.camids is not None or gallery.camids is not None:
        return query.camids, gallery.camids, CROSS_CAMERA
    if query.files is None or gallery.files is None:
        return None, None, ALL_CAMERAS
    number = {file: i for i, file in enumerate(dict.fromkeys((*query.files, *gallery.files)))}
    return [number[file] for file in query.files], [number[file] for file in gallery.files], OTHER_FILE
