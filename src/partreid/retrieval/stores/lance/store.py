"""A gallery in a folder: a Lance dataset, and ``gallery.json`` with its acknowledged state (docs/gallery_folder.md)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from partreid.errors import DataError
from partreid.files import hold_folder
from partreid.lazy import torch
from partreid.retrieval.filters import Filter
from partreid.retrieval.search.exact import Engine, ExactSearch
from partreid.retrieval.stores.base import Answer, Candidates, GalleryHeader, SearchRule, first_header, pages, taken
from partreid.retrieval.stores.lance.head import HEAD, Head, damaged, newest_acknowledged, outdated
from partreid.retrieval.stores.lance.snapshot import Snapshot
from partreid.retrieval.stores.lance.writer import apply, replace_all, rewrite
from partreid.types import PartEmbeddings
from partreid.types.gallery import CameraSummary, GalleryRecords

PATIENCE = 60.0
"""Seconds that a write waits for another write in the same folder."""

COMPACTED = (
    "copies that the file system, the disk or a backup of the folder made",
    "the memory of other processes that have the gallery open, until they use it the next time or end",
)
"""Where deleted items may be left after the compaction of a folder."""

_TRIES = 4
_LEASE = 60.0  # seconds after which a walk through a version says again that it needs the files


class LanceStore:
    """Items in a Lance dataset with vectors in half precision, searched through int8 codes.

    Any number of processes may read while one writes. Each call sees all writes that were acknowledged before it. If a
    process is killed, its call is either complete or has no effect. The methods are those of
    :class:`~partreid.retrieval.stores.base.GalleryStore`.

    Args:
        path: the folder. create: whether to begin a gallery if there is none. The first write makes the folder.
        engine: how to search, as for :class:`~partreid.retrieval.search.exact.ExactSearch`.

    Raises:
        DataError: there is no gallery and ``create`` is False; or the folder holds something else, is damaged, or has
            another format version.
    """

    def __init__(self, path: Path, *, create: bool, engine: Engine = "auto") -> None:
        self.location = str(path)
        self.search = ExactSearch(engine, lambda snapshot, unseen: snapshot.codes(unseen=unseen))
        self._path = path
        self._lock = threading.RLock()
        self._seen: bytes | None = None  # the latest content of gallery.json
        self._snapshot: Snapshot | None = None
        self._current = False  # whether the snapshot belongs to that content
        self._held: Snapshot | None = None  # the snapshot of all reads while an answer is made
        if not _holds_gallery(path) and not create:
            raise DataError(f"No gallery in {path}: expected a folder with {HEAD}. Add items to begin one there.")
        self._read(lambda _: None)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float16

    def read(self, answer: Callable[[], Answer]) -> Answer:
        return self._read(lambda _: answer())

    def header(self) -> GalleryHeader | None:
        return self._read(lambda snapshot: snapshot.head.header)

    def count(self, where: Filter) -> int:
        return self._read(lambda snapshot: snapshot.count(where))

    def cameras(self, where: Filter) -> list[CameraSummary]:
        return self._read(lambda snapshot: snapshot.cameras(where))

    def write(self, records: GalleryRecords, *, replace: bool) -> None:
        if not records.embeddings.vectors[0].numel():
            raise DataError(f"A gallery keeps vectors of at least one number, got {records.embeddings}.")
        with self._writing() as newest:
            snapshot = newest
            if newest.head.header is None:  # an emptied gallery has a header
                snapshot = Snapshot(self._path, Head.empty(GalleryHeader.of(records.embeddings)))
            header = snapshot.header.bound_to(records.embeddings, f"in {self._path}")
            there = snapshot.mask(Filter(ids=tuple(records.ids)))
            if not replace and there.any():
                raise DataError(taken(snapshot.records(there.nonzero()[0]).ids))
            apply(snapshot, snapshot.by_fragment(there), records, header)

    def delete(self, where: Filter) -> int:
        """Remove items. Their vectors stay in a file until their fragment is rewritten: see docs/gallery.md."""
        if self.header() is None:
            return 0
        with self._writing() as snapshot:
            gone, nothing = snapshot.mask(where), snapshot.records(np.empty(0, np.int64))
            if gone.any():
                apply(snapshot, snapshot.by_fragment(gone), nothing, snapshot.header)
            return int(gone.sum())

    def compact(self) -> tuple[str, ...]:
        """Remove deleted items from every file of the folder. Other processes that read continue with the newest
        version. A walk that they had begun ends with an error."""
        with self._writing() as snapshot:
            if snapshot.head.header is not None:
                rewrite(snapshot)
        with self._lock:
            self.search.clear()
        return COMPACTED

    def overwrite(self, records: Callable[[], Iterable[GalleryRecords]]) -> None:
        with self._writing() as snapshot:
            header, every = first_header(records())
            replace_all(snapshot, every, header)

    def fetch(self, where: Filter, *, limit: int) -> GalleryRecords:
        return self._read(lambda snapshot: snapshot.first_by_id(where, limit=limit))

    def walk(self, where: Filter, *, size: int) -> Iterator[GalleryRecords]:
        """All items of the newest version. Its files are kept as long as the walk continues."""
        snapshot, told = self._read(lambda newest: newest), time.monotonic()

        def page(after: str) -> GalleryRecords:
            nonlocal told
            if after and time.monotonic() - told > _LEASE:
                snapshot.hold()
                told = time.monotonic()
            with self._lock:
                try:
                    return snapshot.first_by_id(where, limit=size, after=after)
                except DataError as error:
                    if self._read(lambda newest: newest) is snapshot:
                        raise
                    raise DataError(
                        f"The gallery in {self._path} was changed while all of it was read. Its former state is gone, "
                        f"because it was compacted or ten minutes have passed. Read it again from the start. "
                        f"({error})"
                    ) from None

        if snapshot.head.header is not None:
            yield from pages(page)

    def nearest(self, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        return self._read(lambda snapshot: self._nearest(snapshot, query, rule))

    def verify(self) -> list[str]:
        return self._read(lambda snapshot: snapshot.check())

    def close(self) -> None:
        with self._lock:
            self._snapshot, self._current = None, False
            self.search.clear()

    def _nearest(self, snapshot: Snapshot, query: PartEmbeddings, rule: SearchRule) -> Candidates:
        searched = snapshot.mask(rule.where)
        pairs = self.search.nearest(query, snapshot, rule, None if searched.all() else searched)
        positions, record = np.unique(pairs.position, return_inverse=True)
        return Candidates(snapshot.records(positions), pairs.query, record, pairs.distances)

    def _read(self, answer: Callable[[Snapshot], Answer]) -> Answer:
        """An answer from the newest version. If a writer removed that version meanwhile, the next one is used."""
        with self._lock:
            if self._held is not None:
                return answer(self._held)
            for left in reversed(range(_TRIES + 1)):
                try:
                    self._held = self._newest()
                    return answer(self._held)
                except DataError:
                    if not left or self._content() == self._seen:
                        raise
                finally:
                    self._held = None
            raise AssertionError("the last try returns or raises")

    @contextmanager
    def _writing(self) -> Iterator[Snapshot]:
        """The newest version. Nobody else can write within the block."""
        with self._lock, hold_folder(self._path, error=DataError, patience=PATIENCE):
            newest = self._newest()
            if self._seen is None:
                Head.empty().write(self._path)  # from now on a folder without it is damaged, not new
                newest = self._newest()
            yield newest

    def _newest(self) -> Snapshot:
        """The newest acknowledged version."""
        content = self._content()
        if self._snapshot is not None and self._current and content == self._seen:
            self._refuse_older(self._snapshot.head.version)
            return self._snapshot
        self._seen, self._current = content, False
        head = Head.read(self._path / HEAD, content) if content is not None else Head.empty()
        self._refuse_older(head.version)
        self._snapshot, self._current = Snapshot(self._path, head, self._snapshot), True
        return self._snapshot

    def _refuse_older(self, version: int) -> None:
        """Raise a DataError if a newer version was acknowledged than the one in ``gallery.json``."""
        if (newer := newest_acknowledged(self._path)) > version and self._content() == self._seen:
            self._current = False
            raise outdated(self._path, version, newer)

    def _content(self) -> bytes | None:
        """The bytes of gallery.json; None if there is no gallery yet."""
        try:
            return (self._path / HEAD).read_bytes()
        except FileNotFoundError:
            begun = _holds_gallery(self._path)
        except OSError as error:
            raise DataError(f"Cannot read {self._path / HEAD}: {error.strerror or error}.") from None
        if begun:  # another process has just begun it
            return self._content()
        if self._seen is not None:
            raise damaged(self._path / HEAD, "it is gone")
        return None


def _holds_gallery(path: Path) -> bool:
    """True if the folder holds a gallery, False if it is empty or missing. DataError if it holds something else."""
    if not path.exists():
        return False
    if not path.is_dir():
        raise DataError(f"{path} is a file; a gallery is a folder. Choose another path.")
    try:
        names = sorted(file.name for file in path.iterdir() if not file.name.startswith(f".{Path(HEAD).stem}."))
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from None
    if not names or HEAD in names:
        return bool(names)
    if "_versions" in names:
        raise damaged(path / HEAD, "it is missing, although the rest is there")
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    raise DataError(f"{path} holds other things ({some}) and no gallery. Choose a new or an empty folder.")
