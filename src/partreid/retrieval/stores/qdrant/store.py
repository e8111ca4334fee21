"""A gallery on a Qdrant server: one named vector per visible slot, Eq. 9 as a formula."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Self
from uuid import uuid4

import numpy as np
import torch

from partreid.errors import ConfigError, DataError
from partreid.retrieval.filters import Filter
from partreid.retrieval.stores.addresses import qdrant_address
from partreid.retrieval.stores.base import (
    Answer,
    AskedSlot,
    Candidates,
    GalleryHeader,
    SearchRule,
    by_camera,
    check_rule,
    pages,
    reach,
    taken,
)
from partreid.retrieval.stores.qdrant import query as asking
from partreid.retrieval.stores.qdrant.collection import IDS, Collection
from partreid.retrieval.stores.qdrant.query import (
    NOT_COMPARABLE,
    ApiException,
    QdrantClient,
    models,
    point_id,
)
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryRecords

COMPACTED = (
    "segments that the server has not rewritten yet: it does so in the background, and never rewrites segments of "
    "fewer than 100 points",
    "the server's log (WAL), snapshots and replicas",
    "copies that the file system, the disk or a backup made",
)
"""Where deleted items may be left after the compaction of a gallery on Qdrant."""

_MOST_NAMED = 50_000
"""Most candidates named in one request. If there are more, the filter finds them again."""


class QdrantStore:
    """Items as points of a collection. The first items create the collection.

    Guarantees. The server acknowledges a write once it is in the server's log. Replacing and deleting can be repeated
    without harm. Adding looks for the ids first, writes only new ones, and then checks whose addition won. So if two
    processes add one id at once, at least one is refused. (A server that does not know "insert only" lets the later one
    win.) Qdrant has no transactions: an addition that fails half way is taken back, but if the process is killed there,
    some of the items stay. Add them again with ``upsert``. An answer during a write may contain one item from before a
    change and another from after it. It contains no item twice, and as many items as there are. If two processes set
    two different models at the same moment in a gallery of an unknown model, one is not refused.

    The vector of a slot that is not visible is not kept, and is read as zeros. :meth:`fetch` and :meth:`walk` read all
    ids first, because Qdrant cannot order texts. The methods are those of
    :class:`~partreid.retrieval.stores.base.GalleryStore`.

    Args:
        client: a ``QdrantClient``; its local mode works too.
        collection: the gallery's name.
        location: the gallery's name in messages.
        create: whether to make the gallery if there is none.

    Raises:
        DataError: the server cannot be reached, or the gallery does not exist or has another format.
    """

    dtype: torch.dtype | None = torch.float16

    def __init__(self, client: QdrantClient, collection: str, *, location: str = "", create: bool = True) -> None:
        self.location = location or f"qdrant collection {collection}"
        self._collection = Collection(client, collection, location=self.location)
        self._header: GalleryHeader | None = None  # kept once it cannot change any more
        if self.header() is None and not create:
            raise DataError(f"There is no gallery at {self.location}. Check the name, or open it with create=True.")

    @classmethod
    def open(cls, location: str, *, create: bool = True) -> Self:
        """The gallery at ``qdrant://host:6333/name``, or ``qdrant+https://host:6333/name``. If the server asks for a
        key, it is read from the environment variable ``QDRANT_API_KEY``.

        Raises:
            DataError: as the constructor; or the location does not have that form.
        """
        host, port, https, name = qdrant_address(location)
        key = os.environ.get("QDRANT_API_KEY")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise DataError("QDRANT_API_KEY holds characters that no key has: a line break or non-ASCII letters.")
        client = QdrantClient(host=host, port=port, https=https, api_key=key, timeout=120, check_compatibility=False)
        try:
            return cls(client, name, location=location, create=create)
        except BaseException:
            client.close()
            raise

    def read(self, answer: Callable[[], Answer]) -> Answer:
        return answer()  # Qdrant cannot hold one state for several reads: see the class

    def header(self) -> GalleryHeader | None:
        if self._header is not None:
            return self._header
        with self._collection.explained():
            header = self._collection.header()
        if header is not None and header.settled:
            self._header = header
        return header

    def count(self, where: Filter) -> int:
        if self.header() is None:
            return 0
        with self._collection.explained():
            found = self._collection.client.count(self._collection.name, asking.condition(where), exact=True)
            return int(found.count)

    def cameras(self, where: Filter) -> list[CameraSummary]:
        if self.header() is None:
            return []
        with self._collection.explained():
            points = self._collection.scroll(asking.condition(where), keys=("camera", "time"))
            return by_camera(asking.sighting(point.payload) for point in points)

    def write(self, records: GalleryRecords, *, replace: bool) -> None:
        with self._collection.explained():
            header = self._agree(records.embeddings)
            ids, write = [point_id(name) for name in records.ids], uuid4().hex
            if not replace and (there := [one.payload["id"] for one in self._collection.points(ids, keys=["id"])]):
                raise DataError(taken(there))
            points = (
                asking.point(item, embeddings, write)
                for item, embeddings in zip(records.items, records.embeddings, strict=True)
            )
            try:
                self._collection.write(points, header, only_new=not replace)
                if not replace:
                    self._won(ids, write)
            except BaseException:
                if not replace:
                    with suppress(Exception):  # the first error says more
                        self._take_back(ids, write)
                raise

    def delete(self, where: Filter) -> int:
        """Remove items. The returned number was counted a moment before."""
        count = self.count(where)
        if count:
            with self._collection.explained():
                self._collection.remove(asking.condition(where))
        return count

    def compact(self) -> tuple[str, ...]:
        """Ask the server to rewrite segments with deleted points, from now on."""
        if self.header() is not None:
            with self._collection.explained():
                self._collection.vacuum()
        return COMPACTED

    def fetch(self, where: Filter, *, limit: int) -> GalleryRecords:
        return self._page(self._names(where), limit=limit)

    def walk(self, where: Filter, *, size: int) -> Iterator[GalleryRecords]:
        """All items whose ids existed at the first page, each in the state in which its page is read."""
        if self.header() is not None:
            names = self._names(where)
            yield from pages(lambda after: self._page(names, limit=size, after=after))

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        check_rule(rule.matching, "Qdrant")
        if rule.matching.normalize:
            raise ConfigError(
                "Qdrant compares vectors as they are stored, so a search cannot choose normalize=True. Add and search "
                "with embeddings.normalized(), or copy the items into a gallery in a folder."
            )
        header = self.header()
        assert header is not None
        with self._collection.explained():
            asked = [AskedSlot.of(one, rule.matching, header) for one in rule.matching.prepare(query)]
            near = [self._near(slots, rule, header) for slots in asked]
            points = list(self._collection.points(list(dict.fromkeys(name for row in near for name in row)), header))
        place = {point.id: i for i, point in enumerate(points)}
        pairs = [(q, place[name]) for q, row in enumerate(near) for name in row if name in place]
        return Candidates(asking.records(points, header), *np.array(pairs, np.int64).reshape(-1, 2).T)

    def verify(self) -> list[str]:
        header = self.header()
        problems: list[str] = []
        if header is not None:
            with self._collection.explained():
                for point in self._collection.scroll(asking.condition(Filter()), header):
                    problems += asking.problems(point, header)
        return problems

    def close(self) -> None:
        self._collection.client.close()

    def _names(self, where: Filter) -> list[str]:
        with self._collection.explained():
            return sorted({point.payload["id"] for point in self._collection.scroll(asking.condition(where))})

    def _page(self, names: list[str], *, limit: int, after: str = "") -> GalleryRecords:
        """The next items among these ids that still exist."""
        header = self.header()
        assert header is not None
        with self._collection.explained():
            start, found = bisect_right(names, after), asking.records([], header)
            while not len(found) and (page := names[start : start + limit]):  # a whole page may be deleted by now
                found = asking.records(list(self._collection.points([*map(point_id, page)], header)), header)
                start += limit
        return found[sorted(range(len(found)), key=lambda i: found.items[i].id)]

    def _agree(self, new: PartEmbeddings) -> GalleryHeader:
        """Begin the gallery with these embeddings, or check that they fit the gallery."""
        header = self.header()
        if header is None:
            try:
                self._collection.begin(GalleryHeader.of(new))
            except (ApiException, ValueError):  # if another process was quicker, there is a header now
                if self.header() is None:
                    raise
            header = self.header()
            assert header is not None
        if (bound := header.bound_to(new, self.location)) != header:
            self._collection.describe(bound)
            self._header = None
            return self._agree(new)  # another process may have been quicker
        return header

    def _won(self, ids: list[str], write: str) -> None:
        """Refuse if another process added one of these items since they were looked for."""
        found = self._collection.points(ids, keys=["id", "write"])
        if lost := [one.payload["id"] for one in found if one.payload["write"] != write]:
            raise DataError(taken(lost))

    def _take_back(self, ids: list[str], write: str) -> None:
        mine = models.FieldCondition(key="write", match=models.MatchValue(value=write))
        for start in range(0, len(ids), IDS):
            some = models.HasIdCondition(has_id=ids[start : start + IDS])
            self._collection.remove(models.Filter(must=[some, mine]))

    def _near(self, asked: list[AskedSlot], rule: SearchRule, header: GalleryHeader) -> list[str]:
        """Points near one query.

        First it lists the nearest points in each slot alone, then it ranks all of these by Eq. 9. In each of its slots,
        an item in none of the lists is at least as far as the last point of that slot's list. (A list that is not full
        holds all points.) So its weighted mean is at least the smallest of these last distances. Once the k-th distance
        found lies below that, with room for rounding, all other items are farther. Until then the lists grow, in the
        end to all points.
        """
        where, limit = asking.condition(rule.where), max(256, 8 * rule.k)
        while asked:
            lists = self._collection.ask([asking.nearest(slot, models.QueryRequest, where, limit) for slot in asked])
            ends = [points[-1].score for points in lists if len(points) == limit]
            names = list(dict.fromkeys(point.id for points in lists for point in points))
            if ends and len(names) > _MOST_NAMED:
                limit, ends = self.count(rule.where) + 1, []
            among = models.Filter(must=[models.HasIdCondition(has_id=names)]) if ends else where
            most, further = len(names) if ends else limit, reach(header.width, normalize=False)
            ranking = partial(asking.ranking, asked, rule.matching.visibility, among, most)
            reached, near = self._ranked(ranking, rule.k, further)
            if not ends or reached < min(ends) * (1 - 2.0**-20):
                return near
            limit *= 8
        return []

    def _ranked(
        self, ranking: Callable[[int], models.QueryRequest], k: int, further: tuple[float, float]
    ) -> tuple[float, list[str]]:
        """The distance up to which items may be among the k nearest, and the points within it. The distance is infinite
        if fewer than k items can be compared."""
        limit = k + 32
        while True:
            (points,) = self._collection.ask([ranking(limit)])
            near = [point for point in points if -point.score < NOT_COMPARABLE / 2]
            reached = -near[k - 1].score * further[0] + further[1] if len(near) >= k else float("inf")
            if len(points) < limit or -points[-1].score > reached:
                return reached, [point.id for point in near if -point.score <= reached]
            limit *= 4
