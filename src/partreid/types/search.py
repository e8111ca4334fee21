"""The result of a search in a gallery."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, overload

from partreid.base_config import ConfigModel
from partreid.errors import ConfigError, WrongTypeError
from partreid.objects import Guided, html_table
from partreid.types.gallery import GalleryItem
from partreid.types.open_set import OpenSetDecision

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Hit(Guided):
    """One found item for one query.

    Attributes:
        item: the found item. rank: from 1.
        distance: to the query, infinity if not comparable.
        part_distances: distance by slot, for the compared slots, which are visible in both.
    """

    item: GalleryItem
    rank: int
    distance: float
    part_distances: Mapping[str, float]

    @property
    def id(self) -> str:
        """The item's id."""
        return self.item.id

    @property
    def camera(self) -> str | None:
        """The item's camera, None = unknown."""
        return self.item.camera

    @property
    def time(self) -> datetime | None:
        """When the item was seen, in UTC; None = unknown."""
        return self.item.time

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The item's metadata."""
        return self.item.metadata

    @property
    def comparable(self) -> bool:
        """Whether any slot was compared."""
        return math.isfinite(self.distance)

    def __repr__(self) -> str:
        return f"Hit({self.id!r:.80}, rank {self.rank}, distance {self.distance:.4g})"


@dataclass(frozen=True, eq=False, repr=False)
class SearchResult(Guided):
    """The nearest gallery items of each query, nearest first; equal distances in the order of their ids.

    It is a sequence of the queries' hits: ``result[0][0].id`` is the nearest item of the first query, and
    ``result[1:]`` is the result of the others. The attributes contain the same as tables.

    Attributes:
        items: [Q][k] found items; k is smaller than requested if the gallery has fewer items.
        distances: [Q, k], infinity where not comparable.
        comparable: [Q, k] bool, False where query and item share no visible slot; such items rank last.
        part_distances: [Q, k, S] distance per slot, NaN where the slot was not compared because it is not visible in
            both.
        slots: S names of the compared slots.
        matching: the complete ``MatchingConfig`` of the comparison; None = unknown.
        model: fingerprint of the extractor that made the gallery, "" = unknown.
        decision: the named hits and the guarantee; None without an open-set rule.
    """

    items: tuple[tuple[GalleryItem, ...], ...]
    distances: Tensor
    comparable: Tensor
    part_distances: Tensor
    slots: tuple[str, ...]
    matching: ConfigModel | None = None
    model: str = ""
    decision: OpenSetDecision | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[tuple[Hit, ...]]:
        return (self[query] for query in range(len(self)))

    @overload
    def __getitem__(self, query: int) -> tuple[Hit, ...]: ...

    @overload
    def __getitem__(self, query: slice) -> Self: ...

    def __getitem__(self, query: int | slice) -> tuple[Hit, ...] | Self:
        """The hits of one query, nearest first, or the result of some queries.

        Raises:
            IndexError: there is no such query. WrongTypeError: it is neither a number nor a slice.
        """
        if isinstance(query, slice):
            tables = {
                name: getattr(self, name)[query] for name in ("items", "distances", "comparable", "part_distances")
            }
            return replace(self, **tables, decision=self.decision and self.decision[query])
        try:
            items, distances = self.items[query], self.distances[query].tolist()
        except TypeError:
            raise WrongTypeError(
                f"Expected a query by its number, got {query!r:.80}. Write result[0][0].id, or result.ids, "
                "result.distances and result.items for tables."
            ) from None
        parts = [
            {slot: far for slot, far in zip(self.slots, row, strict=True) if math.isfinite(far)}
            for row in self.part_distances[query].tolist()
        ]
        found = zip(items, distances, parts, strict=True)
        return tuple(Hit(item, rank, far, near) for rank, (item, far, near) in enumerate(found, 1))

    def __repr__(self) -> str:
        head = f"SearchResult({len(self)} queries, {self.distances.shape[1]} hits each"
        named = self.named if self.decision else ()
        lines = (
            f"\n  {number}: "
            + "".join(f"{hit.id:.30} is named; " if hit else "nobody; " for hit in named[number : number + 1])
            + ", ".join(f"{hit.id:.30} {hit.distance:.4g}" for hit in hits[:3])
            + ", ..." * (len(hits) > 3)
            for number, hits in enumerate(self[:4])
            if hits
        )
        said = f"\n  {self.decision.statement}" if self.decision else ""
        return head + "".join(lines) + "\n  ..." * (len(self) > 4) + said + ")"

    def _repr_html_(self) -> str:
        rows = (
            (
                query,
                hit.rank,
                hit.id,
                f"{hit.distance:.4g}",
                hit.camera or "",
                hit.time or "",
                f"{', '.join(hit.part_distances):.60}",
            )
            for query, hits in enumerate(self[:10])
            for hit in hits[:10]
        )
        head = ("query", "rank", "id", "distance", "camera", "time", "compared parts")
        return html_table(f"{len(self)} queries, {self.distances.shape[1]} hits each", head, rows)

    @property
    def ids(self) -> tuple[tuple[str, ...], ...]:
        """[Q][k] ids of the found items."""
        return tuple(tuple(item.id for item in row) for row in self.items)

    @property
    def named(self) -> tuple[Hit | None, ...]:
        """[Q] the most likely hit that passes the rule; None = nobody.

        Raises:
            ConfigError: the search had no rule.
        """
        if self.decision is None:
            raise ConfigError(
                "Nobody is named without a rule: gallery.search(query, rule=rule). The nearest item alone, "
                "result[0][0], may be of anybody."
            )
        return tuple(
            None if best < 0 else hits[best] for hits, best in zip(self, self.decision.best.tolist(), strict=True)
        )

    @property
    def compared(self) -> Tensor:
        """[Q, k] int64 number of slots in each mean distance."""
        return self.part_distances.isfinite().sum(dim=2)
