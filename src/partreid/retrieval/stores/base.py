"""The interface of a gallery's store. All stores pass the same tests (tests/retrieval/stores/)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import numpy as np

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.functional.distance import MEMORY_BUDGET
from partreid.functional.visibility import query_weights
from partreid.lazy import torch
from partreid.models.shipped import named_model
from partreid.objects import Guided
from partreid.retrieval.filters import Filter
from partreid.retrieval.matching import MatchingConfig
from partreid.types import PartEmbeddings
from partreid.types.gallery import LONGEST_ID, CameraSummary, GalleryRecords
from partreid.types.slot_weights import SlotWeights
from partreid.types.tensors import check_comparable

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 2
"""Version of the stored format; another version is refused. Version 1 was one file for all vectors."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, repr=False)
class GalleryHeader(Guided):
    """The properties that all items of a gallery share. The first items set them. Properties of the model that are then
    unknown are set later, once, by the first embeddings that know them.

    Attributes:
        slots: names of the slots. width: D. model: fingerprint of the extractor, "" = unknown.
        compare_normalized: as of ``PartEmbeddings``; None in galleries of former versions, too.
        compare_weights: as of ``PartEmbeddings``; none in galleries of former versions.
    """

    slots: tuple[str, ...]
    width: int
    model: str = ""
    compare_normalized: bool | None = None
    compare_weights: SlotWeights = field(default_factory=dict)

    @classmethod
    def of(cls, embeddings: PartEmbeddings) -> GalleryHeader:
        """The header of a gallery that begins with these embeddings."""
        return cls(
            embeddings.slots,
            embeddings.width,
            embeddings.model,
            embeddings.compare_normalized,
            dict(embeddings.compare_weights),
        )

    def bound_to(self, embeddings: PartEmbeddings, location: str) -> GalleryHeader:
        """The header once these embeddings are in the gallery at ``location``.

        Raises:
            DataError: they do not fit the embeddings that are in the gallery already.
        """
        try:
            check_comparable(self.example, embeddings)
        except ShapeError as error:
            raise DataError(f"Another process or thread began the gallery {location} differently. {error}") from None
        known = self.compare_normalized
        known = embeddings.compare_normalized if known is None else known
        return replace(
            self,
            model=self.model or embeddings.model,
            compare_normalized=known,
            compare_weights=self.compare_weights or dict(embeddings.compare_weights),
        )

    @property
    def settled(self) -> bool:
        """Whether everything is known, so that the header cannot change any more."""
        return bool(self.model) and self.compare_normalized is not None

    @property
    def example(self) -> PartEmbeddings:
        """Embeddings of no image, with which ``check_comparable`` compares others."""
        return self.embeddings(torch.empty(0, len(self.slots), self.width), torch.empty(0, len(self.slots)))

    def embeddings(self, vectors: Tensor, visibility: Tensor) -> PartEmbeddings:
        """Items' vectors [N, S, D] and visibilities [N, S] as embeddings of this gallery."""
        return PartEmbeddings(
            vectors, visibility, self.slots, self.model, self.compare_normalized, self.compare_weights
        )


@dataclass(frozen=True, repr=False)
class SearchRule(Guided):
    """How to search: for the ``k`` nearest by ``matching``, a complete rule, among the items that ``where`` keeps, in
    ``memory_budget`` bytes."""

    k: int
    matching: MatchingConfig
    where: Filter
    memory_budget: int = MEMORY_BUDGET


@dataclass(frozen=True)
class AskedSlot:
    """A visible slot of a query: its name, its place among the gallery's slots, the query's factor of its weight, the
    limit above which an item's visibility counts as 1 (None = as it is), and the vector."""

    name: str
    place: int
    weight: float
    limit: float | None
    vector: list[float]

    @classmethod
    def of(cls, query: PartEmbeddings, matching: MatchingConfig, header: GalleryHeader) -> list[AskedSlot]:
        """The visible slots of a query [1, S, D] that is prepared for matching."""
        limits = matching.visibility_threshold
        weights = query_weights(query.visibility.float(), matching.visibility, query.slots, matching.weights or {})[0]
        asked = []
        for name, weight, vector in zip(query.slots, weights.tolist(), query.vectors[0].float(), strict=True):
            limit = limits.get(name) if isinstance(limits, dict) else limits
            if weight > 0:
                # In single precision, like the visibilities: see MatchingConfig.prepare.
                limit = None if limit is None else float(np.float32(limit))
                asked.append(cls(name, header.slots.index(name), weight, limit, vector.tolist()))
        return asked


@dataclass(frozen=True, eq=False, repr=False)
class Candidates(Guided):
    """P pairs of a query and an item. They contain the k nearest items of each query, and may contain others.

    Attributes:
        records: R items, each once. query: [P] int64, each pair's query. record: [P] int64, its item in ``records``.
        distances: [P] by :func:`~partreid.functional.distance.paired_distances`. None = the store does not know them,
            and they are computed from ``records``.
    """

    records: GalleryRecords
    query: np.ndarray
    record: np.ndarray
    distances: np.ndarray | None = None


class GalleryStore(Protocol):
    """Keeps items and finds the nearest ones. A store need not check its arguments, because
    :class:`~partreid.retrieval.Gallery` does. The gallery also ranks the candidates by exact distance.

    Each call answers from one state of the gallery. All calls inside :meth:`read` answer from the same state. Threads
    may share a store.

    Attributes:
        location: of the gallery, in the form that ``Gallery.open`` takes.

    Raises:
        DataError: from any method: the store cannot be reached, read or written, or is damaged.
    """

    location: str

    @property
    def dtype(self) -> torch.dtype | None:
        """Floating-point type in which vectors are kept; None = as they are given.

        Vectors given to :meth:`write` have this type, are on the CPU, and are finite.
        """

    def read(self, answer: Callable[[], Answer]) -> Answer:
        """Return the result of ``answer``. It reads this store in one state, even if others write meanwhile.

        Args:
            answer: reads, and does not write. It may be called again if the state that it read was removed meanwhile.
        """

    def header(self) -> GalleryHeader | None:
        """The properties that all items share; None before the first item."""

    def count(self, where: Filter) -> int:
        """Number of items that meet a filter."""

    def cameras(self, where: Filter) -> list[CameraSummary]:
        """The items of each camera, in any order."""

    def write(self, records: GalleryRecords, *, replace: bool) -> None:
        """Add all items, or none. They are stored for good when this returns.

        Args:
            records: at least one, all with different ids, and with the header's slots and width if there is a header.
            replace: whether an item replaces another one with the same id. Otherwise a known id is an error.

        Raises:
            DataError: an id is there already (:func:`taken` makes the message), or another process began the gallery
                with another header.
        """

    def delete(self, where: Filter) -> int:
        """Remove the items that meet a filter, and return their number."""

    def fetch(self, where: Filter, *, limit: int) -> GalleryRecords:
        """The first items by id, at most ``limit``. It is not called before the first item was written."""

    def walk(self, where: Filter, *, size: int) -> Iterator[GalleryRecords]:
        """All items in the order of their ids, each once, at most ``size`` at a time. All pages show the state of the
        first page, even if others or the caller write meanwhile."""

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        """For each query at least its k nearest comparable items and all ties with the k-th. More pairs are allowed;
        each pair occurs once. It is not called before the first item was written.

        Args:
            query: [Q, S, D] on the CPU, with the header's slots and width.

        Raises:
            ConfigError: the store cannot compare by this matching rule.
        """

    def verify(self) -> list[str]:
        """Read and check everything. Returns a sentence for each problem."""

    def close(self) -> None:
        """Close files and connections. The store is not used afterwards."""


@runtime_checkable
class CompactableStore(Protocol):
    """A store that can remove every trace of deleted items."""

    def compact(self) -> tuple[str, ...]:
        """Write the remaining items again, so that nothing of deleted items stays, as far as that can be promised.
        Repeating it does no harm.

        Returns:
            The places where something may be left nevertheless. The words complete "Not covered: ".
        """


@runtime_checkable
class OverwritableStore(Protocol):
    """A store that can replace all its items in one step, also by items of another model."""

    def overwrite(self, records: Callable[[], Iterable[GalleryRecords]]) -> None:
        """Replace all items in one step: readers see all former items or all new ones.

        Args:
            records: returns at least one item, each once, in the form that :meth:`GalleryStore.write` takes. The first
                decides slots, width and model. While it runs, nobody else can write. It may read this gallery, and
                then sees the former items.
        """


def reach(width: int, *, normalize: bool) -> tuple[float, float]:
    """A factor and an addend that make a server's k-th distance a safe limit. All of the k nearest items by the
    gallery's own distances lie, by the server's distances, within k-th distance · factor + addend.

    Both sides compute in single precision and sum D squares. So each distance is off by less than the fraction
    h = (D + 3)·2^-25, plus a few 2^-24 for weights. An item among the k nearest on one side is therefore, on the other
    side, nearer than the k-th times ((1 + h) / (1 - h))², which is below 1 + 2^-12 + 4h. The lengths by which vectors
    are divided are also off by less than h on each side.
    """
    room = (width + 3) * 2.0**-23
    return 1 + 2.0**-12 + room, 2e-6 + (room if normalize else 0)


def by_camera(items: Iterable[tuple[str | None, datetime | None]]) -> list[CameraSummary]:
    """Summaries of items given as (camera, time), for stores that cannot make them."""
    counts: Counter[str | None] = Counter()
    first: dict[str | None, datetime] = {}
    last: dict[str | None, datetime] = {}
    for camera, time in items:
        counts[camera] += 1
        if time is not None:
            first[camera] = min(time, first.get(camera, time))
            last[camera] = max(time, last.get(camera, time))
    return [CameraSummary(name, count, first.get(name), last.get(name)) for name, count in counts.items()]


def as_keyword(tag: str) -> str:
    """A text of :func:`~partreid.retrieval.filters.tags` for a server's index, which cannot hold long ones: hashed."""
    return tag if len(tag) <= LONGEST_ID else f"sha256:{sha256(tag.encode()).hexdigest()}"


def pages(page: Callable[[str], GalleryRecords]) -> Iterator[GalleryRecords]:
    """All pages until one is empty. Each is asked for by the last id of the page before, the first one by ""."""
    after = ""
    while len(records := page(after)):
        yield records
        after = records.items[-1].id


def first_header(several: Iterable[GalleryRecords]) -> tuple[GalleryHeader, Iterator[GalleryRecords]]:
    """The header of a gallery that begins with these records, and an iterator over all of them.

    Raises:
        DataError: there is no record, or they differ in slots, width or model.
    """
    rest = (records for records in several if len(records))
    first = next(rest, None)
    if first is None:
        raise DataError("Expected at least one item to put in the place of all, got none.")
    header = GalleryHeader.of(first.embeddings)

    def checked() -> Iterator[GalleryRecords]:
        yield first
        for records in rest:
            check_comparable(header.example, records.embeddings)
            yield records

    return header, checked()


def check_version(location: str, version: object) -> None:
    """Raise a DataError if a gallery on a server has another format version than this code reads."""
    if version != FORMAT_VERSION:
        raise DataError(
            f"{location} has format version {version}; this partreid reads {FORMAT_VERSION}. "
            "Use the partreid that made it, or make a new gallery."
        )


def check_model(location: str, made_by: str, model: str) -> None:
    """Raise a DataError if a gallery was made by another model. The arguments are fingerprints; "" is unknown."""
    if made_by not in ("", model):
        raise DataError(
            f"The gallery in {location} was made by another model: expected the fingerprint {named_model(made_by)}, "
            f"got {named_model(model)}. Open it with the model, image size, mirror choice and adaptation that it was "
            "made with, or embed its items with this one: partreid gallery re-embed."
        )


def taken(ids: list[str]) -> str:
    """The message about ids that are in the gallery already."""
    some = ", ".join(repr(item) for item in sorted(ids)[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    return f"Already in the gallery: {some}. Nothing was added. Replace with upsert, or use other ids."


def check_rule(matching: MatchingConfig, store: str) -> None:
    """Raise a ConfigError if a server, which keeps only visible slots, cannot compute this visibility rule."""
    if matching.visibility not in ("product", "geometric"):
        raise ConfigError(
            f"{store} keeps no vectors of invisible slots, so it cannot compare by visibility={matching.visibility!r}. "
            'Match by "product" or "geometric", or copy the items into a gallery in a folder.'
        )
