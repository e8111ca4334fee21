"""A gallery in memory. It ends with the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import RLock

import numpy as np
import torch

from partreid.errors import DataError
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.exact import Engine, ExactSearch
from partreid.retrieval.stores.base import (
    Answer,
    Candidates,
    GalleryHeader,
    SearchRule,
    by_camera,
    first_header,
    pages,
    taken,
)
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryItem, GalleryRecords


@dataclass(frozen=True, eq=False)
class _State:
    """The first ``count`` items of these lists. A write appends to the lists or makes new ones, so a state that is held
    does not change."""

    header: GalleryHeader | None
    embeddings: PartEmbeddings | None
    items: list[GalleryItem]
    places: dict[str, int]
    count: int

    def positions(self, where: Filter) -> list[int]:
        if where.ids is not None:
            some = (self.places.get(item, self.count) for item in where.ids)
            return sorted(i for i in some if i < self.count and where.keeps(self.items[i]))
        if where == Filter():
            return list(range(self.count))
        return [i for i in range(self.count) if where.keeps(self.items[i])]

    def page(self, where: Filter, *, limit: int, after: str = "") -> GalleryRecords:
        found = [i for i in self.positions(where) if self.items[i].id > after]
        return self.records(sorted(found, key=lambda i: self.items[i].id)[:limit])

    def records(self, positions: list[int]) -> GalleryRecords:
        assert self.embeddings is not None
        return GalleryRecords(tuple(self.items[i] for i in positions), self.embeddings[positions].to("cpu"))


class MemoryStore:
    """Items in lists. All embeddings have the type and the device of the first ones.

    The methods are those of :class:`~partreid.retrieval.stores.base.GalleryStore`.
    """

    location = "memory"
    dtype: torch.dtype | None = None

    def __init__(self, *, engine: Engine = "auto") -> None:
        self.search = ExactSearch(engine)
        self._engine = engine
        self._lock = RLock()
        self._held: _State | None = None  # the state of all reads while an answer is made
        self._header: GalleryHeader | None = None
        self._batches: list[PartEmbeddings] = []
        self._items: list[GalleryItem] = []
        self._places: dict[str, int] = {}

    def read(self, answer: Callable[[], Answer]) -> Answer:
        with self._lock:
            if self._held is not None:
                return answer()
            self._held = self._now()
            try:
                return answer()
            finally:
                self._held = None

    def header(self) -> GalleryHeader | None:
        with self._lock:
            return self._header if self._held is None else self._held.header

    def count(self, where: Filter) -> int:
        with self._lock:
            state = self._state()
            return state.count if where == Filter() else len(state.positions(where))  # quicker than a list of all

    def cameras(self, where: Filter) -> list[CameraSummary]:
        with self._lock:
            state = self._state()
            return by_camera((state.items[i].camera, state.items[i].time) for i in state.positions(where))

    def write(self, records: GalleryRecords, *, replace: bool) -> None:
        with self._lock:
            embeddings = records.embeddings
            header = (self._header or GalleryHeader.of(embeddings)).bound_to(embeddings, "in memory")
            if there := [item for item in records.ids if item in self._places]:
                if not replace:
                    raise DataError(taken(there))
                self._drop({self._places[item] for item in there})
            if self._batches:
                first = self._batches[0]
                embeddings = embeddings.to(first.vectors.device, first.vectors.dtype)
            self._header = header
            self._batches.append(embeddings)
            self._places |= {item: len(self._items) + i for i, item in enumerate(records.ids)}
            self._items += records.items

    def delete(self, where: Filter) -> int:
        with self._lock:
            gone = set(self._now().positions(where))
            self._drop(gone)
            return len(gone)

    def fetch(self, where: Filter, *, limit: int) -> GalleryRecords:
        with self._lock:
            return self._state().page(where, limit=limit)

    def walk(self, where: Filter, *, size: int) -> Iterator[GalleryRecords]:
        with self._lock:
            state = self._state()
        if state.header is not None:
            yield from pages(lambda after: state.page(where, limit=size, after=after))

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        with self._lock:
            state = self._state()
            items = state.embeddings
            assert items is not None
            searched = None
            if rule.where != Filter():
                searched = np.zeros(len(items), bool)
                searched[state.positions(rule.where)] = True
            # The search keeps codes and weights of the newest state only.
            newest = items is self._batches[0]
            search = self.search if newest else ExactSearch(self._engine)
            pairs = search.nearest(query.to(items.vectors.device), items, rule, searched)
            positions, record = np.unique(pairs.position, return_inverse=True)
            return Candidates(state.records(positions.tolist()), pairs.query, record, pairs.distances)

    def compact(self) -> tuple[str, ...]:
        with self._lock:
            self.search.clear()
        freed = "freed memory of this process, which nothing overwrites"
        return (freed,) if type(self) is MemoryStore else (freed, f"what {type(self).__name__} keeps elsewhere")

    def overwrite(self, records: Callable[[], Iterable[GalleryRecords]]) -> None:
        with self._lock:
            _, several = first_header(records())
            every = GalleryRecords.cat(several)
            self._header, self._batches, self._items, self._places = None, [], [], {}
            self.search.clear()
            self.write(every, replace=False)  # a subclass keeps the items in its own write

    def verify(self) -> list[str]:
        return []  # everything was checked when it was added

    def close(self) -> None:
        pass

    def _state(self) -> _State:
        return self._held or self._now()

    def _now(self) -> _State:
        return _State(self._header, self._embeddings(), self._items, self._places, len(self._items))

    def _drop(self, gone: set[int]) -> None:
        if not gone:
            return
        keep = [i for i in range(len(self._items)) if i not in gone]
        embeddings = self._embeddings()
        assert embeddings is not None
        self._batches = [embeddings[keep]]
        self._items = [self._items[i] for i in keep]
        self._places = {item.id: i for i, item in enumerate(self._items)}
        self.search.clear()

    def _embeddings(self) -> PartEmbeddings | None:
        """All embeddings in one object, marked with the gallery's model."""
        if self._header is None:
            return None
        if len(self._batches) > 1:
            self._batches = [PartEmbeddings.cat(self._batches)]
        first = self._batches[0]
        if GalleryHeader.of(first) != self._header:
            self._batches = [self._header.embeddings(first.vectors, first.visibility)]
        return self._batches[0]
