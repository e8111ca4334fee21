"""Changing a gallery on disk: one Lance commit, then ``gallery.json``. The caller holds the folder's lock."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from partreid.errors import DataError
from partreid.files import force_to_disk
from partreid.retrieval.stores.base import GalleryHeader
from partreid.retrieval.stores.lance import lance, lance_errors
from partreid.retrieval.stores.lance.fragment import CODES, described
from partreid.retrieval.stores.lance.head import HEAD, CheckedFile, Head
from partreid.retrieval.stores.lance.rows import batches_of, schema_of
from partreid.retrieval.stores.lance.snapshot import Snapshot
from partreid.types.gallery import GalleryRecords

FULL = 2**15
"""Rows of a full fragment, which is not extended any more. A fragment of wide rows has fewer."""

_FULL_BYTES = 2**28
_FANOUT = 8  # so many fragments of about the same size are merged
_FILE_FORMAT = "2.1"
_GRACE = 600.0  # seconds for which a reader may keep using a version that is no longer the newest
_CLEAN_EVERY = 8  # writes


def apply(snapshot: Snapshot, gone: Sequence[np.ndarray], new: GalleryRecords, header: GalleryHeader) -> None:
    """Delete rows and add items, in one step.

    Small fragments are merged on the way, and fragments with half of their rows deleted are rewritten. Rewritten rows
    are read and checked like any other row.

    Args:
        snapshot: the newest. gone: for each fragment, the rows to delete, ascending. new: items to add.
        header: of the gallery from now on.

    Raises:
        DataError: the disk is full or cannot be written, or the gallery is damaged. Nothing has changed then.
    """
    live = [rows.copy() for rows in snapshot.live]
    for rows, some in zip(live, gone, strict=True):
        rows[some] = False
    rewritten = _rewritten(live, len(new), _full(snapshot.header))
    count = sum(int(rows.sum()) for rows in live) + len(new)
    changed = _acknowledged(snapshot, header, lambda: count, lambda: _committed(snapshot, gone, new, live, rewritten))
    if changed.version % _CLEAN_EVERY == 0:
        with suppress(OSError):
            _clean(snapshot.folder, changed)


def rewrite(snapshot: Snapshot) -> None:
    """Rewrite every file that has deleted rows without these rows, in one step. Then remove all files that do not
    belong to the newest version, so that no file of the folder contains deleted items.

    Raises:
        DataError: as :func:`apply`; or a former file cannot be removed, which the message names.
    """
    head, nothing = snapshot.head, snapshot.records(np.empty(0, np.int64))
    holed = [i for i, rows in enumerate(snapshot.live) if not rows.all()]
    if holed:
        none = [np.empty(0, np.int64)] * len(snapshot.live)
        head = _acknowledged(
            snapshot,
            snapshot.header,
            lambda: snapshot.head.count,
            lambda: _committed(snapshot, none, nothing, snapshot.live, holed),
        )
    _remove_former(snapshot.folder, head)


def replace_all(snapshot: Snapshot, records: Iterable[GalleryRecords], header: GalleryHeader) -> None:
    """Replace all items by others, at least one, in one step. Errors as for :func:`apply`.

    Args:
        snapshot: the newest. header: of the gallery from now on.
        records: the new items. They may be read from this gallery, so this thread iterates over them: a thread of
            Lance would wait for the gallery's lock.
    """
    folder, head, schema, full = snapshot.folder, snapshot.head, schema_of(header), _full(header)
    mode = "overwrite" if head.version else "create"
    fragments: list[lance.FragmentMetadata] = []

    def write(some: list[GalleryRecords]) -> None:
        fragments.extend(_written(folder, batches_of(GalleryRecords.cat(some), schema), schema, mode=mode, most=full))

    def committed() -> lance.LanceDataset:
        waiting: list[GalleryRecords] = []
        for one in records:
            waiting.append(one)
            if sum(map(len, waiting)) >= full:
                write(waiting)
                waiting = []
        if waiting:
            write(waiting)
        operation, version = lance.LanceOperation.Overwrite(schema, fragments), head.version or None
        return lance.LanceDataset.commit(str(folder), operation, read_version=version)

    _acknowledged(snapshot, header, lambda: sum(one.physical_rows for one in fragments), committed)


def _acknowledged(
    snapshot: Snapshot, header: GalleryHeader, count: Callable[[], int], commit: Callable[[], lance.LanceDataset]
) -> Head:
    """Commit a change and replace ``gallery.json``. If anything goes wrong, nothing is changed.

    Args:
        snapshot: the newest. header: of the gallery from now on. commit: makes the dataset with the change.
        count: returns its expected number of items; called after the commit.
    """
    folder, head = snapshot.folder, snapshot.head
    with lance_errors(folder, _unwritable):
        there = _files(folder)
        _forget_unacknowledged(folder, head)
    try:
        with lance_errors(folder, _unwritable):
            changed = _head_of(snapshot, commit(), header)
            _force_to_disk(folder, changed.files - head.files)
        if changed.version != head.version + 1 or changed.count != count():
            raise _unwritable(
                folder,
                f"another program writes there, or the disk does not support locks: expected version "
                f"{head.version + 1} with {count()} items, got {changed.version} with {changed.count}",
            )
        changed.write(folder)
    except BaseException:
        # If an interrupt comes after the last step, the new files are the gallery, and must stay.
        with suppress(OSError, DataError):
            if Head.read(folder / HEAD, (folder / HEAD).read_bytes()).version == head.version:
                _forget_unacknowledged(folder, head)
                for file in _files(folder) - there:
                    (folder / file).unlink()
        raise
    with suppress(OSError):
        for file in head.files - changed.files:
            os.utime(folder / file)
    return changed


def _unwritable(folder: Path, reason: str) -> DataError:
    return DataError(f"Cannot write the gallery in {folder}: {reason}. Nothing was changed.")


def _committed(
    snapshot: Snapshot,
    gone: Sequence[np.ndarray],
    new: GalleryRecords,
    live: Sequence[np.ndarray],
    rewritten: Sequence[int],
) -> lance.LanceDataset:
    """The Lance dataset with the change in it.

    Args:
        snapshot, gone, new: as for :func:`apply`. live: for each fragment, which rows remain after the change.
        rewritten: fragments whose rows are written again, together with the new ones.
    """
    folder, head, schema, full = snapshot.folder, snapshot.head, schema_of(snapshot.header), _full(snapshot.header)
    added = itertools.chain(
        *(snapshot.fragments[i].batches(live[i].nonzero()[0], schema) for i in rewritten),
        batches_of(new, schema),
    )
    fragments = []
    if rewritten or len(new):
        fragments = _written(folder, added, schema, mode="append" if head.version else "create", most=full)
    if not head.version:
        return lance.LanceDataset.commit(str(folder), lance.LanceOperation.Overwrite(schema, fragments))
    removed = {i for i, rows in enumerate(live) if not rows.any()}.union(rewritten)
    changed = {head.fragments[i].id: rows for i, rows in enumerate(gone) if len(rows) and i not in removed}
    updated = []
    if changed:
        dataset = snapshot.dataset()
        for number, rows in changed.items():
            addresses = ",".join(map(str, (rows + (number << 32)).tolist()))
            updated.append(dataset.get_fragment(number).delete(f"_rowaddr IN ({addresses})"))
    operation = lance.LanceOperation.Update(
        removed_fragment_ids=[head.fragments[i].id for i in sorted(removed)],
        updated_fragments=updated,
        new_fragments=fragments,
    )
    return lance.LanceDataset.commit(str(folder), operation, read_version=head.version)


def _written(
    folder: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, mode: str, most: int
) -> list[lance.FragmentMetadata]:
    """Write data files with at most ``most`` rows each. They belong to no version yet."""
    problems: list[DataError] = []

    def remembering() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except DataError as problem:  # Lance would replace it by an error of its own
            problems.append(problem)
            raise

    try:
        return lance.fragment.write_fragments(  # type: ignore[no-any-return]
            pa.RecordBatchReader.from_batches(schema, remembering()),
            str(folder),
            schema,
            mode=mode,
            max_rows_per_file=most,
            data_storage_version=_FILE_FORMAT,
        )
    except Exception:
        if problems:
            raise problems[0] from None
        raise


def _head_of(snapshot: Snapshot, dataset: lance.LanceDataset, header: GalleryHeader) -> Head:
    """The new ``gallery.json`` for a dataset that was made from a snapshot."""
    folder, known = snapshot.folder, {entry.file: entry for entry in snapshot.head.fragments}
    entries = []
    for fragment in dataset.get_fragments():
        entry = known.get(fragment.data_files()[0].path) or described(folder, fragment)
        file = fragment.deletion_file()
        if file is not None and (entry.deletions is None or entry.deletions.file != file):
            entry = replace(entry, deletions=CheckedFile.of(folder, file), deleted=fragment.num_deletions)
        entries.append(replace(entry, id=fragment.fragment_id))
    manifest = CheckedFile.of(folder, f"_versions/{_manifest(dataset.version)}")
    return Head(header, dataset.version, manifest, tuple(entries))


def _full(header: GalleryHeader) -> int:
    """Rows of a full fragment."""
    return max(1, min(FULL, _FULL_BYTES // (2 * len(header.slots) * header.width)))


def _rewritten(live: Sequence[np.ndarray], new: int, full: int) -> list[int]:
    """Which fragments to merge with ``new`` rows: fragments with half of their rows deleted, and small fragments (less
    than half full) once there are several.

    Merging small fragments makes a fragment about eight times as large. So a row is rewritten only a few times, and
    there are never many small fragments.
    """
    counts = [int(rows.sum()) for rows in live]
    chosen = {i for i, rows in enumerate(live) if 0 < 2 * counts[i] <= len(rows)}
    while 0 < (total := new + sum(counts[i] for i in chosen)) < full // 2:
        limit = _FANOUT
        while limit <= total:
            limit *= _FANOUT
        alike = {i for i, count in enumerate(counts) if 0 < count < min(limit, full // 2)} - chosen
        if len(alike) < _FANOUT - 1:
            break
        chosen |= alike
    return sorted(chosen)


def _manifest(version: int) -> str:
    """Lance's name of a version's manifest."""
    return f"{2**64 - 1 - version:020d}.manifest"


def _forget_unacknowledged(folder: Path, head: Head) -> None:
    """Remove newer versions that a killed or failed write left. The next version then follows the acknowledged one."""
    oldest = _manifest(head.version)
    for path in (folder / "_versions").glob("*"):
        # Newer versions have smaller names. The hint file, in which Lance notes the newest, may be wrong by now.
        if path.suffix != ".manifest" or path.name < oldest:
            path.unlink()


def _files(folder: Path) -> set[str]:
    """Paths, in the folder, of the files of all versions."""
    parts = ("data", "_deletions", "_versions", "_transactions", CODES)
    return {f"{part}/{file.name}" for part in parts if (folder / part).is_dir() for file in os.scandir(folder / part)}


def _clean(folder: Path, head: Head) -> None:
    """Remove files that the newest version does not need, once no reader can need them."""
    for file in _files(folder) - head.files:
        path = folder / file
        if not _still_of_use(path, head) and path.suffix != ".json":
            _remove_old(path)
    for path in folder.glob(f".{Path(HEAD).stem}.*"):
        _remove_old(path)


def _still_of_use(path: Path, head: Head) -> bool:
    """Whether a file belongs to the version although ``gallery.json`` does not name it: codes and the commit's log."""
    if path.parent.name == CODES:
        names = {entry.file.removesuffix(".lance") for entry in head.fragments}
        return path.name.partition("-")[0].partition(".")[0] in names
    return path.parent.name == "_transactions" and path.name.startswith(f"{head.version - 1}-")


def _remove_former(folder: Path, head: Head) -> None:
    """Remove at once everything that the version does not need. Data is removed before codes: if a reader saves codes
    afterwards, it sees that the data file is gone and removes the codes itself."""
    order = ("data", "_deletions", "_versions", "_transactions", CODES)
    former = [folder / file for file in _files(folder) - head.files]
    former = sorted(
        (path for path in former if not _still_of_use(path, head)), key=lambda path: order.index(path.parent.name)
    )
    try:
        for path in [*former, *folder.glob(f".{Path(HEAD).stem}.*")]:
            path.unlink(missing_ok=True)
        for path in {path.parent for path in former} if os.name == "posix" else ():
            force_to_disk(path)
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be removed, and may hold deleted items: {error.strerror or error}. The gallery "
            "is whole; compact it again once the file can be removed."
        ) from None


def _remove_old(path: Path) -> None:
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _GRACE:
            path.unlink()


def _force_to_disk(folder: Path, files: Iterable[str]) -> None:
    """Force files and their names to the disk before ``gallery.json`` names them."""
    paths = [folder / file for file in sorted(files)]
    for path in [*paths, *({path.parent for path in paths} if os.name == "posix" else ())]:
        force_to_disk(path)
