"""From the candidates that a store finds to an answer: ranked by exact distance and id, the same for every store."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from partreid.functional.distance import paired_distances, pairwise_slot_distances
from partreid.retrieval.stores.base import GalleryStore, SearchRule
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords
from partreid.types.search import SearchResult

_TRIES = 4


def answer(query: PartEmbeddings, store: GalleryStore, rule: SearchRule) -> SearchResult:
    """The k nearest items of each query; those that cannot be compared fill up the rest.

    Args:
        query: [Q, S, D] on the CPU, like the store's items. store: one that holds items. rule: how to search.
    """
    for _ in range(_TRIES):
        # A store that knows no states may have changed between two reads: then there are fewer items than it counted.
        result, whole = _one_answer(query, store, rule)
        if whole:
            break
    return result


def _one_answer(query: PartEmbeddings, store: GalleryStore, rule: SearchRule) -> tuple[SearchResult, bool]:
    """The answer, and whether it holds as many items as the store counted."""
    found = store.nearest(query, rule)
    asked, records = rule.matching.prepare(query), found.records
    count = wanted = min(rule.k, store.count(rule.where))
    pairs = np.stack([found.query, found.record]).astype(np.int64)
    distances = _distances(asked, records, pairs, rule)
    place = np.empty(len(records), np.int64)  # of each record in the order of ids
    place[sorted(range(len(records)), key=lambda r: records.items[r].id)] = np.arange(len(records))
    order = np.lexsort((place[pairs[1]], distances, pairs[0]))
    order = order[np.isfinite(distances[order])]
    rank = np.arange(len(order)) - np.searchsorted(pairs[0, order], pairs[0, order])
    order, rank = order[rank < count], rank[rank < count]
    chosen = np.full((len(query), count), -1)
    table = np.full((len(query), count), np.inf, distances.dtype)
    chosen[pairs[0, order], rank], table[pairs[0, order], rank] = pairs[1, order], distances[order]
    if (chosen < 0).any():
        records = _fill_up(query, records, chosen, store, rule)
        count = int((chosen >= 0).sum(axis=1).min())
        chosen, table = chosen[:, :count], table[:, :count]
    return _result(asked, records, chosen, torch.from_numpy(table), rule), count == wanted


def nothing(query: PartEmbeddings, rule: SearchRule) -> SearchResult:
    """The answer of a gallery that holds nothing: [Q, 0]."""
    slots = rule.matching.prepare(query).slots
    distances = torch.empty(len(query), 0)
    parts = torch.empty(len(query), 0, len(slots))
    return SearchResult(((),) * len(query), distances, distances > 0, parts, slots, rule.matching, query.model)


def _fill_up(
    query: PartEmbeddings, records: GalleryRecords, chosen: np.ndarray, store: GalleryStore, rule: SearchRule
) -> GalleryRecords:
    """Put items that are not comparable, by id, where ``chosen`` says -1; the records that it then points to.

    All items comparable with such a query are chosen already, and fewer than k.
    """
    others = store.fetch(rule.where, limit=2 * chosen.shape[1])
    for q in np.flatnonzero((chosen < 0).any(axis=1)):
        row = chosen[q]
        far = torch.isinf(rule.matching.distances(query[int(q)], others.embeddings)[0]).numpy()
        there = {records.items[r].id for r in row[row >= 0]}
        free = np.array([len(records) + i for i in np.flatnonzero(far) if others.items[i].id not in there], np.int64)
        empty = np.flatnonzero(row < 0)[: len(free)]
        row[empty] = free[: len(empty)]
    return GalleryRecords.cat([records, others])


def _distances(asked: PartEmbeddings, records: GalleryRecords, pairs: np.ndarray, rule: SearchRule) -> np.ndarray:
    """[P] exact distances of pairs [2, P] of a query and a record, some at a time."""
    step = max(1, rule.memory_budget // (8 * 4 * asked.width * len(asked.slots)))
    found = [np.empty(0, np.float32)]
    for start in range(0, pairs.shape[1], step):
        query, record = torch.from_numpy(pairs[:, start : start + step])
        items = rule.matching.prepare(records.embeddings[record])
        some = paired_distances(
            asked[query], items, normalize=rule.matching.normalize, visibility=rule.matching.visibility
        )
        found.append(some.numpy())
    return np.concatenate(found)


def _result(
    asked: PartEmbeddings, records: GalleryRecords, chosen: np.ndarray, distances: Tensor, rule: SearchRule
) -> SearchResult:
    slots = pairwise_slot_distances(
        asked,
        rule.matching.prepare(records.embeddings),
        torch.from_numpy(chosen),
        normalize=rule.matching.normalize,
        visibility=rule.matching.visibility,
        memory_budget=rule.memory_budget,
    )
    items = tuple(tuple(records.items[r] for r in row) for row in chosen)
    model = records.embeddings.model or asked.model
    return SearchResult(items, distances, torch.isfinite(distances), slots, asked.slots, rule.matching, model)
