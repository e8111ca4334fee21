"""Scores from embeddings, block by block, so that memory does not grow with queries × gallery."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from partreid.base_config import ConfigModel
from partreid.errors import ShapeError
from partreid.evaluation.protocols import reranked
from partreid.evaluation.reranking import Reranker, RerankingConfig
from partreid.evaluation.statistics import with_confidence
from partreid.functional._blocks import DistanceRows, even_slices
from partreid.functional.ranking import (
    ALL_CAMERAS,
    CROSS_CAMERA,
    OTHER_FILE,
    QueryScores,
    score_rows,
    summarize_scores,
)
from partreid.objects import Guided, guided
from partreid.retrieval.matching import MatchingConfig, rows_of
from partreid.types import EvaluationResult, PartEmbeddings, check_comparable
from partreid.types._id_values import Ids, is_unknown
from partreid.types.ids import JUNK, match_cameras, match_persons

_RANKED_BYTES = 5  # per distance: itself, and what is looked through of one query at a time
_FEWEST = 128  # queries whose distances under all rules should fit, as each block of queries reads the whole gallery
_RERANKED_BYTES = 40  # per distance where new ones are made of it: both, their parts and masks


class Identities(NamedTuple):
    """The person and the camera of each image. A plain ``(pids, camids)`` works as well.

    Attributes:
        pids: [N] person ids, -1 for junk. camids: [N] cameras, or None where unknown; both of any type of whole numbers
            or text (:mod:`partreid.types.ids`).
        files: [N] paths, used if cameras are unknown: then the query's own file is ignored in the gallery.
    """

    pids: Ids
    camids: Ids | None = None
    files: Sequence[Path] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class MatchedIdentities(Guided):
    """The persons and views of the images of both sides, as numbers; equal numbers are one person, or one view.

    Attributes:
        pids: [Q] and [G] int64; -1 for junk, which is ignored.
        views: [Q] and [G] int64; a query and its match must have different views: cameras, or files if cameras are
            unknown. None = nothing is known, so nothing is ignored.
        protocol: name of the rule that results.
    """

    pids: tuple[np.ndarray, np.ndarray]
    views: tuple[np.ndarray, np.ndarray] | None
    protocol: str

    @classmethod
    def of(
        cls,
        query: Identities | tuple[Ids, Ids | None],
        gallery: Identities | tuple[Ids, Ids | None],
        *,
        sizes: tuple[int, int],
    ) -> MatchedIdentities:
        """Convert given ids, for the numbers of images in ``sizes``.

        Raises:
            ShapeError: the number of ids differs, or ids cannot be compared (:mod:`partreid.types.ids`).
        """
        asked, stored = (
            _checked(ids, side, count)
            for ids, side, count in zip((query, gallery), ("query", "gallery"), sizes, strict=True)
        )
        pids = match_persons(asked.pids, stored.pids, sizes=sizes)
        cameras = match_cameras(asked.camids, stored.camids, sizes=sizes)
        if cameras is not None:
            return cls(pids, cameras, CROSS_CAMERA)
        if (asked.files is None) != (stored.files is None):
            raise ShapeError("Only one of query and gallery has files. Give those of both, or of neither (None).")
        if asked.files is None or stored.files is None:
            return cls(pids, None, ALL_CAMERAS)
        files = _paths(asked.files, "query"), _paths(stored.files, "gallery")
        number = {file: i for i, file in enumerate(dict.fromkeys((*files[0], *files[1])))}
        first, second = (np.array([number[file] for file in side], np.int64) for side in files)
        return cls(pids, (first, second), OTHER_FILE)

    @property
    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """[Q] and [G] bool: False for junk."""
        return self.pids[0] != JUNK, self.pids[1] != JUNK

    def without_junk(
        self, query: PartEmbeddings, gallery: PartEmbeddings
    ) -> tuple[PartEmbeddings, PartEmbeddings, MatchedIdentities]:
        """Both sides and their ids without junk. Nothing is copied if there is no junk."""
        (some, others), views = self.counted, self.views
        query = query if some.all() else query[some]
        gallery = gallery if others.all() else gallery[others]
        pids = self.pids[0][some], self.pids[1][others]
        kept = None if views is None else (views[0][some], views[1][others])
        return query, gallery, MatchedIdentities(pids, kept, self.protocol)


def _checked(ids: Identities | tuple[Ids, Ids | None], side: str, count: int) -> Identities:
    """The ids of a side as they came, if they are those of ``count`` images."""
    if not isinstance(ids, tuple | list) or not 1 <= len(ids) <= 3 or ids[0] is None:
        raise ShapeError(f"Expected (pids, camids) of the {side}, got {ids!r:.80}. Cameras may be None.")
    identities = Identities(*ids)
    names = {"person ids": identities.pids, "cameras": identities.camids, "files": identities.files}
    try:
        counts = {name: len(values) for name, values in names.items() if values is not None}
    except TypeError:
        raise ShapeError(f"Expected (pids, camids) of the {side}, each a list or array, got {ids!r:.80}.") from None
    if any(found != count for found in counts.values()):
        told = " and ".join(f"{found} {name}" for name, found in counts.items())
        raise ShapeError(f"The {side} has {count} embeddings but {told}.")
    return identities


def _paths(files: Sequence[Path], side: str) -> list[str]:
    """Paths as they can be compared, however they are written."""
    try:
        found = [None if is_unknown(file) else os.path.abspath(os.fsdecode(file)) for file in files]  # noqa: PTH100
    except TypeError as error:
        raise ShapeError(f"Expected a path for each file of the {side}: {error}.") from None
    if None in found:
        raise ShapeError(f"File {found.index(None)} of the {side} is unknown. Give the files of all images, or None.")
    return [file for file in found if file is not None]


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


@guided
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

    Memory never holds more than one block of the [Q, G] distances. Nothing is sorted, because ranks are counted
    (:mod:`partreid.functional._counting`). If the gallery is so large that the distances of only a few queries fit the
    memory budget, evaluation takes longer, because its rows are gathered for each block of queries. Junk, the images of
    person -1, is left out first, which copies the gallery.

    Args:
        query: [Q, S, D]. gallery: [G, S, D], from the same model.
        query_ids: of the queries, gallery_ids: of the gallery, each ``(pids, camids)`` or :class:`Identities`.
        matching: how to compare; None = as the model was made for.
        options: length of the curve, intervals, memory, re-ranking.

    Returns:
        The scores. ``protocol`` names the rule, which is described in :data:`~partreid.evaluation.protocols.PROTOCOLS`.

    Raises:
        ShapeError: slots, widths or numbers of ids do not fit, a value is NaN, only one side has cameras, or an id is
            unknown or cannot be compared.
        DataError: no query has a positive.

    Example:
        >>> import torch
        >>> e = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
        >>> result = evaluate_embeddings(e, e, ([1, 2, 3], None), ([1, 2, 3], None))
        >>> result.rank(1), result.mean_ap
        (1.0, 1.0)
    """
    matching, options = MatchingConfig.given(matching), EvaluationConfig.given(options)
    check_comparable(query, gallery)
    rules = [matching.resolved(query, gallery)]
    return evaluate_rules(query, gallery, query_ids, gallery_ids, rules=rules, options=options)[0]


def evaluate_rules(
    query: PartEmbeddings,
    gallery: PartEmbeddings,
    query_ids: Identities | tuple[Ids, Ids | None],
    gallery_ids: Identities | tuple[Ids, Ids | None],
    *,
    rules: Sequence[MatchingConfig],
    options: EvaluationConfig,
) -> list[EvaluationResult]:
    """:func:`evaluate_embeddings` under several rules, for which the vectors of each slot are multiplied only once.

    The rules are resolved and normalise alike; with re-ranking there is only one. The vectors are multiplied again for
    each group of rules where the gallery is so large that the memory budget holds too few queries under all.
    """
    matched = MatchedIdentities.of(query_ids, gallery_ids, sizes=(len(query), len(gallery)))
    asked, stored = matched.counted
    query, gallery, ids = matched.without_junk(query, gallery)
    budget, for_each, reranker = options.memory_budget_mib * 2**20, _RANKED_BYTES * len(gallery), None
    if options.reranking is not None:
        budget, for_each = budget // 2, _RERANKED_BYTES * len(gallery)
        (rule,) = rules
        reranker = Reranker(query, gallery, matching=rule, config=options.reranking, memory_budget=budget)
    scores: list[QueryScores] = []
    for some in even_slices(len(rules), budget // max(1, _FEWEST * for_each)):
        rows, count = rows_of(rules[some], query, gallery, memory_budget=budget), some.stop - some.start
        blocks = list(_score_blocks(rows, rows.blocks(beside=count * for_each), ids, count, reranker))
        scores += [QueryScores.cat(block[rule] for block in blocks) for rule in range(count)]
    results = [
        summarize_scores(
            own.spread(asked),
            num_gallery=len(gallery),
            protocol=ids.protocol if reranker is None else reranked(ids.protocol),
            max_rank=options.max_rank,
            num_junk=(int((~asked).sum()), int((~stored).sum())),
        )
        for own in scores
    ]
    samples, seed = options.bootstrap, options.seed
    return [with_confidence(result, samples=samples, seed=seed) for result in results] if samples else results


def _score_blocks(
    rows: DistanceRows, blocks: Sequence[slice], ids: MatchedIdentities, rules: int, reranker: Reranker | None
) -> Iterator[list[QueryScores]]:
    """The scores of each block of queries under each of so many rules."""
    whole = rows.room(rules * max((some.stop - some.start for some in blocks), default=0))
    for some in blocks:
        count = some.stop - some.start
        distances = whole[: rules * count]
        rows.write(some, distances.view(rules, count, len(ids.pids[1])))
        if reranker is not None:
            distances = reranker.rerank(distances, first=some.start)
        # All at once, as if each rule had queries of its own.
        views = (None, None) if ids.views is None else (np.tile(ids.views[0][some], rules), ids.views[1])
        yield score_rows(distances, np.tile(ids.pids[0][some], rules), ids.pids[1], *views).split(rules)
