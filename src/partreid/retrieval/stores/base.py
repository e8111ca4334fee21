"""What a gallery asks of the store that keeps it. All stores pass the same tests (tests/retrieval/stores/)."""

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
"""Of what stores keep; 1 was one file for all vectors. Another one is refused."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, repr=False)
class GalleryHeader(Guided):
    """What all items of a gallery have in common: set by the first. What is not known then of its model is set once, by
    the first embeddings that say it.

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
            DataError: they are not like the gallery's, which were there first.
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
        """Whether nothing of it can change any more."""
        return bool(self.model) and self.compare_normalized is not None

    @property
    def example(self) -> PartEmbeddings:
        """Embeddings of no image: what ``check_comparable`` compares others with."""
        return self.embeddings(torch.empty(0, len(self.slots), self.width), torch.empty(0, len(self.slots)))

    def embeddings(self, vectors: Tensor, visibility: Tensor) -> PartEmbeddings:
        """Items' vectors [N, S, D] and visibilities [N, S] as embeddings of this gallery."""
        return PartEmbeddings(
            vectors, visibility, self.slots, self.model, self.compare_normalized, self.compare_weights
        )


@dataclass(frozen=True, repr=False)
class SearchRule(Guided):
    """How to search: the ``k`` nearest by ``matching``, which leaves nothing open, of the items that ``where`` keeps,
    in ``memory_budget`` bytes."""

    k: int
    matching: MatchingConfig
    where: Filter
    memory_budget: int = MEMORY_BUDGET


@dataclass(frozen=True)
class AskedSlot:
    """A visible slot of a query: its name, its place among the gallery's, what the query brings to its weight, the
    limit above which an item's visibility counts as 1 (None = as it is), and the vector."""

    name: str
    place: int
    weight: float
    limit: float | None
    vector: list[float]

    @classmethod
    def of(cls, query: PartEmbeddings, matching: MatchingConfig, header: GalleryHeader) -> list[AskedSlot]:
        """Those of a query [1, S, D] that is prepared for matching."""
        limits = matching.visibility_threshold
        weights = query_weights(query.visibility.float(), matching.visibility, query.slots, matching.weights or {})[0]
        asked = []
        for name, weight, vector in zip(query.slots, weights.tolist(), query.vectors[0].float(), strict=True):
            limit = limits.get(name) if isinstance(limits, dict) else limits
            if weight > 0:
                # As single precision, which the visibilities have: see MatchingConfig.prepare.
                limit = None if limit is None else float(np.float32(limit))
                asked.append(cls(name, header.slots.index(name), weight, limit, vector.tolist()))
        return asked


@dataclass(frozen=True, eq=False, repr=False)
class Candidates(Guided):
    """Pairs of a query and an item, among them the k nearest of each query.

    Attributes:
        records: R items, each once. query: [P] int64 of each pair. record: [P] int64 its item's place in ``records``.
        distances: [P] of each pair by :func:`~partreid.functional.distance.paired_distances`, where the store knows
            them; None = they are computed from ``records``.
    """

    records: GalleryRecords
    query: np.ndarray
    record: np.ndarray
    distances: np.ndarray | None = None


class GalleryStore(Protocol):
    """Keeps items and finds the near ones. Nothing here is checked twice: :class:`~partreid.retrieval.Gallery` sees to
    valid arguments, and ranks what is found by exact distance.

    Each call answers from one state of the gallery, and all calls inside :meth:`read` from the same one. Threads may
    share a store.

    Attributes:
        location: where it is, as ``Gallery.open`` takes it.

    Raises:
        DataError: from any method: the store cannot be reached, read or written, or is damaged.
    """

    location: str

    @property
    def dtype(self) -> torch.dtype | None:
        """Floating type in which vectors are kept; None = as they come.

        Those given to :meth:`write` have it, lie on the CPU, and are finite.
        """

    def read(self, answer: Callable[[], Answer]) -> Answer:
        """What ``answer`` returns: all that it reads of this store is of one state, whoever writes meanwhile.

        Args:
            answer: reads, and does not write. It may be called again, where its first state was removed meanwhile.
        """

    def header(self) -> GalleryHeader | None:
        """What the items have in common; None before the first."""

    def count(self, where: Filter) -> int:
        """Number of items."""

    def cameras(self, where: Filter) -> list[CameraSummary]:
        """The items of each camera, in any order."""

    def write(self, records: GalleryRecords, *, replace: bool) -> None:
        """Add items, all or none; kept for good once this returns.

        Args:
            records: at least one, of different ids, with the header's slots and width where there is one.
            replace: whether an item with the id of another takes its place; else that is an error.

        Raises:
            DataError: an id is there already (:func:`taken` makes the message), or another process began a gallery
                with another header.
        """

    def delete(self, where: Filter) -> int:
        """Remove items for good; how many there were."""

    def fetch(self, where: Filter, *, limit: int) -> GalleryRecords:
        """The first items by id, at most ``limit``. Not called before the first item was written."""

    def walk(self, where: Filter, *, size: int) -> Iterator[GalleryRecords]:
        """All items in the order of their ids, ``size`` or fewer at a time, none more than once: of the state that the
        first page is of, though others, or whoever walks, write meanwhile."""

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        """Every item that is among the k nearest comparable ones of some query, ties of the k-th included, and any
        others; each pair once.

        Args:
            query: [Q, S, D] on the CPU, with the header's slots and width; not called before the first item was
                written.

        Raises:
            ConfigError: the store cannot compare by this matching rule.
        """

    def verify(self) -> list[str]:
        """Read and check everything there is; a sentence for each problem."""

    def close(self) -> None:
        """Let go of files and connections; the store is not used any more."""


@runtime_checkable
class CompactableStore(Protocol):
    """A store that can remove what was deleted for good."""

    def compact(self) -> tuple[str, ...]:
        """Write what is kept again without what was deleted, so that nothing of it stays, as far as that can be
        promised; it can be repeated with no harm.

        Returns:
            Where something may be left for all that; the words complete "Not covered: ".
        """


@runtime_checkable
class OverwritableStore(Protocol):
    """A store that can put other items, also of another model, in the place of all."""

    def overwrite(self, records: Callable[[], Iterable[GalleryRecords]]) -> None:
        """Put other items in the place of all, in one step: readers see all of the former ones or all of the new ones.

        Args:
            records: gives at least one item, each once, as :meth:`GalleryStore.write` takes them; slots, width and
                model become those of the first. It is called, and gone through, while nobody else can write, and may
                read this gallery: what it held before.
        """


def reach(width: int, *, normalize: bool) -> tuple[float, float]:
    """A factor and an addend: what is among the k nearest by the gallery's own distances lies, by those of a server
    that computes in single precision too, within its k-th distance times the factor plus the addend.

    Either sums D squares: a distance is off by less than h = (D + 3)·2^-25 of itself, and a few 2^-24 for weights. What
    is nearer one way than k others is, the other way, nearer than the k-th times ((1 + h) / (1 - h))², below
    1 + 2^-12 + 4h. Lengths that vectors are divided by are off by less than h too, on either side.
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
    """A text of :func:`~partreid.retrieval.filters.tags` for an index of a server, which holds no long ones."""
    return tag if len(tag) <= LONGEST_ID else f"sha256:{sha256(tag.encode()).hexdigest()}"


def pages(page: Callable[[str], GalleryRecords]) -> Iterator[GalleryRecords]:
    """Pages until one is empty, each asked for by the last id of the one before, the first by ""."""
    after = ""
    while len(records := page(after)):
        yield records
        after = records.items[-1].id


def first_header(several: Iterable[GalleryRecords]) -> tuple[GalleryHeader, Iterator[GalleryRecords]]:
    """The header of a gallery that begins with these records, and all of them.

    Raises:
        DataError: there is none, or they are not alike.
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
    """DataError where a gallery on a server has another format than is read here."""
    if version != FORMAT_VERSION:
        raise DataError(
            f"{location} has format version {version}; this partreid reads {FORMAT_VERSION}. "
            "Use the partreid that made it, or make a new gallery."
        )


def check_model(location: str, made_by: str, model: str) -> None:
    """DataError where a gallery was made by another model than that of these fingerprints; "" is unknown."""
    if made_by not in ("", model):
        raise DataError(
            f"The gallery in {location} was made by another model: expected the fingerprint {named_model(made_by)}, "
            f"got {named_model(model)}. Open it with the model, image size, mirror choice and adaptation that it was "
            "made with, or make a new gallery."
        )


def taken(ids: list[str]) -> str:
    """What to say of ids that are in the gallery already."""
    some = ", ".join(repr(item) for item in sorted(ids)[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    return f"Already in the gallery: {some}. Nothing was added. Replace with upsert, or use other ids."


def check_rule(matching: MatchingConfig, store: str) -> None:
    """ConfigError where a server, which weighs slots itself and keeps visible ones only, lacks the visibility rule."""
    if matching.visibility not in ("product", "geometric"):
        raise ConfigError(
            f"{store} weighs slots itself, and keeps no vectors of invisible ones: visibility={matching.visibility!r} "
            'cannot be had. Match by "product" or "geometric", or copy the items into a gallery in a folder.'
        )
