"""The nearest of many embeddings by exact distance: through int8 codes if that is quicker, else by all distances."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from partreid.errors import MissingDependencyError
from partreid.functional.distance import part_distances
from partreid.functional.visibility import query_weights, slot_weights, weighs_unseen
from partreid.lazy import no_grad, torch
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.search.bound import SMALLEST
from partreid.retrieval.search.codes import SlotCodes, suits
from partreid.retrieval.search.pairs import Pairs, with_ties
from partreid.retrieval.stores.base import SearchRule
from partreid.types import PartEmbeddings

if TYPE_CHECKING:
    from torch import Tensor

Engine = Literal["auto", "int8", "plain"]
CODES_FROM = 10_000
"""The number of items from which "auto" searches through codes. Below it, the plain way takes milliseconds."""

FRAGMENT = 2**15
"""Items in memory coded together. The last, not yet full fragment is coded again when items are added."""

_FRACTION = 10  # if a filter keeps less than one in this many items, computing their distances costs less than bounds
_PAIR_BYTES = 32  # per distance: itself, its sorted copy, the order, and room for the sort
_ITEMS_PER_NEIGHBOUR, _MOST_NEIGHBOURS = 32, 1000


@functools.cache
def can_run() -> bool:
    """Whether the libraries of the extra ``search`` are installed and work."""
    try:
        import_module("partreid.retrieval.search.engine")
    except ImportError:
        return False
    return True


class Embedded(Protocol):
    """N embeddings that are read piece by piece: :class:`PartEmbeddings`, or an object that reads a file."""

    @property
    def slots(self) -> tuple[str, ...]: ...

    @property
    def width(self) -> int: ...

    @property
    def visibility(self) -> Tensor:
        """[N, S]."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | Tensor, /) -> PartEmbeddings: ...


class ExactSearch:
    """Finds the nearest embeddings.

    Items may be appended to a set in memory between searches. Call :meth:`clear` after any other change.

    Args:
        engine: "plain" computes every distance. "int8" excludes most items by bounds from int8 codes, computes the
            distances of the rest, and finds the same (docs/search.md; the extra ``search``, on CPU). "auto" uses codes
            for a large set if the extra is installed. Embeddings that codes do not suit are searched the plain way.
        codes: called with the items, and whether slots of visibility 0 need codes too. Returns the codes of all items
            in their order, in pieces. None = codes are made from the embeddings in memory.

    Attributes:
        ran: how the latest search ran; None before the first. described: the same, with the library that multiplied.
        scored: number of exact distances that the latest search through codes computed.

    Raises:
        MissingDependencyError: "int8" without the extra ``search``.
    """

    def __init__(
        self, engine: Engine = "auto", codes: Callable[[Any, bool], Sequence[SlotCodes]] | None = None
    ) -> None:
        if engine == "int8" and not can_run():
            raise MissingDependencyError("numkong or numba", purpose="Searching through int8 codes", extra="search")
        self._wanted = engine
        self._codes_of = self.codes_in_memory if codes is None else codes
        self.ran: Literal["int8", "plain"] | None = None
        self.described: str | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything kept about the items."""
        self._codes: list[SlotCodes] = []
        self._with_unseen = False
        self._weights: tuple[Callable[[], Embedded | None], MatchingConfig, list[np.ndarray], bool] | None = None
        self._useless: tuple[MatchingConfig, int] | None = None
        self.scored = 0

    @no_grad
    def nearest(
        self,
        query: PartEmbeddings,
        items: Embedded,
        rule: SearchRule,
        searched: np.ndarray | None,
    ) -> Pairs:
        """The k nearest comparable items of each query and ties with the k-th; there may be more pairs.

        A search through codes also returns the distances, because it computes them pair by pair as an answer needs
        them.

        Args:
            query: [Q, S, D]. items: N, on the same device. rule: how to search; its filter is ignored.
            searched: [N] bool, the items to search; None = all.
        """
        count = len(items) if searched is None else int(searched.sum())
        many = count >= CODES_FROM or CODES_FROM <= len(items) <= _FRACTION * count
        large = self._wanted == "auto" and many and can_run()
        few = 0 < min(rule.k, count) <= min(_MOST_NEIGHBOURS, count // _ITEMS_PER_NEIGHBOUR)
        suited = few and len(query) and query.vectors.device.type == "cpu" and suits(len(items.slots), items.width)
        found = None
        if suited and (large or self._wanted == "int8"):
            from partreid.retrieval.search.products import quickest

            found = self._through_codes(query, items, replace(rule, k=min(rule.k, count)), searched)
        if found is None:
            self.ran = self.described = "plain"
            return _plain(query, items, rule, searched)
        self.ran, self.described = "int8", f"int8 ({quickest(len(query) == 1).name})"
        return found

    def codes_in_memory(self, embeddings: Embedded, unseen: bool) -> list[SlotCodes]:
        """Codes of all items; missing ones are made."""
        if unseen and not self._with_unseen:
            self._codes, self._with_unseen = [], True
        if sum(codes.count for codes in self._codes) < len(embeddings):
            if self._codes and self._codes[-1].count < FRAGMENT:
                self._codes.pop()
            for start in range(len(self._codes) * FRAGMENT, len(embeddings), FRAGMENT):
                part = embeddings[start : start + FRAGMENT]
                self._codes.append(SlotCodes.build(part.vectors, (part.visibility > 0) | self._with_unseen))
        return self._codes

    def _through_codes(
        self, query: PartEmbeddings, embeddings: Embedded, rule: SearchRule, searched: np.ndarray | None
    ) -> Pairs | None:
        """Search through codes. None if vectors or weights have an extreme size, or the bounds leave too many items."""
        matching = rule.matching
        if self._useless is not None and self._useless[0] == matching and len(embeddings) < 2 * self._useless[1]:
            return None
        from partreid.retrieval.search.engine import CodedFragment, Items, nearest

        codes = self._codes_of(embeddings, weighs_unseen(matching.visibility, len(embeddings.slots)))
        asked = matching.prepare(query).validate()
        weights, sound = self._weights_of(embeddings, matching, codes)
        own = matching.weights or {}
        mine = query_weights(asked.visibility.float(), matching.visibility, asked.slots, own).numpy()
        sound = sound and _sound(mine) and SlotCodes.build(asked.vectors, asked.visibility >= 0).bounded
        if not sound or not all(c.bounded for c in codes):
            return None
        if searched is not None:
            starts = np.cumsum([len(w) for w in weights])[:-1]
            kept = zip(weights, np.split(searched, starts), strict=True)
            weights = [w if some.all() else w * some[:, None] for w, some in kept]
        items = Items(
            [CodedFragment(*pair) for pair in zip(codes, weights, strict=True)],
            [embeddings.slots.index(slot) for slot in asked.slots],
            matching,
            lambda positions: matching.prepare(embeddings[positions]),
        )
        found = nearest(asked, mine, items, rule.k, memory_budget=rule.memory_budget)
        if found is None:
            self._useless = (matching, len(embeddings))
            return None
        pairs, self.scored = found
        return pairs

    def _weights_of(
        self, embeddings: Embedded, matching: MatchingConfig, codes: Sequence[SlotCodes]
    ) -> tuple[list[np.ndarray], bool]:
        """The items' weights, divided into the same pieces as their codes, and whether all are sound. The latest rule's
        weights are kept."""
        if self._weights is None or self._weights[0]() is not embeddings or self._weights[1] != matching:
            # Weights do not depend on vectors, so vectors of one number are enough here.
            seen = embeddings.visibility
            light = PartEmbeddings(seen.new_zeros(*seen.shape, 1), seen, embeddings.slots)
            ends = np.cumsum([part.count for part in codes]).tolist()
            parts = [matching.prepare(light[end - c.count : end]) for c, end in zip(codes, ends, strict=True)]
            found = [weights_of(part, matching) for part in parts]
            self._weights = (weakref.ref(embeddings), matching, found, all(map(_sound, found)))
        return self._weights[2:]


def weights_of(prepared: PartEmbeddings, matching: MatchingConfig) -> np.ndarray:
    """[B, S] float32: each item's factor of a slot's weight."""
    return slot_weights(prepared.visibility.float(), matching.visibility).contiguous().numpy()


def _sound(weights: np.ndarray) -> bool:
    """Whether all weights are large enough that their products lose no digits."""
    return not bool(((weights > 0) & (weights < SMALLEST)).any())


def _plain(query: PartEmbeddings, items: Embedded, rule: SearchRule, searched: np.ndarray | None) -> Pairs:
    """Search by all distances, some queries and some items at a time."""
    k, matching, memory_budget = rule.k, rule.matching, rule.memory_budget
    asked = matching.prepare(query)
    some = max(1, min(len(asked), memory_budget // (4 * _PAIR_BYTES * max(1, k))))  # queries
    most = max(1, memory_budget // (2 * max(_PAIR_BYTES * some, 8 * asked.width * len(items.slots))))  # items
    positions = torch.arange(len(items)) if searched is None else torch.from_numpy(searched.nonzero()[0])
    found = [Pairs.none(0)]
    for q in range(0, len(asked), some):
        best = Pairs.none()
        for start in range(0, len(positions), most):
            place = positions[start : start + most]
            # A slice of all items is read without a copy.
            block = items[start : start + most] if searched is None else items[place]
            distances = part_distances(
                asked[q : q + some],
                matching.prepare(block),
                normalize=matching.normalize,
                visibility=matching.visibility,
                weights=matching.weights,
                memory_budget=max(1, memory_budget // 2),
            )
            # Those within the k-th smallest distance of their query, ties included.
            limit = with_ties(distances.topk(min(k, distances.shape[1]), dim=1, largest=False).values[:, -1:])
            row, column = ((distances <= limit) & torch.isfinite(distances)).nonzero(as_tuple=True)
            near = Pairs(row.cpu().numpy(), place[column.cpu()].numpy(), distances[row, column].cpu().numpy()[:, None])
            best = Pairs.cat([best, near]).nearest(k)
        found.append(Pairs(best.query + q, best.position, best.numbers[:, :0]))
    return Pairs.cat(found)
