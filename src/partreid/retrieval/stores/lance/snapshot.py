"""A gallery on disk as it was at one acknowledged write."""

from __future__ import annotations

import bisect
import functools
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from partreid.errors import DataError
from partreid.lazy import torch
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.codes import SlotCodes
from partreid.retrieval.stores.base import GalleryHeader
from partreid.retrieval.stores.lance import lance, lance_errors
from partreid.retrieval.stores.lance.fragment import Fragment
from partreid.retrieval.stores.lance.head import FragmentEntry, Head, check_size, damaged
from partreid.retrieval.stores.lance.rows import NO_TIME, as_moment
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryRecords

if TYPE_CHECKING:
    from torch import Tensor


class Snapshot:
    """N rows, deleted ones included.

    A row's position counts through all fragments in their order. Embeddings are read from the disk and checked each
    time they are asked for. Everything else in a row is read when it is first needed, and then kept.

    Args:
        folder: the gallery's. head: the content of its ``gallery.json``.
        former: the snapshot before this one. Its unchanged parts are used again.

    Raises:
        DataError: a file is missing, has another size, or is damaged.
    """

    def __init__(self, folder: Path, head: Head, former: Snapshot | None = None) -> None:
        self.folder, self.head = folder, head
        # Fragments know their model, so they are only used again under the same header.
        alike = former is not None and former.head.header == head.header
        known = {f.path.name: f for f in former.fragments} if former is not None and alike else {}
        live = {} if former is None else dict(zip(former.head.fragments, former.live, strict=True))
        self.fragments: list[Fragment] = []
        self.live: list[np.ndarray] = []
        """[rows] bool of each fragment: which are not deleted."""
        if head.manifest is not None:
            head.manifest.check(folder)
        for entry in head.fragments:
            fragment = known.get(entry.file)
            if fragment is None:
                check_size(folder / "data" / entry.file, entry.size)
                fragment = Fragment(folder, entry, self.header)
            self.fragments.append(fragment)
            rows = live.get(entry)
            self.live.append(self._undeleted(entry) if rows is None else rows)
        self._ends = np.cumsum([len(f) for f in self.fragments], dtype=np.int64)
        self._mask: tuple[Filter, np.ndarray] | None = None

    @property
    def header(self) -> GalleryHeader:
        assert self.head.header is not None
        return self.head.header

    @property
    def slots(self) -> tuple[str, ...]:
        return self.header.slots

    @property
    def width(self) -> int:
        return self.header.width

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.fragments else 0

    @functools.cached_property
    def visibility(self) -> Tensor:
        none = np.empty((0, len(self.slots)), np.float32)
        return torch.from_numpy(np.concatenate([none, *(f.columns.visibility for f in self.fragments)]))

    def __getitem__(self, index: slice | Tensor, /) -> PartEmbeddings:
        """Embeddings at these positions, read from the disk."""
        positions = np.arange(len(self))[index] if isinstance(index, slice) else index.numpy()
        places, back = np.unique(positions, return_inverse=True)
        found = [fragment.embeddings(rows) for fragment, rows in self._rows(places)]
        embeddings = PartEmbeddings.cat(found or [self.header.example])
        return embeddings if np.array_equal(places, positions) else embeddings[back]

    def records(self, positions: np.ndarray) -> GalleryRecords:
        found = [fragment.records(rows) for fragment, rows in self._rows(positions)]
        return GalleryRecords.cat(found or [GalleryRecords((), self.header.example)])

    def codes(self, *, unseen: bool) -> list[SlotCodes]:
        return [fragment.codes(unseen=unseen) for fragment in self.fragments]

    def mask(self, where: Filter) -> np.ndarray:
        """[N] bool: which rows are not deleted and meet a filter."""
        if where == Filter():
            return self._live
        if self._mask is None or self._mask[0] != where:
            parts = [f.columns.mask(where) for f in self.fragments]
            self._mask = (where, self._live & np.concatenate([np.empty(0, bool), *parts]))
        return self._mask[1]

    def count(self, where: Filter) -> int:
        return self.head.count if where == Filter() else int(self.mask(where).sum())

    def cameras(self, where: Filter) -> list[CameraSummary]:
        kept = self.mask(where)
        names = pa.chunked_array([f.columns.cameras for f in self.fragments], pa.string()).filter(pa.array(kept))
        times = np.concatenate([np.empty(0, np.int64), *(f.columns.times for f in self.fragments)])[kept]
        table = pa.table({"camera": names, "time": pa.array(times, mask=times == NO_TIME)}).group_by("camera")
        found = table.aggregate([([], "count_all"), ("time", "min"), ("time", "max")]).to_pylist()
        return [
            CameraSummary(row["camera"], row["count_all"], as_moment(row["time_min"]), as_moment(row["time_max"]))
            for row in found
        ]

    def by_fragment(self, mask: np.ndarray) -> list[np.ndarray]:
        """A mask of positions as ascending rows of each fragment."""
        return [part.nonzero()[0] for part in np.split(mask, self._ends[:-1])] if self.fragments else []

    def first_by_id(self, where: Filter, *, limit: int, after: str = "") -> GalleryRecords:
        """The first ``limit`` items, in the order of ids, that meet a filter and follow the id ``after``."""
        behind = self._order[bisect.bisect_right(self._order, after, key=self._id) :]
        found = behind[self.mask(where)[behind]][:limit]
        positions = np.sort(found)
        return self.records(positions)[np.searchsorted(positions, found)]

    def hold(self) -> None:
        """Ask writers to keep this version's files for a while longer. A read-only folder is left as it is."""
        with suppress(OSError):
            for file in self.head.files:
                os.utime(self.folder / file)

    def check(self) -> list[str]:
        """Read and check everything. Returns a sentence for each problem."""
        problems = []
        for entry in self.head.fragments:
            problems += Fragment(self.folder, entry, self.header).check()
        for file in self.head.small_files:
            try:
                file.check(self.folder)
            except DataError as error:
                problems.append(str(error))
        if not problems and self.head.header is not None:
            ids = self._ids.filter(pa.array(self._live))
            with lance_errors(self.folder):
                rows = self.dataset().count_rows()
            if len(ids.unique()) != len(ids):
                problems.append(f"{self.folder} holds {len(ids) - len(ids.unique())} items with the id of another.")
            if rows != self.head.count:
                problems.append(f"The Lance dataset in {self.folder} has {rows} rows, not {self.head.count}.")
        return problems

    @functools.cached_property
    def _order(self) -> np.ndarray:
        """Positions of all items in the order of their ids."""
        order: np.ndarray = pc.sort_indices(self._ids).to_numpy().astype(np.int64)  # UTF-8 has the order of code points
        live: np.ndarray = order[self._live[order]]
        return live

    @property
    def _ids(self) -> pa.ChunkedArray:
        return pa.chunked_array([f.columns.ids for f in self.fragments], pa.string())

    @functools.cached_property
    def _live(self) -> np.ndarray:
        """[N] bool: which rows are not deleted."""
        return np.concatenate([np.empty(0, bool), *self.live])

    def _id(self, position: np.int64) -> str:
        ((fragment, rows),) = self._rows(np.array([position]))
        return str(fragment.columns.ids[int(rows[0])].as_py())

    def _rows(self, positions: np.ndarray) -> Iterator[tuple[Fragment, np.ndarray]]:
        """Fragments with their rows at these ascending positions."""
        cuts = np.searchsorted(positions, self._ends)
        for fragment, end, first, last in zip(self.fragments, self._ends, [0, *cuts], cuts, strict=False):
            if first < last:
                yield fragment, positions[first:last] - (end - len(fragment))

    def _undeleted(self, entry: FragmentEntry) -> np.ndarray:
        """[rows] bool: which are not in the fragment's deletion file."""
        rows = np.ones(entry.rows, bool)
        if entry.deletions is not None:
            entry.deletions.check(self.folder)
            with lance_errors(self.folder / entry.deletions.file):
                fragment = self.dataset().get_fragment(entry.id)
                found = fragment.scanner(columns=[], with_row_address=True).to_table()["_rowaddr"].to_numpy()
            rows[:] = False
            rows[(found & np.uint64(2**32 - 1)).astype(np.int64)] = True
            if int(rows.sum()) != entry.count:
                raise damaged(
                    self.folder / entry.deletions.file, f"it leaves {int(rows.sum())} rows, not {entry.count}"
                )
        return rows

    def dataset(self) -> lance.LanceDataset:
        with lance_errors(self.folder):
            return lance.dataset(str(self.folder), version=self.head.version)
