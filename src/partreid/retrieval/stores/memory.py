"""A gallery in memory: gone with the process."""

from __future__ import annotations

import numpy as np
import torch

from partreid.errors import DataError
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.exact import Engine, ExactSearch
from partreid.retrieval.stores.base import Candidates, GalleryHeader, SearchRule, by_camera, taken
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryItem, GalleryRecords


class MemoryStore:
    """Items in lists, embeddings as tensors of the type and on the device of the first ones."""

    location = "memory"
    dtype: torch.dtype | None = None

    def __init__(self, *, engine: Engine = "auto") -> None:
        self.search = ExactSearch(engine)
        self._batches: list[PartEmbeddings] = []
        self._items: list[GalleryItem] = []
        self._places: dict[str, int] = {}

    def header(self) -> GalleryHeader | None:
        """See :class:`~partreid.retrieval.stores.base.GalleryStore`, as for all methods."""
        return GalleryHeader.of(self._batches[0]) if self._batches else None

    def count(self, where: Filter) -> int:
        """Number of items that meet ``where``."""
        return len(self._positions(where))

    def cameras(self) -> list[CameraSummary]:
        """The items of each camera."""
        return by_camera((item.camera, item.time) for item in self._items)

    def write(self, records: GalleryRecords, *, replace: bool) -> None:
        """Append items."""
        if there := [item for item in records.ids if item in self._places]:
            if not replace:
                raise DataError(taken(there))
            self._drop({self._places[item] for item in there})
        embeddings = records.embeddings
        if self._batches:
            first = self._batches[0]
            embeddings = embeddings.to(first.vectors.device, first.vectors.dtype)
        self._batches.append(embeddings)
        self._places |= {item: len(self._items) + i for i, item in enumerate(records.ids)}
        self._items += records.items

    def delete(self, where: Filter) -> int:
        """Remove items."""
        gone = set(self._positions(where))
        self._drop(gone)
        return len(gone)

    def fetch(self, where: Filter, *, limit: int, after: str = "") -> GalleryRecords:
        """Items in the order of their ids."""
        found = [i for i in self._positions(where) if self._items[i].id > after]
        return self._records(sorted(found, key=lambda i: self._items[i].id)[:limit])

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        """The k nearest of each query, and ties."""
        items = self._embeddings()
        searched = None
        if rule.where != Filter():
            searched = np.zeros(len(items), bool)
            searched[self._positions(rule.where)] = True
        pairs = self.search.nearest(
            query.to(items.vectors.device),
            items,
            rule.k,
            matching=rule.matching,
            searched=searched,
            memory_budget=rule.memory_budget,
        )
        positions, record = np.unique(pairs.position, return_inverse=True)
        return Candidates(self._records(positions.tolist()), pairs.query, record)

    def verify(self) -> list[str]:
        """Nothing can be wrong that :meth:`write` let in."""
        return []

    def close(self) -> None:
        """Nothing to let go of."""

    def _positions(self, where: Filter) -> list[int]:
        if where.ids is not None:
            some = (self._places[item] for item in where.ids if item in self._places)
            return sorted(i for i in some if where.keeps(self._items[i]))
        if where == Filter():
            return list(range(len(self._items)))
        return [i for i, item in enumerate(self._items) if where.keeps(item)]

    def _records(self, positions: list[int]) -> GalleryRecords:
        return GalleryRecords(tuple(self._items[i] for i in positions), self._embeddings()[positions].to("cpu"))

    def _drop(self, gone: set[int]) -> None:
        if not gone:
            return
        keep = [i for i in range(len(self._items)) if i not in gone]
        self._batches = [self._embeddings()[keep]]
        self._items = [self._items[i] for i in keep]
        self._places = {item.id: i for i, item in enumerate(self._items)}
        self.search.clear()

    def _embeddings(self) -> PartEmbeddings:
        if len(self._batches) > 1:
            self._batches = [PartEmbeddings.cat(self._batches)]
        return self._batches[0]
