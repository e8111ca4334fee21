"""An exact gallery in memory: add, remove, search, save, open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from partreid.errors import DataError, MissingDependencyError, ShapeError
from partreid.functional.distance import MEMORY_BUDGET, pairwise_slot_distances, part_distances
from partreid.retrieval.matching import MatchingConfig
from partreid.retrieval.search import CodeBook, can_run
from partreid.retrieval.storage import StoredGallery, read_gallery, write_gallery
from partreid.types import PartEmbeddings, SearchResult, check_comparable

ItemId = str | int
Engine = Literal["auto", "int8", "plain"]
CODES_FROM = 10_000
"""Items from which "auto" searches through codes: below, the plain way takes milliseconds."""

_SORTED_BYTES = 32  # per distance: itself, its sorted copy, the order, and room for the sort
_CACHED = 2**20  # bytes of items at once, whose intermediate results then stay in the processor's cache


class Gallery:
    """Embeddings with ids, searched exactly by the visibility-weighted distance (Eq. 9).

    Slots and width are those of the first embeddings added. Items keep the order in which they were added;
    ``SearchResult.indices`` are positions in :attr:`ids`, which shift when items are removed.

    Args:
        engine: how to search: "plain" computes every distance; "int8" computes those of the items that bounds from
            int8 codes leave, and finds the same (docs/search.md; the extra ``search``, on CPU); "auto" takes codes for
            a large gallery where the extra is installed. What does not suit codes is searched the plain way.

    Raises:
        MissingDependencyError: "int8" without the extra ``search``.

    Example:
        >>> e = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
        >>> gallery = Gallery()
        >>> gallery.add(e, ["anna", "ben", "carla"])
        >>> result = gallery.search(e[1], k=2)
        >>> [gallery.ids[i] for i in result.indices[0]]
        ['ben', 'anna']
    """

    def __init__(self, *, engine: Engine = "auto") -> None:
        if engine == "int8" and not can_run():
            raise MissingDependencyError("numkong or numba", purpose="Searching through int8 codes", extra="search")
        self._wanted: Engine = engine
        self._ran: Literal["int8", "plain"] | None = None
        self._codes = CodeBook()
        self._batches: list[PartEmbeddings] = []
        self._ids: list[ItemId] = []
        self._camids: list[int | None] = []
        self._metadata: list[dict[str, Any] | None] = []
        self._known: set[ItemId] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item: object) -> bool:
        return item in self._known

    def __repr__(self) -> str:
        return f"Gallery({len(self)} items{f', slots {self.slots}' if self._batches else ''})"

    @property
    def ids(self) -> tuple[ItemId, ...]:
        """The items' ids in their order."""
        return tuple(self._ids)

    @property
    def camids(self) -> tuple[int | None, ...]:
        """The items' cameras, None where unknown."""
        return tuple(self._camids)

    @property
    def metadata(self) -> tuple[Mapping[str, Any] | None, ...]:
        """What was stored beside each item."""
        return tuple(self._metadata)

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots' names; empty before anything was added."""
        return self._batches[0].slots if self._batches else ()

    @property
    def engine(self) -> Literal["int8", "plain"] | None:
        """How the latest search ran; None before the first."""
        return self._ran

    @property
    def embeddings(self) -> PartEmbeddings:
        """All items' embeddings, in their order.

        Raises:
            DataError: nothing was added yet.
        """
        if not self._batches:
            raise DataError("The gallery is empty. Add embeddings first: gallery.add(embeddings, ids).")
        if len(self._batches) > 1:
            self._batches = [PartEmbeddings.cat(self._batches)]
        return self._batches[0]

    def add(
        self,
        embeddings: PartEmbeddings,
        ids: Sequence[ItemId],
        *,
        camids: Sequence[int] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Append items. Nothing is added where anything is wrong.

        Args:
            embeddings: [B, S, D], of the slots, width, type and device of those already here.
            ids: B names or numbers, each new to the gallery.
            camids: B cameras, where known.
            metadata: B mappings of what JSON can hold (a file's name, a time stamp), or None.

        Raises:
            DataError: an id is already here or given twice, or is neither text nor a number.
            ShapeError: lengths, slots or widths differ, or a value is NaN.
        """
        for name, values in (("ids", ids), ("camids", camids), ("metadata", metadata)):
            if values is not None and (isinstance(values, str) or len(values) != len(embeddings)):
                raise ShapeError(f"{name} must hold {len(embeddings)} values, one per picture, got {values!r:.80}.")
        new = list(ids)
        self._check_new(new)
        stored = embeddings.detach().validate()
        if self._batches:
            first = self._batches[0]
            check_comparable(first, stored)
            stored = stored.to(first.vectors.device, first.vectors.dtype)
        self._batches.append(stored)
        self._ids += new
        self._known.update(new)
        self._camids += [None] * len(new) if camids is None else [int(c) for c in camids]
        self._metadata += [None] * len(new) if metadata is None else [None if m is None else dict(m) for m in metadata]

    def remove(self, ids: Sequence[ItemId]) -> None:
        """Take items out; those after them move up.

        Raises:
            DataError: an id is not here; nothing is removed then.
        """
        if isinstance(ids, str):
            raise ShapeError(f"Expected a list of ids, got the text {ids!r}. Write [{ids!r}].")
        gone = set(ids)
        if missing := gone - self._known:
            raise DataError(f"Not in the gallery of {len(self)} items: {_some(missing)}. Nothing was removed.")
        keep = [i for i, item in enumerate(self._ids) if item not in gone]
        if gone:
            self._batches = [self.embeddings[keep]]
            self._codes.clear()
        self._ids = [self._ids[i] for i in keep]
        self._camids = [self._camids[i] for i in keep]
        self._metadata = [self._metadata[i] for i in keep]
        self._known -= gone

    @torch.no_grad()
    def search(
        self,
        query: PartEmbeddings,
        k: int = 10,
        *,
        matching: MatchingConfig | None = None,
        cameras: Sequence[int] | None = None,
        memory_budget: int = MEMORY_BUDGET,
    ) -> SearchResult:
        """The ``k`` nearest items of each query, nearest first; equal distances keep the items' order.

        Args:
            query: [Q, S, D], from the same model as the gallery.
            k: how many, at most the number of items searched.
            matching: how to compare; the paper's Eq. 9 where None.
            cameras: only items of these cameras; all where None.
            memory_budget: bytes to work in, beside gallery and result.

        Returns:
            [Q, k] positions in :attr:`ids`, on the gallery's device. Items that share no visible slot with the query
            have an infinite distance, ``comparable = False``, and rank last.

        Raises:
            ShapeError: ``k`` is below 1, or the query's slots or width differ.
            DataError: the gallery is empty, or holds no item of these cameras.
        """
        if k < 1:
            raise ShapeError(f"k is at least 1, got {k}.")
        matching = matching or MatchingConfig()
        check_comparable(self.embeddings, query)
        searched = self._positions(cameras)
        device = self.embeddings.vectors.device
        query = query.to(device)
        large = self._wanted == "auto" and len(searched) >= CODES_FROM and can_run()
        found = None
        if device.type == "cpu" and (large or self._wanted == "int8"):
            found = self._through_codes(query, min(k, len(searched)), matching, searched, memory_budget)
        self._ran = "plain" if found is None else "int8"
        if found is not None:
            return found
        gallery = matching.prepare(self.embeddings if cameras is None else self.embeddings[searched])
        asked = matching.prepare(query)
        step = max(1, memory_budget // (2 * _SORTED_BYTES * len(gallery)))
        parts = [
            _nearest(asked[i : i + step], gallery, k, matching, memory_budget)
            for i in range(0, max(1, len(asked)), step)
        ]
        indices, distances, slots = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return SearchResult(searched[indices], distances, torch.isfinite(distances), slots)

    def _through_codes(
        self, query: PartEmbeddings, k: int, matching: MatchingConfig, searched: torch.Tensor, memory_budget: int
    ) -> SearchResult | None:
        """The result by way of codes; None where these cannot be used."""
        items = self.embeddings
        some = None
        if len(searched) < len(items):
            some = np.zeros(len(items), bool)
            some[searched.numpy()] = True
        pairs = self._codes.nearest(query, items, k, matching=matching, searched=some, memory_budget=memory_budget)
        if pairs is None:
            return None
        indices, distances = map(torch.from_numpy, pairs.table(len(query), searched.numpy(), k))
        asked = matching.prepare(query)
        step = max(1, min(memory_budget // 8, _CACHED) // (4 * k * asked.width * len(asked.slots)))
        slots = [torch.empty(0, k, len(asked.slots), dtype=distances.dtype)]
        for start in range(0, len(query), step):
            some_indices = indices[start : start + step]
            slots.append(
                pairwise_slot_distances(
                    asked[start : start + step],
                    matching.prepare(items[some_indices.reshape(-1)]),
                    torch.arange(some_indices.numel()).view(some_indices.shape),
                    normalize=matching.normalize,
                    visibility=matching.visibility,
                )
            )
        return SearchResult(indices, distances, torch.isfinite(distances), torch.cat(slots))

    def save(self, folder: str | Path) -> None:
        """Write the gallery to a folder, replacing the one there in a single step.

        A crash or a full disk at any moment leaves the folder as it was.

        Raises:
            DataError: the gallery is empty, or metadata holds something that JSON cannot, or the disk is full or not
                writable.
        """
        write_gallery(
            Path(folder), StoredGallery(self.embeddings, tuple(self._ids), tuple(self._camids), tuple(self._metadata))
        )

    @classmethod
    def open(cls, folder: str | Path) -> Gallery:
        """Read a saved gallery.

        Raises:
            DataError: the folder is missing or holds no gallery, a file is damaged or cut short, or the format is newer
                than this version reads.
        """
        stored = read_gallery(Path(folder))
        gallery = cls()
        gallery._check_new(list(stored.ids))
        gallery._batches = [stored.embeddings]
        gallery._ids, gallery._camids = list(stored.ids), list(stored.camids)
        gallery._metadata, gallery._known = list(stored.metadata), set(stored.ids)
        return gallery

    def _check_new(self, ids: list[ItemId]) -> None:
        for item in ids:
            if isinstance(item, bool) or not isinstance(item, str | int):
                raise DataError(f"An id is text or a whole number, got {item!r} of type {type(item).__name__}.")
        if known := self._known.intersection(ids):
            raise DataError(f"Already in the gallery: {_some(known)}. Remove the old item first, or use another id.")
        if len(set(ids)) < len(ids):
            twice = {item for item in ids if ids.count(item) > 1}
            raise DataError(f"Each id may be given once; given more often: {_some(twice)}.")

    def _positions(self, cameras: Sequence[int] | None) -> torch.Tensor:
        wanted = None if cameras is None else set(cameras)
        device = self.embeddings.vectors.device
        if wanted is None:
            positions = torch.arange(len(self), device=device)
        else:
            positions = torch.tensor([i for i, c in enumerate(self._camids) if c in wanted], device=device)
        if not len(positions):
            seen = sorted({c for c in self._camids if c is not None})
            raise DataError(
                f"No item to search: the gallery holds {len(self)} items"
                + ("." if wanted is None else f" of cameras {seen or '(unknown)'}, asked for {sorted(wanted)}.")
            )
        return positions


def _nearest(
    query: PartEmbeddings, gallery: PartEmbeddings, k: int, matching: MatchingConfig, memory_budget: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Indices, distances and slot distances of the nearest items to a few prepared queries."""
    rule, budget = matching.visibility, max(1, memory_budget // 2)
    distances = part_distances(query, gallery, normalize=matching.normalize, visibility=rule, memory_budget=budget)
    # A stable sort, not topk: equal distances (infinity above all) must keep the items' order.
    values, order = torch.sort(distances, dim=1, stable=True)
    nearest = order[:, :k].contiguous()
    slots = pairwise_slot_distances(
        query, gallery, nearest, normalize=matching.normalize, visibility=rule, memory_budget=budget
    )
    return nearest, values[:, :k].contiguous(), slots


def _some(ids: set[ItemId]) -> str:
    """Up to five ids for a message."""
    listed = sorted(ids, key=str)
    return ", ".join(repr(item) for item in listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
