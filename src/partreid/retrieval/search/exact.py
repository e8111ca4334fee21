"""The nearest of many embeddings by exact distance: through int8 codes where that pays, else by all distances."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from partreid.errors import MissingDependencyError
from partreid.functional.distance import part_distances
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.search.coded import CodedSearch, CodesInMemory, CodeSource, Embedded, can_run
from partreid.retrieval.search.pairs import Pairs, with_ties
from partreid.types import PartEmbeddings

Engine = Literal["auto", "int8", "plain"]
CODES_FROM = 10_000
"""Items from which "auto" searches through codes: below, the plain way takes milliseconds."""

_SHARE = 10  # of a large set, a filter leaves so few that their distances cost less than bounds for all
_PAIR_BYTES = 32  # per distance: itself, its sorted copy, the order, and room for the sort


class ExactSearch:
    """Finds near embeddings.

    Without a ``source`` of codes, items may only be added to a set; :meth:`clear` where anything else happens to it.

    Args:
        source: of the codes; made of the embeddings in memory where None.
        engine: "plain" computes every distance; "int8" computes those of the items that bounds from int8 codes leave,
            and finds the same (docs/search.md; the extra ``search``, on CPU); "auto" takes codes for a large set where
            the extra is installed. What does not suit codes is searched the plain way.

    Raises:
        MissingDependencyError: "int8" without the extra ``search``.
    """

    def __init__(self, engine: Engine = "auto", source: CodeSource | None = None) -> None:
        if engine == "int8" and not can_run():
            raise MissingDependencyError("numkong or numba", purpose="Searching through int8 codes", extra="search")
        self._wanted = engine
        self.codes = CodedSearch(CodesInMemory() if source is None else source)
        self.ran: Literal["int8", "plain"] | None = None
        """How the latest search ran; None before the first."""

    def clear(self) -> None:
        """Forget what was kept of the items."""
        self.codes.clear()

    @torch.no_grad()
    def nearest(
        self,
        query: PartEmbeddings,
        items: Embedded,
        k: int,
        *,
        matching: MatchingConfig,
        searched: np.ndarray | None,
        memory_budget: int,
    ) -> Pairs:
        """Every item among the k nearest comparable ones of some query, ties of the k-th included, and some others.

        Args:
            query: [Q, S, D]. items: N, on the same device.
            k: how many. matching: how to compare.
            searched: [N] bool, the items that count; all where None.
            memory_budget: bytes to work in.
        """
        matching = matching.resolved(query)
        count = len(items) if searched is None else int(searched.sum())
        many = count >= CODES_FROM or CODES_FROM <= len(items) <= _SHARE * count
        large = self._wanted == "auto" and many and can_run()
        found = None
        if count and query.vectors.device.type == "cpu" and (large or self._wanted == "int8"):
            found = self.codes.nearest(
                query, items, min(k, count), matching=matching, searched=searched, memory_budget=memory_budget
            )
        self.ran = "plain" if found is None else "int8"
        return _plain(query, items, k, matching, searched, memory_budget) if found is None else found


def _plain(
    query: PartEmbeddings,
    items: Embedded,
    k: int,
    matching: MatchingConfig,
    searched: np.ndarray | None,
    memory_budget: int,
) -> Pairs:
    """By all distances, some queries and some items at a time."""
    asked = matching.prepare(query)
    some = max(1, min(len(asked), memory_budget // (4 * _PAIR_BYTES * max(1, k))))  # queries
    most = max(1, memory_budget // (2 * max(_PAIR_BYTES * some, 8 * asked.width * len(items.slots))))  # items
    positions = None if searched is None else torch.from_numpy(searched.nonzero()[0])
    count = len(items) if positions is None else len(positions)
    found = []
    for q in range(0, len(asked), some):
        best = _none()
        for start in range(0, count, most):
            index = slice(start, start + most) if positions is None else positions[start : start + most]
            block = matching.prepare(items[index])
            distances = part_distances(
                asked[q : q + some],
                block,
                normalize=matching.normalize,
                visibility=matching.visibility,
                memory_budget=max(1, memory_budget // 2),
            )
            near = _within(distances, k, start)
            if positions is not None:
                near = Pairs(near.query, positions[near.position].numpy(), near.numbers)
            best = Pairs.cat([best, near]).nearest(k)
        found.append(Pairs(best.query + q, best.position, best.numbers))
    return Pairs.cat(found or [_none()])


def _none() -> Pairs:
    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 1), np.float32))


def _within(distances: Tensor, k: int, start: int) -> Pairs:
    """The pairs of a [Q, n] block within the k-th smallest distance of their query, ties included."""
    limit = with_ties(distances.topk(min(k, distances.shape[1]), dim=1, largest=False).values[:, -1:])
    query, place = ((distances <= limit) & torch.isfinite(distances)).nonzero(as_tuple=True)
    numbers = distances[query, place].cpu().numpy()[:, None]
    return Pairs(query.cpu().numpy(), place.cpu().numpy() + start, numbers)
