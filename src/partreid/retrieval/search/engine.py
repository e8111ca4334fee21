"""Exact nearest items through codes: bounds choose the items that may be among the k nearest, exact distances decide.

docs/search.md proves that nothing is lost. The exact distances are those of ``functional.distance``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from partreid.functional.distance import paired_distances
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.search.bound import SLACK
from partreid.retrieval.search.kernels import ERROR_OF_NORMALISING, smallest
from partreid.retrieval.search.pairs import Pairs
from partreid.retrieval.search.scan import CodedFragment, CodedQueries, candidates
from partreid.types import PartEmbeddings

_QUERIES = 256  # at once: their sums over a task's items stay in the processor's cache
_TASK_PAIRS, _TASK_ITEMS = 2**17, 2**15
_SEED, _GROWTH = 128, 8  # items that give the first limits; how much further each limit carries
_CACHED = 2**24  # bytes of vectors gathered and compared at once, intermediate results included
_PAIR_BYTES = 64  # of a candidate, sorted copies included
_WORTHWHILE = 0.05  # fraction of pairs above which the plain way is quicker


@dataclass(frozen=True, eq=False)
class Items:
    """What is searched.

    Attributes:
        fragments: all items in their order. slots: the codes' slot of each compared slot.
        matching: how to compare. fetch: embeddings of the items at some positions, prepared by ``matching``.
    """

    fragments: Sequence[CodedFragment]
    slots: Sequence[int]
    matching: MatchingConfig
    fetch: Callable[[torch.Tensor], PartEmbeddings]


def nearest(
    query: PartEmbeddings, weights: np.ndarray, items: Items, k: int, *, memory_budget: int
) -> tuple[Pairs, int] | None:
    """The k nearest items of each query that share a slot with it, ties of the k-th included; fewer where fewer do.

    Args:
        query: [Q, S, D] prepared embeddings. weights: [Q, S] float32 of their slots.
        items: to search. k: how many. memory_budget: bytes to work in.

    Returns:
        Pairs with their exact distance, ranked, and how many exact distances it took; None where the bounds leave so
        many items that the plain way is quicker.
    """
    found, scored = [], 0
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start in range(0, len(query), _QUERIES):
            part = slice(start, start + _QUERIES)
            survivors = _survivors(query[part], weights[part], items, k, pool, memory_budget)
            if survivors is None:
                return None
            pairs, count = _decide(query[part], survivors, items, k, memory_budget)
            found.append(Pairs(pairs.query + start, pairs.position, pairs.numbers))
            scored += count
    return Pairs.cat(found), scored


def _survivors(
    query: PartEmbeddings, weights: np.ndarray, items: Items, k: int, pool: ThreadPoolExecutor, memory_budget: int
) -> Pairs | None:
    """The pairs whose lower bound lies within the k-th smallest upper bound of their query."""
    coded = CodedQueries.build(query.vectors, weights, normalize=bool(items.matching.normalize))
    known, seen = np.full((len(query), k), np.inf, np.float32), 0
    pairs = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 2), np.float32))
    for wave in _waves(items.fragments, len(query), max(_SEED, 8 * k), memory_budget):
        limits = _limits(known, items.matching)

        def scan(task: tuple[CodedFragment, int, range], limits: np.ndarray = limits) -> Pairs:
            fragment, offset, some = task
            new, bounds = candidates(coded, fragment, some, slots=items.slots, limits=limits)
            return Pairs(new[:, 0].astype(np.int64), new[:, 1] + np.int64(offset + some.start), bounds)

        new = Pairs.cat(list(pool.map(scan, wave)))
        smallest(new.query, new.numbers[:, 1], known)
        pairs = Pairs.cat([pairs, new])
        pairs = pairs[pairs.numbers[:, 0] <= _limits(known, items.matching)[pairs.query]]
        seen += sum(len(some) for _, _, some in wave)
        if len(pairs) > len(query) * (64 * k + _WORTHWHILE * seen):
            return None
    return pairs


def _decide(query: PartEmbeddings, survivors: Pairs, items: Items, k: int, memory_budget: int) -> tuple[Pairs, int]:
    """The k nearest by exact distance, ties of the k-th included, and how many distances that took."""
    ranked, rank = survivors.ranked(0)
    likely, others = ranked[rank < k], ranked[rank >= k]
    scored = _exact(query, likely, items, memory_budget)
    known = np.full((len(query), k), np.inf, scored.numbers.dtype)
    smallest(scored.query, scored.numbers[:, 0], known)
    others = others[others.numbers[:, 0] <= _limits(known, items.matching)[others.query]]
    scored = Pairs.cat([scored, _exact(query, others, items, memory_budget)])
    return scored.nearest(k), len(scored)


def _exact(query: PartEmbeddings, pairs: Pairs, items: Items, memory_budget: int) -> Pairs:
    """The pairs with their exact distances."""
    step = max(1, min(memory_budget, _CACHED) // (8 * 4 * query.width * len(query.slots)))
    rule = items.matching
    distances = [np.empty(0, np.float32)]
    for start in range(0, len(pairs), step):
        left, right = (torch.from_numpy(column[start : start + step]) for column in (pairs.query, pairs.position))
        found = paired_distances(query[left], items.fetch(right), normalize=rule.normalize, visibility=rule.visibility)
        distances.append(found.numpy())
    return Pairs(pairs.query, pairs.position, np.concatenate(distances)[:, None])


def _limits(found: np.ndarray, matching: MatchingConfig) -> np.ndarray:
    """[Q] what a lower bound must not exceed, given the [Q, k] smallest known distances: with the proof's slack."""
    limits = found[:, -1] * SLACK + (ERROR_OF_NORMALISING if matching.normalize else 0)
    return limits.astype(np.float32)


def _waves(
    fragments: Sequence[CodedFragment], queries: int, seed: int, memory_budget: int
) -> Iterator[list[tuple[CodedFragment, int, range]]]:
    """Tasks (fragment, position of its first item, items in it) that share one limit: few at first, then ever more."""
    step = min(_TASK_ITEMS, _TASK_PAIRS // queries)
    most = max(step, memory_budget // (_PAIR_BYTES * queries))  # all pairs of a wave may be candidates
    wave: list[tuple[CodedFragment, int, range]] = []
    waiting, seen, offset = 0, 0, 0
    for fragment in fragments:
        first = 0
        while first < fragment.codes.count:
            last = min(first + (step if seen else min(step, seed)), fragment.codes.count)
            wave.append((fragment, offset, range(first, last)))
            waiting, first = waiting + last - first, last
            if waiting >= min(max(seed, _GROWTH * seen), most):
                yield wave
                wave, waiting, seen = [], 0, seen + waiting
        offset += fragment.codes.count
    if wave:
        yield wave
