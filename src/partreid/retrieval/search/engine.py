"""Exact nearest items through codes. Bounds choose the items that may be among the k nearest; exact distances decide.

docs/search.md proves that nothing is lost. The exact distances are those of ``functional.distance``.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.search.bound import SLACK, Block, Terms
from partreid.retrieval.search.codes import SlotCodes
from partreid.retrieval.search.kernels import ERROR_OF_NORMALISING, accumulate, choose, normalised, smallest
from partreid.retrieval.search.pairs import Pairs, exact_distances
from partreid.retrieval.search.products import Multiplier, quickest
from partreid.types import PartEmbeddings

_LANES = 16  # numbers that one instruction works on
_QUERIES = 256  # searched at once, so that their sums over a task's items stay in the processor's cache
_TASK_PAIRS, _TASK_ITEMS = 2**17, 2**15
_SEED, _GROWTH = 256, 3  # items in the first wave; how many times the items seen so far the next wave has
_PAIR_BYTES = 64  # for one candidate, sorted copies included
_WORTHWHILE = 0.05  # if a larger fraction of the pairs remains, the plain way is quicker


@dataclass(frozen=True, eq=False)
class CodedQueries:
    """Q queries for :func:`candidates`. Several queries are padded to whole lanes with queries that see nothing.

    Attributes:
        multiplier: what multiplies their codes. codes: one packed [Q, D] matrix per slot. terms: each [S, Q].
        normalize: whether vectors are compared by their direction alone.
    """

    multiplier: Multiplier
    codes: Sequence[Any]
    terms: Terms
    normalize: bool

    @classmethod
    def build(cls, vectors: Tensor, weights: np.ndarray, *, normalize: bool) -> Self:
        """From [Q, S, D] vectors and their [Q, S] weights."""
        queries, slots, width = vectors.shape
        filled = queries if queries == 1 else -(-queries // _LANES) * _LANES
        multiplier = quickest(queries == 1)
        coded = SlotCodes.build(vectors, torch.ones(queries, slots, dtype=torch.bool))
        _, scale, length, error, norm = coded.rows
        if normalize:
            scale, length, error = normalised(scale, length, error, norm)
        terms = np.zeros((4, slots, filled), np.float32)
        for term, values in zip(terms, (2 * scale, length, error, weights.T), strict=True):
            term[:, :queries] = values.reshape(slots, queries)
        codes = np.zeros((slots, filled, width), np.int8)
        codes[:, :queries] = coded.codes.reshape(slots, queries, width)
        return cls(multiplier, [multiplier.pack(matrix) for matrix in codes], Terms(*terms), normalize)


@dataclass(frozen=True, eq=False)
class CodedFragment:
    """Consecutive items: their codes, and the weight of each compared slot as [N, S] float32; 0 = not compared."""

    codes: SlotCodes
    weights: np.ndarray


def candidates(
    queries: CodedQueries, fragment: CodedFragment, items: range, *, slots: Sequence[int], limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that share a slot and whose distance may lie within the query's limit.

    Args:
        queries: to compare with. fragment, items: some consecutive items of this fragment.
        slots: the codes' slot of each compared slot. limits: [Q] float32.

    Returns:
        [P, 2] int32 query and place within ``items``; [P, 2] float32 lower and upper bound of the distance.
    """
    n, (slot_count, width) = len(items), queries.terms.weights.shape
    block = Block(
        first=items.start,
        weights=fragment.weights[items.start : items.stop],
        low=np.zeros((n, width), np.float32),
        missing=np.zeros((n, slot_count), np.float32),
    )
    products = np.empty((n, width), np.int32)
    for s, slot in enumerate(slots):
        if queries.terms.weights[s].any():
            vectors, rows = fragment.codes.block(slot, items.start, items.stop)
            out = products[: len(vectors)]
            if len(vectors):
                queries.multiplier.multiply(vectors, queries.codes[s], out)
            accumulate(out, rows, Terms(*(term[s] for term in queries.terms)), queries.normalize, s, block)
    filled = np.zeros(width, np.float32)
    filled[: len(limits)] = np.minimum(limits, np.finfo(np.float32).max)
    # NumPy multiplies here, because PyTorch may be set to fewer bits than the proof assumes.
    return choose(block, queries.terms, filled, block.weights @ queries.terms.weights)


@dataclass(frozen=True, eq=False)
class Items:
    """The items to search.

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
    """The k nearest items of each query, and ties with the k-th. Only items that share a slot with the query count.

    Args:
        query: [Q, S, D] prepared embeddings. weights: [Q, S] float32 of their slots.
        items: to search. k: how many. memory_budget: bytes to work in.

    Returns:
        Ranked pairs with their exact distances, and the number of distances computed. None if the bounds leave so many
        items that the plain way is quicker.
    """
    found, scored = [], 0
    pool = _workers(os.getpid(), torch.get_num_threads())
    for start in range(0, len(query), _QUERIES):
        part = slice(start, start + _QUERIES)
        survivors = _survivors(query[part], weights[part], items, k, pool, memory_budget)
        if survivors is None:
            return None
        pairs, count = _decide(query[part], survivors, items, k, memory_budget)
        found.append(Pairs(pairs.query + start, pairs.position, pairs.numbers))
        scored += count
    return Pairs.cat(found), scored


@functools.lru_cache(maxsize=2)
def _workers(process: int, count: int) -> ThreadPoolExecutor:
    """Threads that share a search. PyTorch starts no further ones in them. ``process`` is an argument because no thread
    survives a fork."""
    all_there = threading.Barrier(count + 1, timeout=60)  # seconds; a thread may fail to start

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # this first question sets PyTorch up in this thread, with the 1 of the line above
        all_there.wait()

    pool = ThreadPoolExecutor(count, "search", initializer=begin)
    for _ in range(count):
        pool.submit(int)
    all_there.wait()
    torch.set_num_threads(count)  # undo the workers' calls, which also apply to threads that start later
    return pool


def _survivors(
    query: PartEmbeddings, weights: np.ndarray, items: Items, k: int, pool: ThreadPoolExecutor, memory_budget: int
) -> Pairs | None:
    """The pairs whose lower bound lies within the k-th smallest upper bound of their query."""
    coded = CodedQueries.build(query.vectors, weights, normalize=bool(items.matching.normalize))
    known, seen = np.full((len(query), k), np.inf, np.float32), 0
    pairs = Pairs.none(2)
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
    """The k nearest by exact distance and ties with the k-th, and how many distances were computed."""
    ranked, rank = survivors.ranked()
    likely, others = ranked[rank < k], ranked[rank >= k]
    scored = _exact(query, likely, items, memory_budget)
    known = np.full((len(query), k), np.inf, scored.numbers.dtype)
    smallest(scored.query, scored.numbers[:, 0], known)
    others = others[others.numbers[:, 0] <= _limits(known, items.matching)[others.query]]
    scored = Pairs.cat([scored, _exact(query, others, items, memory_budget)])
    return scored.nearest(k), len(scored)


def _exact(query: PartEmbeddings, pairs: Pairs, items: Items, memory_budget: int) -> Pairs:
    distances = exact_distances(query, items.fetch, pairs, items.matching, memory_budget=memory_budget)
    return Pairs(pairs.query, pairs.position, distances[:, None])


def _limits(found: np.ndarray, matching: MatchingConfig) -> np.ndarray:
    """[Q] limits that a lower bound must not exceed: the k-th of the [Q, k] known distances, with the proof's slack."""
    limits = found[:, -1] * SLACK + (ERROR_OF_NORMALISING if matching.normalize else 0)
    return limits.astype(np.float32)


def _waves(
    fragments: Sequence[CodedFragment], queries: int, seed: int, memory_budget: int
) -> Iterator[list[tuple[CodedFragment, int, range]]]:
    """Waves of tasks: (fragment, position of its first item, items in it). The tasks of a wave share one limit, and
    each wave is larger than the one before."""
    step = min(_TASK_ITEMS, _TASK_PAIRS // queries)
    most = max(step, memory_budget // (_PAIR_BYTES * queries))  # all pairs of a wave may be candidates
    wave: list[tuple[CodedFragment, int, range]] = []
    waiting, seen, offset = 0, 0, 0
    for fragment in fragments:
        first = 0
        while first < fragment.codes.count:
            wanted = min(max(seed, _GROWTH * seen), most)  # items of this wave
            last = min(first + min(step, wanted), fragment.codes.count)
            wave.append((fragment, offset, range(first, last)))
            waiting, first = waiting + last - first, last
            if waiting >= wanted:
                yield wave
                wave, waiting, seen = [], 0, seen + waiting
        offset += fragment.codes.count
    if wave:
        yield wave
