"""A gallery of people: add, replace, delete, filter and search items, in memory, in a folder, or on a server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from partreid.errors import DataError, ShapeError, warn
from partreid.functional.distance import MEMORY_BUDGET
from partreid.lazy import no_grad
from partreid.objects import Guided
from partreid.retrieval._answer import answer, nothing
from partreid.retrieval._columns import Query, by_name, check_once, embeddings_of, items_of, narrowed, shipped_extractor
from partreid.retrieval.filters import Conditions, Filter, Where
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.open_set import OpenSetRule
from partreid.retrieval.recording import record_refusal, recorded, recorded_search
from partreid.retrieval.search.exact import Engine
from partreid.retrieval.stores import store_of
from partreid.retrieval.stores.base import Answer, GalleryStore, SearchRule, check_model
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryItem, GalleryRecords, Time
from partreid.types.numbers import require_whole
from partreid.types.search import SearchResult
from partreid.types.tensors import check_comparable

if TYPE_CHECKING:
    from partreid.inference.extractor import PartExtractor

_PAGE = 1024


class Gallery(Guided):
    """Items (id, embeddings, camera, time, metadata), searched exactly by the visibility-weighted distance (Eq. 9).

    The first embeddings decide the slots and the width, and the first ones with a known model decide the model. Other
    embeddings are refused. A gallery in memory keeps vectors as they are. All others keep them in half precision, and
    added items are safe when the call returns. Each answer reads one state of the gallery, even if others write
    meanwhile (but see docs/scale.md for Qdrant). :meth:`read` lets several calls read the same state.

    Args:
        location: where the items are kept: a folder, ``"qdrant://host:6333/name"``,
            ``"postgres://user@host/database?gallery=name"``, or a store of yours; in memory where None.
        extractor: embeds images given in place of embeddings; that of the model inside the package where None.
        create: whether to begin a new gallery where there is none.
        engine: of a gallery in memory, see :class:`~partreid.retrieval.search.exact.ExactSearch`.

    Raises:
        DataError: there is none and ``create`` is False; or it cannot be reached, is damaged, or has another version or
            model.
        MissingDependencyError: the location, or engine "int8", needs an extra that is not installed.

    Example:
        >>> e = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
        >>> gallery = Gallery()
        >>> gallery.add(e, ["anna", "ben", "carla"], cameras=[1, 1, 2])
        >>> [hit.id for hit in gallery.search(e[1], k=2)[0]]
        ['ben', 'anna']
        >>> gallery.search(e[1], cameras=2)[0][0].id
        'carla'
    """

    def __init__(
        self,
        location: str | Path | GalleryStore | None = None,
        *,
        extractor: PartExtractor | None = None,
        create: bool = True,
        engine: Engine = "auto",
    ) -> None:
        self.store = store_of(location, create=create, engine=engine)
        try:
            self.extractor = extractor
            if extractor is not None:
                check_model(self.store.location, self.model, extractor.fingerprint)
        except BaseException as error:
            record_refusal(self, "open", {}, str(error))
            if self.store is not location:
                self.store.close()
            raise

    @classmethod
    def open(cls, location: str | Path, *, extractor: PartExtractor | None = None, create: bool = True) -> Self:
        """``Gallery(location, ...)``."""
        return cls(location, extractor=extractor, create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close files and connections. Do not use the gallery afterwards."""
        self.store.close()

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[GalleryItem]:
        """The items, in the order of their ids."""
        return (item for page in self.records() for item in page.items)

    def __getitem__(self, item: str) -> GalleryRecords:
        """An item and its embedding, by its id."""
        return self.get([item])

    def __contains__(self, item: object) -> bool:
        return isinstance(item, str | int) and item != "" and self.count(ids=[item]) > 0

    def __repr__(self) -> str:
        return f"Gallery({len(self)} items in {self.store.location}{f', slots {self.slots}' if self.slots else ''})"

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots; empty before the first items."""
        return header.slots if (header := self.store.header()) else ()

    @property
    def model(self) -> str:
        """Fingerprint of the extractor that made the embeddings; "" = unknown."""
        return header.model if (header := self.store.header()) else ""

    @property
    def engine(self) -> str | None:
        """How the latest search ran: "plain", or "int8 (library)" (docs/search.md); None if a server searches."""
        return getattr(getattr(self.store, "search", None), "described", None)

    def embedder(self) -> PartExtractor:
        """The extractor for images: the gallery's own, or else the one of the model inside the package.

        Raises:
            DataError: the gallery was made by another model, or by an unknown one.
            CheckpointError: the model inside the package is damaged.
        """
        if self.extractor is None:
            self.extractor = shipped_extractor(self.store)
        return self.extractor

    def read(self, answer: Callable[[], Answer]) -> Answer:
        """The result of ``answer``. All its calls on this gallery read the same state.

        ``answer`` must not write. It is called again if another process removed what it was reading.

        Example:
            >>> gallery = Gallery()
            >>> gallery.read(lambda: (len(gallery), gallery.cameras()))
            (0, [])
        """
        return self.store.read(answer)

    def count(self, where: Where = None, **conditions: Unpack[Conditions]) -> int:
        """Number of items, or of those that meet ``where`` and the conditions: as in :meth:`search`."""
        return self.store.count(Filter.of(where, conditions))

    def add(
        self,
        embeddings: Query,
        ids: Iterable[str | int],
        *,
        cameras: Sequence[str | int | None] | str | int | None = None,
        times: Sequence[Time | None] | Time | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add items: all of them, or none if anything is wrong.

        Args:
            embeddings: [B, S, D], or B images.
            ids: B texts or numbers, each new to the gallery; a number is converted to text.
            cameras: B names or numbers, or one for all; None = unknown.
            times: B moments (with a time zone, or seconds since 1970), or one for all; None = unknown.
            metadata: B mappings that JSON can represent, such as ``{"track": 17, "file": "a.jpg"}``, or None.

        Raises:
            DataError: an id is in the gallery already or given twice; or an item cannot contain such a value.
            ShapeError: lengths, slots, widths or models differ, or a number is not finite, or too large for half
                precision.
        """
        self._write(embeddings, items_of(ids, cameras, times, metadata), replacing=False)

    def upsert(
        self,
        embeddings: Query,
        ids: Iterable[str | int],
        *,
        cameras: Sequence[str | int | None] | str | int | None = None,
        times: Sequence[Time | None] | Time | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Like :meth:`add`, but a new item completely replaces an existing one with the same id."""
        self._write(embeddings, items_of(ids, cameras, times, metadata), replacing=True)

    def add_records(self, records: GalleryRecords, *, replace: bool = False) -> None:
        """Add items in the form that :meth:`records` returns, for example from another gallery.

        Args:
            records: items and their embeddings. replace: replace existing items, like :meth:`upsert`.

        Raises:
            DataError, ShapeError: as :meth:`add`.
        """
        self._write(records.embeddings, list(records.items), replacing=replace)

    def delete(self, ids: Collection[str | int] | None = None, *, where: Where = None) -> int:
        """Remove items by id or by filter, and return their number. Unknown ids are not an error.

        Raises:
            DataError: not exactly one of ids and filter is given, or ``undated`` has no time: nothing is lost by
                mistake. ConfigError, WrongTypeError: ``where`` is not a filter.
        """
        if isinstance(ids, str):
            raise ShapeError(f"Expected a list of ids, got the text {ids!r:.80}. Write [{ids!r:.80}].")
        if (ids is None) == (where is None):
            raise DataError("Say which items to delete: by ids, or by where=Filter(...).")
        chosen = Filter.parse({"ids": list(ids)}) if ids is not None else Filter.of(where)
        if chosen.undated and chosen.since is None and chosen.until is None:
            raise DataError(
                "undated=True goes with since or until; alone it chooses nothing, and other items would go too."
            )
        with recorded(self, "delete", chosen, changes=True) as event:
            event.deleted = 0 if self.store.header() is None else self.store.delete(chosen)
        return event.deleted

    def get(self, ids: Collection[str | int]) -> GalleryRecords:
        """Items and embeddings by id, in the order of their ids.

        Raises:
            DataError: an id is not in the gallery.
        """
        wanted = Filter.parse({"ids": ids}).ids or ()

        def found() -> GalleryRecords:
            known = self._there(wanted)
            if known is None or len(known) < len(wanted):
                missing = sorted(set(wanted) - set(known.ids if known else ()))
                raise DataError(f"Not in the gallery of {len(self)} items: {', '.join(map(repr, missing[:5]))}.")
            return known

        return self.store.read(found)

    def cameras(self, where: Where = None) -> list[CameraSummary]:
        """Number of items and times by camera, of those that meet ``where``: by number, name, the unknown last."""
        return by_name(self.store.cameras(Filter.of(where)))

    def known(self, ids: Iterable[str | int]) -> set[str]:
        """Which of these ids are in the gallery."""
        wanted = Filter.parse({"ids": list(ids)}).ids or ()
        known = self.store.read(lambda: self._there(wanted))
        return set(known.ids if known else ())

    def records(self, where: Where = None) -> Iterator[GalleryRecords]:
        """All items that meet ``where`` with their embeddings, by id, some at a time: to copy a gallery of any size.

        All pages show the gallery's state at the first page.
        """
        return self.store.walk(Filter.of(where), size=_PAGE)

    @no_grad
    def search(
        self,
        query: Query,
        k: int = 10,
        *,
        matching: MatchingConfig | None = None,
        where: Where = None,
        rule: OpenSetRule | None = None,
        memory_budget: int = MEMORY_BUDGET,
        **conditions: Unpack[Conditions],
    ) -> SearchResult:
        """The ``k`` nearest items of each query.

        Args:
            query: [Q, S, D] embeddings, or Q images.
            k: number of results; fewer if fewer items meet ``where``.
            matching: how to compare; None = as the model was made for.
            where: which items to search: a :class:`Filter`, a mapping of its fields or None for all.
            rule: names an item or nobody for each query, with a guarantee; it compares its own way. None = only rank.
            conditions: fields of a filter as keywords: ``cameras=[3]``, ``since=time``, ``metadata={"track": 17}``.
            memory_budget: bytes for the search, in addition to the gallery itself.

        Returns:
            Items by distance, equal distances by id. Items that share no visible slot with the query have an infinite
            distance, ``comparable = False``, and rank last. [Q, 0] of an empty gallery, or where a filter leaves none.

        Raises:
            ShapeError: ``k`` is below 1, or the query's slots, width or model differ from the gallery's.
            ConfigError: the gallery's store cannot compare by this matching rule, or a condition does not fit.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ShapeError(f"k is a whole number of at least 1, got {k!r}.")
        memory_budget = require_whole("memory_budget (bytes)", memory_budget, least=1)
        chosen = Filter.of(where, conditions)
        asked = embeddings_of(query, self.embedder).to("cpu").validate()
        if rule is not None:
            return rule.decide(self, asked, int(k), matching=matching, where=chosen, memory_budget=memory_budget)

        def found() -> SearchResult:
            self._check(asked)
            rule = SearchRule(int(k), self._resolved(matching, asked), chosen, memory_budget)
            return nothing(asked, rule) if self.store.header() is None else answer(asked, self.store, rule)

        return recorded_search(self, {"queries": len(asked), "k": k, "where": chosen}, lambda: self.store.read(found))

    def verify(self) -> list[str]:
        """Read and check everything. Returns a sentence for each problem, and none if all is well."""
        return self.store.verify()

    def _there(self, ids: tuple[str, ...]) -> GalleryRecords | None:
        """Those of some items that there are; None where there can be none."""
        return self.store.fetch(Filter(ids=ids), limit=len(ids)) if ids and self.store.header() else None

    def _write(self, embeddings: Query, items: list[GalleryItem], *, replacing: bool) -> None:
        check_once(items)
        new = embeddings_of(embeddings, self.embedder, items).detach()
        if len(items) != len(new):
            raise ShapeError(f"Expected {len(new)} ids, one per image, got {len(items)}.")
        self._check(new := new.validate())
        if not len(new):
            return
        if (dtype := self.store.dtype) is not None:
            new = narrowed(new, dtype)
        with recorded(self, "add", {"ids": [i.id for i in items], "replace": replacing}, changes=True) as event:
            self.store.write(GalleryRecords(tuple(items), new), replace=replacing)
            event.added = len(items)

    def _resolved(self, matching: MatchingConfig | None, query: PartEmbeddings) -> MatchingConfig:
        """The complete matching rule: what it leaves open is filled in as the model was made for."""
        rule, header = MatchingConfig.given(matching), self.store.header()
        known = [query] if header is None else [query, header.example]
        if self.extractor is not None:
            runner = self.extractor.runner
            weights = {slot: weight for slot, weight in runner.slot_weights.items() if slot in query.slots}
            known.append(replace(query[:0], compare_normalized=runner.normalize_embeddings, compare_weights=weights))
        unknown = all(embeddings.compare_normalized is None for embeddings in known)
        if rule.normalize is None and header is not None and header.model and unknown:
            warn(
                f"The gallery in {self.store.location} was made by a former version, which did not record whether its "
                "model compares normalised vectors. They are compared as they are. Open it with the model (--model, "
                "extractor=...), or choose: MatchingConfig(normalize=True) for published weights and BoT, else False."
            )
        return rule.resolved(*known)

    def _check(self, embeddings: PartEmbeddings) -> None:
        if (header := self.store.header()) is not None:
            check_comparable(header.example, embeddings)
