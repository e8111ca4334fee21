"""Turns a store's candidates into an answer, ranked by exact distance and then by id: the same for every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from partreid.functional.distance import pairwise_slot_distances
from partreid.lazy import torch
from partreid.retrieval.search.pairs import CACHED, Pairs, exact_distances
from partreid.retrieval.stores.base import GalleryStore, SearchRule
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords
from partreid.types.search import SearchResult

if TYPE_CHECKING:
    from torch import Tensor

_TRIES = 4


def answer(query: PartEmbeddings, store: GalleryStore, rule: SearchRule) -> SearchResult:
    """The k nearest items of each query. If there are fewer than k, items that cannot be compared follow.

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
    query_of, record_of = (np.asarray(column, np.int64) for column in (found.query, found.record))
    distances = found.distances
    if distances is None:
        distances = exact_distances(
            asked,
            lambda some: rule.matching.prepare(records.embeddings[some]),
            Pairs(query_of, record_of, np.empty((len(record_of), 0))),
            rule.matching,
            memory_budget=rule.memory_budget,
        )
    order = np.array(sorted(range(len(records)), key=lambda r: found.records.items[r].id), np.int64)
    pairs = Pairs(query_of, np.argsort(order)[record_of], distances[:, None])  # positions in the order of ids
    pairs, rank = pairs[np.isfinite(distances)].ranked()
    pairs, rank = pairs[rank < count], rank[rank < count]
    chosen = np.full((len(query), count), -1)
    table = np.full((len(query), count), np.inf, distances.dtype)
    chosen[pairs.query, rank], table[pairs.query, rank] = order[pairs.position], pairs.numbers[:, 0]
    if (chosen < 0).any():
        records = _fill_up(query, records, chosen, store, rule)
        count = int((chosen >= 0).sum(axis=1).min())
        chosen, table = chosen[:, :count], table[:, :count]
    return _result(asked, records, chosen, torch.from_numpy(table), rule), count == wanted


def nothing(query: PartEmbeddings, rule: SearchRule) -> SearchResult:
    """The answer of an empty gallery: [Q, 0]."""
    none = torch.empty(len(query), 0)
    return _result(rule.matching.prepare(query), GalleryRecords((), query[:0]), none.long().numpy(), none, rule)


def _fill_up(
    query: PartEmbeddings, records: GalleryRecords, chosen: np.ndarray, store: GalleryStore, rule: SearchRule
) -> GalleryRecords:
    """Replace each -1 in ``chosen`` by an item that cannot be compared, in the order of ids.

    Only a query with fewer than k comparable items has a -1, and all of these are chosen already. Returns the records
    that ``chosen`` then points to.
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


def _result(
    asked: PartEmbeddings, records: GalleryRecords, chosen: np.ndarray, distances: Tensor, rule: SearchRule
) -> SearchResult:
    slots = pairwise_slot_distances(
        asked,
        rule.matching.prepare(records.embeddings),
        torch.from_numpy(chosen),
        normalize=rule.matching.normalize,
        visibility=rule.matching.visibility,
        memory_budget=min(rule.memory_budget, CACHED),
    )
    items = tuple(tuple(records.items[r] for r in row) for row in chosen)
    model = records.embeddings.model or asked.model
    return SearchResult(items, distances, torch.isfinite(distances), slots, asked.slots, rule.matching, model)
