"""Searching through the codes of a set of embeddings; codes of a set in memory, made when first needed and kept."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol

import numpy as np
from torch import Tensor

from partreid.functional.visibility import slot_weights, weighs_unseen
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.search.bound import SMALLEST
from partreid.retrieval.search.codes import SlotCodes, suits
from partreid.retrieval.search.pairs import Pairs
from partreid.types import PartEmbeddings

FRAGMENT = 2**15
"""Items coded together. The last, not yet full fragment is coded again when items are added."""

_ITEMS_PER_NEIGHBOUR, _MOST_NEIGHBOURS = 32, 1000


@functools.cache
def can_run() -> bool:
    """Whether the libraries of the extra ``search`` are here and work."""
    try:
        import_module("partreid.retrieval.search.engine")
    except ImportError:
        return False
    return True


class Embedded(Protocol):
    """N embeddings of which some are looked at at a time: :class:`PartEmbeddings`, or something that reads a file."""

    @property
    def slots(self) -> tuple[str, ...]: ...

    @property
    def width(self) -> int: ...

    @property
    def visibility(self) -> Tensor:
        """[N, S]."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | Tensor, /) -> PartEmbeddings: ...


class CodeSource(Protocol):
    """Where the codes of embeddings come from."""

    def update(self, embeddings: Embedded, *, unseen: bool = False) -> Sequence[SlotCodes]:
        """Codes of all items in their order, some items at a time.

        Args:
            embeddings: all items, on the CPU.
            unseen: whether slots of visibility 0 are compared too.
        """

    def clear(self) -> None:
        """Forget what was kept."""


class CodesInMemory:
    """Codes of embeddings in memory, to which items are only added; :meth:`clear` where anything else happens."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all codes."""
        self._codes: list[SlotCodes] = []
        self._with_unseen = False

    def update(self, embeddings: Embedded, *, unseen: bool = False) -> list[SlotCodes]:
        """Codes of all items, making those that are missing: see :class:`CodeSource`."""
        if unseen and not self._with_unseen:
            self.clear()
            self._with_unseen = True
        if sum(codes.count for codes in self._codes) < len(embeddings):
            if self._codes and self._codes[-1].count < FRAGMENT:
                self._codes.pop()
            for start in range(len(self._codes) * FRAGMENT, len(embeddings), FRAGMENT):
                part = embeddings[start : start + FRAGMENT]
                seen = part.visibility > 0
                self._codes.append(SlotCodes.build(part.vectors, seen | self._with_unseen))
        return self._codes


class CodedSearch:
    """Searches through codes.

    Args:
        source: of the codes.

    Attributes:
        scored: how many exact distances the latest search needed.
    """

    def __init__(self, source: CodeSource) -> None:
        self.source = source
        self.clear()

    def clear(self) -> None:
        """Forget what was kept of the items."""
        self.source.clear()
        self._weights: tuple[Callable[[], Embedded | None], MatchingConfig, list[np.ndarray], bool] | None = None
        self._useless: tuple[MatchingConfig, int] | None = None
        self.scored = 0

    def nearest(
        self,
        query: PartEmbeddings,
        embeddings: Embedded,
        k: int,
        *,
        matching: MatchingConfig,
        searched: np.ndarray | None,
        memory_budget: int,
    ) -> Pairs | None:
        """The k nearest of all items, or of the ``searched`` ones ([N] bool).

        Returns:
            None where codes cannot be used or do not pay: vectors or weights of extreme size, a small gallery for so
            large a k, bounds that leave too many items.
        """
        count = len(embeddings) if searched is None else int(searched.sum())
        if (
            not suits(len(embeddings.slots), embeddings.width)
            or not len(query)
            or k > min(_MOST_NEIGHBOURS, count // _ITEMS_PER_NEIGHBOUR)
        ):
            return None
        if self._useless is not None and self._useless[0] == matching and len(embeddings) < 2 * self._useless[1]:
            return None
        from partreid.retrieval.search.engine import Items, nearest
        from partreid.retrieval.search.scan import CodedFragment

        codes = self.source.update(embeddings, unseen=weighs_unseen(matching.visibility, len(embeddings.slots)))
        asked = matching.prepare(query).validate()
        weights, sound = self._weights_of(embeddings, matching, codes)
        mine = _weights(asked, matching)
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
        found = nearest(asked, mine, items, k, memory_budget=memory_budget)
        if found is None:
            self._useless = (matching, len(embeddings))
            return None
        pairs, self.scored = found
        return pairs

    def _weights_of(
        self, embeddings: Embedded, matching: MatchingConfig, codes: Sequence[SlotCodes]
    ) -> tuple[list[np.ndarray], bool]:
        """The items' weights under a rule, cut as their codes are, and whether all are sound; the last rule's are
        kept."""
        if self._weights is None or self._weights[0]() is not embeddings or self._weights[1] != matching:
            # Weights depend on no vector: one number stands in for each.
            seen = embeddings.visibility
            light = PartEmbeddings(seen.new_zeros(*seen.shape, 1), seen, embeddings.slots)
            ends = np.cumsum([part.count for part in codes]).tolist()
            parts = [matching.prepare(light[end - c.count : end]) for c, end in zip(codes, ends, strict=True)]
            found = [_weights(part, matching) for part in parts]
            self._weights = (weakref.ref(embeddings), matching, found, all(map(_sound, found)))
        return self._weights[2:]


def _weights(prepared: PartEmbeddings, matching: MatchingConfig) -> np.ndarray:
    """[B, S] float32: what each image brings to the weight of a slot."""
    return slot_weights(prepared.visibility.float(), matching.visibility).contiguous().numpy()


def _sound(weights: np.ndarray) -> bool:
    """Whether no weight is so small that products of weights would lose digits."""
    return not bool(((weights > 0) & (weights < SMALLEST)).any())
