"""CMC, mAP and mINP of a ranking, with re-identification's rule for junk (single query, no re-ranking).

For each query the gallery is sorted by distance (stable: equal distances keep the gallery's order); gallery pictures
of the same person *and* camera are junk and dropped; a query left without a positive is skipped and not counted.
CMC-k = a positive among the first k; AP = mean over the positives of the precision at them, without interpolation;
INP = positives / rank of the last positive. An infinite distance ranks last, but still has a rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partreid.errors import DataError, ShapeError
from partreid.functional.counting import nearer
from partreid.types import EvaluationResult

CROSS_CAMERA = "single-query, same person and camera dropped"
OTHER_FILE = "single-query, cameras unknown, same person and file dropped"
ALL_CAMERAS = "single-query, cameras unknown, nothing dropped"
"""Names of the rules, as they stand in results; ``evaluation.protocols`` holds their text."""

Ids = Sequence[int] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class QueryScores:
    """What each query of a block contributes to the scores.

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
        distances: [Q, G], smaller = more alike; infinity allowed.
        query_pids: [Q]. gallery_pids: [G] person ids.
        query_camids: [Q]. gallery_camids: [G] cameras, or both None: then nothing is dropped, and the result's
            protocol says so.
        max_rank: length of the CMC curve; beyond the gallery's size it stays at its last value.

    Returns:
        The scores, each in [0, 1].

    Raises:
        ShapeError: sizes do not fit, a distance is NaN, or only one side has cameras.
        DataError: no query has a positive.

    Example:
        >>> result = evaluate_ranking(np.array([[0.2, 0.1, 0.3]]), [1], [1, 2, 1])
        >>> result.cmc[:3].tolist(), round(result.mean_ap, 4), round(result.mean_inp, 4)
        ([0.0, 1.0, 1.0], 0.5833, 0.6667)
    """
    scores = rank_block(distances, query_pids, gallery_pids, query_camids, gallery_camids)
    protocol = CROSS_CAMERA if query_camids is not None else ALL_CAMERAS
    return summarize_scores(scores, num_gallery=len(gallery_pids), protocol=protocol, max_rank=max_rank)


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
    try:
        distances = torch.as_tensor(distances)
    except (TypeError, ValueError, RuntimeError):
        raise ShapeError(f"distances must be a tensor or array [Q, G] of numbers, got {distances!r:.80}.") from None
    # The sum is quickly had and NaN if any distance is; but so is inf - inf.
    if torch.isnan(distances.sum()) and torch.isnan(distances).any():
        row, column = (int(i) for i in torch.isnan(distances).nonzero()[0])
        raise ShapeError(
            f"The distance of query {row} to gallery picture {column} is NaN. Use infinity for pictures that cannot "
            "be compared; a NaN usually comes from a NaN in the embeddings."
        )
    return score_rows(distances, query_pids, gallery_pids, query_camids, gallery_camids)


def score_rows(
    distances: Tensor, query_pids: Ids, gallery_pids: Ids, query_camids: Ids | None, gallery_camids: Ids | None
) -> QueryScores:
    """:func:`rank_block` of distances that are known to hold no NaN: one pass over memory less."""
    row, column, junk = _same_person(*_check_ids(distances, (query_pids, gallery_pids, query_camids, gallery_camids)))
    found = distances[torch.from_numpy(row).to(distances.device), torch.from_numpy(column).to(distances.device)]
    # A person's pictures by query, then in the order of the ranking. They are few: NumPy, the same on every device.
    order = np.lexsort((column, found.double().cpu().numpy(), row))
    row, column, junk = row[order], column[order], junk[order]
    junk_before = junk.cumsum()
    junk_before -= (junk_before - junk)[np.searchsorted(row, row)]  # of the same query
    row, column, junk_before = row[~junk], column[~junk], junk_before[~junk]
    rank = nearer(distances, row, column) + 1 - junk_before
    return _score_positives(row, rank, len(distances))


def summarize_scores(scores: QueryScores, *, num_gallery: int, protocol: str, max_rank: int = 50) -> EvaluationResult:
    """Means over the counted queries.

    Args:
        scores: of all queries. num_gallery: size of the gallery. protocol: name of the rule. max_rank: length of
            the CMC curve.

    Raises:
        ShapeError: ``max_rank`` is below 1.
        DataError: no query is counted.

    Example:
        >>> scores = QueryScores(np.array([1.0, np.nan]), np.array([1.0, np.nan]), np.array([1, 0]))
        >>> result = summarize_scores(scores, num_gallery=5, protocol="example")
        >>> result.mean_ap, result.num_queries, result.num_skipped
        (1.0, 1, 1)
    """
    if max_rank < 1:
        raise ShapeError(f"max_rank is at least 1, got {max_rank}.")
    counted = scores.first_match > 0
    total = int(counted.sum())
    if not total:
        raise DataError(
            f"None of the {len(counted)} queries has a positive among the {num_gallery} gallery pictures: a picture "
            "of the same person, taken by another camera where cameras are known. Check that query and gallery use "
            "the same person ids, and that the cameras are right; leave the cameras out if they are all the same."
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
        num_skipped=len(counted) - total,
        num_gallery=num_gallery,
        protocol=protocol,
        first_match=scores.first_match,
    )


def _same_person(
    q_pids: np.ndarray, g_pids: np.ndarray, q_cams: np.ndarray | None, g_cams: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query, gallery picture, and whether it is junk, of each pair that shows one person, by query."""
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
    """AP, INP and first match from the positives' query ``row`` and ``rank``, both ascending."""
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


def _check_ids(
    distances: Tensor, ids: tuple[Ids, Ids, Ids | None, Ids | None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Ids as arrays."""
    if distances.ndim != 2:
        raise ShapeError(f"distances must be [Q, G], got shape {tuple(distances.shape)}.")
    if (ids[2] is None) != (ids[3] is None):
        raise ShapeError(
            "Only one of query_camids and gallery_camids is given. The rule for junk needs both; give both or neither."
        )
    names = ("query_pids", "gallery_pids", "query_camids", "gallery_camids")
    arrays: list[np.ndarray | None] = []
    for name, values, size in zip(names, ids, (*distances.shape, *distances.shape), strict=True):
        try:
            array = None if values is None and name.endswith("camids") else torch.as_tensor(values).cpu().numpy()
        except (TypeError, ValueError, RuntimeError):
            raise ShapeError(f"{name} must be whole numbers, got {values!r:.80}. Number the names first.") from None
        if array is not None and array.shape != (size,):
            raise ShapeError(f"{name} must hold {size} ids for distances {tuple(distances.shape)}, "
                             f"got shape {array.shape}.")  # fmt: skip
        arrays.append(array)
    q_pids, g_pids, q_cams, g_cams = arrays
    assert q_pids is not None
    assert g_pids is not None
    return q_pids, g_pids, q_cams, g_cams
