"""CMC, mAP and mINP of a ranking, with re-identification's rule for junk (single query, no re-ranking).

For each query the gallery is sorted by distance. The sort is stable: equal distances keep the gallery's order. Gallery
images of the same person *and* camera are junk and dropped. So is every image of person -1, on either side. A query
without a positive is skipped and not counted.
CMC-k = a positive among the first k; AP = mean over the positives of the precision at them, without interpolation;
INP = positives / rank of the last positive. An infinite distance ranks last, but still has a rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from partreid.errors import DataError, ShapeError
from partreid.functional._counting import nearer
from partreid.objects import Guided, guided
from partreid.types import EvaluationResult
from partreid.types._id_values import Ids
from partreid.types.ids import JUNK, match_cameras, match_persons
from partreid.types.numbers import as_tensor, require_whole

CROSS_CAMERA = "single-query, same person and camera dropped"
OTHER_FILE = "single-query, cameras unknown, same person and file dropped"
ALL_CAMERAS = "single-query, cameras unknown, nothing dropped"
"""Names of the rules, as they stand in results; ``evaluation.protocols`` holds their text."""

MAX_RANK = 1_000_000
"""Longest CMC curve."""


@dataclass(frozen=True, eq=False, repr=False)
class QueryScores(Guided):
    """The contribution of each query of a block to the scores.

    Attributes:
        average_precision, inverse_negative_penalty: [Q] float64, NaN for a query that is not counted.
        first_match: [Q] int64, rank of the first positive (1-based), 0 for a query that is not counted.
    """

    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray
    first_match: np.ndarray

    @classmethod
    def cat(cls, blocks: Iterable[QueryScores]) -> QueryScores:
        """Several blocks as one, in their order."""
        blocks = list(blocks)
        return cls(
            np.concatenate([np.empty(0), *(b.average_precision for b in blocks)]),
            np.concatenate([np.empty(0), *(b.inverse_negative_penalty for b in blocks)]),
            np.concatenate([np.empty(0, np.int64), *(b.first_match for b in blocks)]),
        )

    def split(self, count: int) -> list[QueryScores]:
        """The scores of so many groups of queries, which are equally large and come one after the other."""
        groups = (np.split(a, count) for a in (self.average_precision, self.inverse_negative_penalty, self.first_match))
        return [QueryScores(*group) for group in zip(*groups, strict=True)]

    def spread(self, asked: np.ndarray) -> QueryScores:
        """Scores of N queries, in which only the queries in the mask [N] are counted."""
        penalties = np.full((2, len(asked)), np.nan)
        first_match = np.zeros(len(asked), np.int64)
        penalties[0, asked], penalties[1, asked] = self.average_precision, self.inverse_negative_penalty
        first_match[asked] = self.first_match
        return QueryScores(penalties[0], penalties[1], first_match)


@guided
def evaluate_ranking(
    distances: Tensor | np.ndarray,
    query_pids: Ids,
    gallery_pids: Ids,
    query_camids: Ids | None = None,
    gallery_camids: Ids | None = None,
    *,
    max_rank: int = 50,
) -> EvaluationResult:
    """Score a whole distance matrix (the module's docstring states the rule).

    Args:
        distances: [Q, G], smaller = more alike (a similarity must be negated); infinity allowed.
        query_pids: [Q]. gallery_pids: [G] person ids, whole numbers or text of any type; -1 is junk.
        query_camids: [Q]. gallery_camids: [G] cameras. If both are None, nothing is dropped, and the result's protocol
            says so.
        max_rank: length of the CMC curve; beyond the gallery's size it stays at its last value.

    Returns:
        The scores, each in [0, 1].

    Raises:
        ShapeError: sizes do not fit; a distance is NaN or -infinity; half precision makes ties between right and wrong
            images; an id is unknown, or only some images have cameras; numbers and text are mixed
            (:mod:`partreid.types.ids`).
        DataError: no query has a positive.

    Example:
        >>> result = evaluate_ranking(np.array([[0.2, 0.1, 0.3]]), [1], [1, 2, 1])
        >>> result.cmc[:3].tolist(), round(result.mean_ap, 4), round(result.mean_inp, 4)
        ([0.0, 1.0, 1.0], 0.5833, 0.6667)
    """
    require_whole("max_rank", max_rank, least=1, most=MAX_RANK)
    block = _Block.of(distances, query_pids, gallery_pids, query_camids, gallery_camids)
    return summarize_scores(
        score_rows(*block),
        num_gallery=len(block.gallery_pids),
        protocol=ALL_CAMERAS if block.query_views is None else CROSS_CAMERA,
        max_rank=max_rank,
        num_junk=(int((block.query_pids == JUNK).sum()), len(gallery_pids) - len(block.gallery_pids)),
    )


@torch.no_grad()
def rank_block(
    distances: Tensor | np.ndarray,
    query_pids: Ids,
    gallery_pids: Ids,
    query_camids: Ids | None = None,
    gallery_camids: Ids | None = None,
) -> QueryScores:
    """Score some of the queries against the whole gallery: the streaming half of :func:`evaluate_ranking`.

    Args:
        distances: [q, G] rows of the distance matrix. The ids as in :func:`evaluate_ranking`.

    Returns:
        One row per query; join blocks with :meth:`QueryScores.cat` and finish with :func:`summarize_scores`.

    Raises:
        ShapeError: as :func:`evaluate_ranking`.

    Example:
        >>> blocks = [rank_block(np.array([[0.2, 0.1]]), [pid], [1, 2]) for pid in (1, 2)]
        >>> QueryScores.cat(blocks).first_match.tolist()
        [2, 1]
    """
    return score_rows(*_Block.of(distances, query_pids, gallery_pids, query_camids, gallery_camids))


class _Block(NamedTuple):
    """The checked input of :func:`score_rows`: some queries, and the gallery images that count."""

    distances: Tensor
    query_pids: np.ndarray
    gallery_pids: np.ndarray
    query_views: np.ndarray | None
    gallery_views: np.ndarray | None

    @classmethod
    def of(
        cls,
        distances: Tensor | np.ndarray,
        query_pids: Ids,
        gallery_pids: Ids,
        query_camids: Ids | None,
        gallery_camids: Ids | None,
    ) -> _Block:
        """The same without the gallery's junk. A query that is junk finds no positive in the rest."""
        matrix = _distances(distances)
        sizes = (matrix.shape[0], matrix.shape[1])
        asked, stored = match_persons(query_pids, gallery_pids, sizes=sizes)
        query_views, gallery_views = match_cameras(query_camids, gallery_camids, sizes=sizes) or (None, None)
        counted = stored != JUNK
        if not counted.all():
            matrix, stored = matrix[:, torch.from_numpy(counted).to(matrix.device)], stored[counted]
            gallery_views = None if gallery_views is None else gallery_views[counted]
        block = cls(matrix, asked, stored, query_views, gallery_views)
        if matrix.dtype in _HALF:
            _refuse_ties(block)
        return block


def score_rows(
    distances: Tensor,
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_views: np.ndarray | None,
    gallery_views: np.ndarray | None,
) -> QueryScores:
    """:func:`rank_block` for distances without NaN, ids as numbers, and a gallery without junk."""
    row, column, junk = _same_person(query_pids, gallery_pids, query_views, gallery_views)
    found = distances[torch.from_numpy(row).to(distances.device), torch.from_numpy(column).to(distances.device)]
    if found.dtype in _HALF:
        found = found.float()  # NumPy lacks bfloat16
    # Positives by query, then in the order of the ranking. They are few, so NumPy handles them for every device.
    order = np.lexsort((column, found.cpu().numpy(), row))
    row, column, junk = row[order], column[order], junk[order]
    junk_before = junk.cumsum()
    junk_before -= (junk_before - junk)[np.searchsorted(row, row)]  # of the same query
    row, column, junk_before = row[~junk], column[~junk], junk_before[~junk]
    rank = nearer(distances, row, column) + 1 - junk_before
    return _score_positives(row, rank, len(distances))


def summarize_scores(
    scores: QueryScores,
    *,
    num_gallery: int,
    protocol: str,
    max_rank: int = 50,
    num_junk: tuple[int, int] = (0, 0),
) -> EvaluationResult:
    """Means over the counted queries.

    Args:
        scores: of all queries. num_gallery: size of the gallery without junk. protocol: name of the rule.
        max_rank: length of the CMC curve. num_junk: queries and gallery images of person -1.

    Raises:
        ShapeError: ``max_rank`` is no whole number of at least 1.
        DataError: no query is counted.
    """
    require_whole("max_rank", max_rank, least=1, most=MAX_RANK)
    counted = scores.first_match > 0
    total = int(counted.sum())
    if not total:
        raise DataError(
            f"None of the {len(counted)} queries has a positive among the {num_gallery} gallery images: an image "
            "of the same person, taken by another camera where cameras are known. Check that query and gallery use "
            "the same person ids, and that the cameras are right; leave the cameras out if they are all the same."
            + (f" {num_junk[0]} queries are of person {JUNK}, which is junk and never counted." if num_junk[0] else "")
        )
    first = np.minimum(scores.first_match[counted], max_rank + 1)
    cmc = np.bincount(first, minlength=max_rank + 2)[1 : max_rank + 1].cumsum() / total
    return EvaluationResult(
        cmc=cmc,
        mean_ap=float(scores.average_precision[counted].mean()),
        mean_inp=float(scores.inverse_negative_penalty[counted].mean()),
        average_precision=scores.average_precision,
        inverse_negative_penalty=scores.inverse_negative_penalty,
        num_queries=total,
        num_skipped=len(counted) - total - num_junk[0],
        num_gallery=num_gallery,
        protocol=protocol,
        first_match=scores.first_match,
        num_junk=num_junk,
    )


def _same_person(
    q_pids: np.ndarray, g_pids: np.ndarray, q_cams: np.ndarray | None, g_cams: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pair that shows one person, in the order of queries: query, gallery image, and whether it is junk."""
    order = np.argsort(g_pids, kind="stable")
    ordered = g_pids[order]
    first = np.searchsorted(ordered, q_pids)
    count = np.searchsorted(ordered, q_pids, side="right") - first
    row = np.repeat(np.arange(len(q_pids)), count)
    start = count.cumsum() - count
    column = order[np.arange(len(row)) - np.repeat(start - first, count)]
    junk = np.zeros(len(row), bool) if q_cams is None or g_cams is None else q_cams[row] == g_cams[column]
    return row, column, junk


def _score_positives(row: np.ndarray, rank: np.ndarray, num_queries: int) -> QueryScores:
    """AP, INP and first match, from each positive's query (``row``) and ``rank``, both ascending."""
    positives = np.bincount(row, minlength=num_queries)
    start = positives.cumsum() - positives  # where each query's positives begin in ``rank``
    hits = np.arange(1, len(row) + 1) - start[row]  # the n-th positive of its query
    counted = positives > 0
    first, last = np.zeros(num_queries, np.int64), np.ones(num_queries, np.int64)
    first[counted] = rank[start[counted]]
    last[counted] = rank[(start + positives - 1)[counted]]
    with np.errstate(invalid="ignore"):  # 0 / 0 = NaN marks a query that is not counted
        precision = np.bincount(row, weights=hits / rank, minlength=num_queries) / positives
    return QueryScores(precision, np.where(counted, positives / last, np.nan), first)


_HALF = (torch.float16, torch.bfloat16)


def _distances(distances: object) -> Tensor:
    """The distances as a tensor [Q, G].

    Raises:
        ShapeError: they are no such numbers, or one of them is NaN or -infinity.
    """
    matrix = as_tensor("distances", distances).detach()
    if matrix.ndim != 2:
        raise ShapeError(f"distances must be [Q, G], got shape {tuple(matrix.shape)}.")
    if matrix.layout != torch.strided or matrix.is_meta:
        raise ShapeError(f"distances must be a plain tensor (to_dense()), got {matrix.layout} on {matrix.device}.")
    if matrix.is_complex() or matrix.dtype == torch.bool:
        raise ShapeError(f"distances must be numbers that can be ordered, got {matrix.dtype}.")
    # The sum is a quick check: it is NaN or -infinity if any distance is. But inf - inf is NaN too.
    total = matrix.sum() if matrix.is_floating_point() else matrix.new_zeros(())
    if torch.isnan(total) or total == -torch.inf:
        wrong = torch.isnan(matrix) | (matrix == -torch.inf)
        if wrong.any():
            row, column = (int(i) for i in wrong.nonzero()[0])
            raise ShapeError(
                f"The distance of query {row} to gallery image {column} is "
                f"{'NaN' if torch.isnan(matrix[row, column]) else '-infinity'}. Use infinity for images that cannot "
                "be compared; a NaN usually comes from a NaN in the embeddings."
            )
    return matrix


def _refuse_ties(block: _Block) -> None:
    """Refuse ties in half precision. It rounds different distances to equal ones, and the gallery's order would then
    decide."""
    row, column, junk = _same_person(*block[1:])
    for query in np.unique(row[~junk]):
        own = column[row == query]
        right = column[(row == query) & ~junk]
        distances = block.distances[int(query)].float().cpu().numpy()
        tied = np.isin(distances, distances[right]) & np.isfinite(distances)
        tied[own] = False
        if tied.any():
            raise ShapeError(
                f"Query {query} is as far from an image of another person as from one of its own "
                f"({distances[tied.argmax()]:g}), because the distances are {block.distances.dtype}. Compute them in "
                "float32; converting them afterwards does not help."
            )
