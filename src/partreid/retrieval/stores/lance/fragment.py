"""One data file of a Lance dataset, which never changes: its rows, checked whenever they are read."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from partreid.errors import DataError
from partreid.lazy import torch
from partreid.retrieval.search.codes import SlotCodes, load_codes, save_codes
from partreid.retrieval.stores.base import GalleryHeader
from partreid.retrieval.stores.lance import lance, lance_errors
from partreid.retrieval.stores.lance.head import FragmentEntry, crc_of, damaged
from partreid.retrieval.stores.lance.rows import BATCH, LIGHT, Columns, checks_of_vectors
from partreid.types import PartEmbeddings
from partreid.types.gallery import GalleryRecords

CODES = "codes"
"""Folder of cached codes, one file for each data file."""

_CODES_FROM = 512  # rows; coding fewer rows again is quicker than reading a file


class Fragment:
    """Rows of a data file.

    Args:
        folder: the gallery's. entry: the file's expected properties. header: of the gallery.

    Raises:
        DataError: the file is damaged. Every method that reads the file raises it.
    """

    def __init__(self, folder: Path, entry: FragmentEntry, header: GalleryHeader) -> None:
        self.folder, self.entry, self.header = folder, entry, header
        self.path = folder / "data" / entry.file
        self._codes: SlotCodes | None = None
        self._with_unseen = False

    def __len__(self) -> int:
        return self.entry.rows

    @functools.cached_property
    def columns(self) -> Columns:
        """The columns of all rows that filters and weights need."""
        self.entry.check(self.folder)
        with lance_errors(self.path):
            reader = lance.file.LanceFileReader(str(self.path), columns=list(LIGHT))
            return Columns.of(reader.read_all(batch_size=max(1, len(self))).to_table())

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """[n, S·D] float16 of the rows at ascending positions."""
        width = len(self.header.slots) * self.header.width
        found = np.empty((len(rows), width), np.float16)
        row_bytes = found.itemsize * width
        starts, sizes = np.array(self.entry.extents, np.int64).reshape(-1, 2).T
        firsts = np.concatenate([[0], np.cumsum(sizes)])  # where each extent begins among all vectors' bytes
        extent = np.searchsorted(firsts, rows * row_bytes, side="right") - 1
        offsets = starts[extent] + rows * row_bytes - firsts[extent]
        runs = [0, *(np.flatnonzero(np.diff(offsets) != row_bytes) + 1).tolist(), len(rows)] if len(rows) else [0]
        data = memoryview(found.data).cast("B")
        with lance_errors(self.path), self.path.open("rb", buffering=0) as file:
            for first, last in itertools.pairwise(runs):
                file.seek(int(offsets[first]))
                place, end = first * row_bytes, last * row_bytes
                while place < end:
                    if not (count := file.readinto(data[place:end])):
                        raise damaged(self.path, "it is cut short")
                    place += count
        wrong = checks_of_vectors(found) != self.columns.vectors_checks[rows]
        if wrong.any():
            raise damaged(self.path, f"the vectors of {int(wrong.sum())} of its rows are not those that were written")
        return found

    def metadata(self, rows: np.ndarray) -> list[str]:
        """[n] metadata of the rows at ascending positions, as text; the rest of each row is checked with it."""
        with lance_errors(self.path):
            reader = lance.file.LanceFileReader(str(self.path), columns=["metadata"])
            found = reader.take_rows(rows.tolist(), batch_size=max(1, len(rows))).to_table()["metadata"].to_pylist()
        some = self.columns[rows]
        if len(found) != len(rows) or (wrong := some.row_checks(found) != some.checks).any():
            wrong = [] if len(found) != len(rows) else some.ids.filter(pa.array(wrong)).to_pylist()
            raise damaged(self.path, f"rows are not what was written: {', '.join(map(repr, wrong[:5]))}")
        return found  # type: ignore[no-any-return]

    def records(self, rows: np.ndarray) -> GalleryRecords:
        items = self.columns[rows].items(self.metadata(rows))
        return GalleryRecords(tuple(items), self.embeddings(rows))

    def embeddings(self, rows: np.ndarray) -> PartEmbeddings:
        shape = (len(rows), len(self.header.slots), self.header.width)
        vectors = torch.from_numpy(self.vectors(rows).reshape(shape))
        visibility = torch.from_numpy(self.columns.visibility[rows])
        return self.header.embeddings(vectors, visibility)

    def batches(self, rows: np.ndarray, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows at ascending positions as they are stored, some at a time, checked."""
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            yield self.columns[some].batch(self.metadata(some), self.vectors(some), schema)

    def codes(self, *, unseen: bool) -> SlotCodes:
        """Codes of all rows, from their file or made now. ``unseen``: slots of visibility 0 get codes too."""
        if self._codes is None or (unseen and not self._with_unseen):
            self._codes, self._with_unseen = self._found_codes(unseen=unseen), unseen
        return self._codes

    def _found_codes(self, *, unseen: bool) -> SlotCodes:
        path = self.folder / CODES / f"{self.path.stem}{'-unseen' if unseen else ''}.codes"
        key = f"{self.entry.file} {self.entry.size} {self.entry.crc}"
        if len(self) >= _CODES_FROM and (found := load_codes(path, key)) is not None and found.count == len(self):
            return found
        everything = self.embeddings(np.arange(len(self)))
        made = SlotCodes.build(everything.vectors, (everything.visibility > 0) | unseen)
        if len(self) < _CODES_FROM:
            return made
        with suppress(DataError):  # if the gallery is read-only or the disk is full, codes stay in memory
            save_codes(path, made, key)
            found = load_codes(path, key)
            if not self.path.exists():  # compacted meanwhile: no file may contain deleted items
                path.unlink(missing_ok=True)
            return found or made
        return made

    def check(self) -> list[str]:
        try:
            self.entry.check(self.folder)
            for start in range(0, len(self), BATCH):
                rows = np.arange(start, min(start + BATCH, len(self)))
                self.metadata(rows)
                self.vectors(rows)
        except DataError as error:
            return [str(error)]
        return []


def described(folder: Path, fragment: lance.LanceFragment) -> FragmentEntry:
    """The entry of a new fragment's file. DataError if this version of Lance stores vectors in another layout."""
    (data,) = fragment.data_files()
    path = folder / "data" / data.path
    pages = lance.file.LanceFileReader(str(path)).metadata().columns[-1].pages
    extents = tuple((buffer.position, buffer.size) for page in pages for buffer in page.buffers)
    rows, row_bytes = fragment.physical_rows, 2 * fragment.schema.field("vectors").type.list_size
    if sum(size for _, size in extents) != rows * row_bytes or any(size % row_bytes for _, size in extents):
        raise DataError(
            f"Lance {lance.__version__} does not store vectors row after row as partreid reads them. Install "
            "pylance 14: pip install 'pylance==14.*'."
        )
    return FragmentEntry(
        fragment.fragment_id, str(data.path), path.stat().st_size, rows, extents, crc_of(path, extents)
    )
