"""``gallery.json``: which files make up a gallery, and what they must look like.

It is replaced in one step when everything it names is on the disk: that is the moment a write is acknowledged. Lance
checks neither its manifests nor its data, and falls back to an older manifest where the newest cannot be read; so
readers start here and nowhere else.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.retrieval.stores.base import FORMAT_VERSION, GalleryHeader

HEAD = "gallery.json"
_TYPE = "partreid gallery"
_CHUNK = 2**22


@dataclass(frozen=True)
class CheckedFile:
    """A small file: its path in the folder, bytes, and the CRC-32 of all of them."""

    file: str
    size: int
    crc: int

    @classmethod
    def of(cls, folder: Path, file: str) -> Self:
        """Describe a file."""
        data = (folder / file).read_bytes()
        return cls(file, len(data), zlib.crc32(data))

    def check(self, folder: Path) -> None:
        """Raises DataError where the file is not what it was."""
        check_file(folder / self.file, self.size, self.crc, ())


@dataclass(frozen=True)
class FragmentEntry:
    """A data file that never changes, and which of its rows are deleted.

    Attributes:
        id: Lance's number of the fragment. file: its name in ``data/``. size: its bytes. rows: all, deleted or not.
        extents: (first byte, bytes) of the vectors, in their order; row after row of S·D numbers.
        crc: CRC-32 of all other bytes. deletions: Lance's file of deleted rows. deleted: how many.
    """

    id: int
    file: str
    size: int
    rows: int
    extents: tuple[tuple[int, int], ...]
    crc: int
    deletions: CheckedFile | None = None
    deleted: int = 0

    @property
    def count(self) -> int:
        """Rows that are not deleted."""
        return self.rows - self.deleted


@dataclass(frozen=True)
class Head:
    """What ``gallery.json`` says.

    Attributes:
        header: None where nothing was ever written. version, manifest: of the Lance dataset.
        fragments: in the order of their ids.
    """

    header: GalleryHeader | None = None
    version: int = 0
    manifest: CheckedFile | None = None
    fragments: tuple[FragmentEntry, ...] = ()

    @property
    def count(self) -> int:
        """Items in the gallery."""
        return sum(entry.count for entry in self.fragments)

    @property
    def files(self) -> set[str]:
        """Paths in the folder of what belongs to it."""
        return {f"data/{entry.file}" for entry in self.fragments} | {file.file for file in self.small_files}

    @property
    def small_files(self) -> list[CheckedFile]:
        """Those that have one checksum: Lance's manifest and its files of deleted rows."""
        files = [self.manifest, *(entry.deletions for entry in self.fragments)]
        return [file for file in files if file is not None]

    def write(self, folder: Path) -> None:
        """Put it in place of the one that is there.

        Raises:
            DataError: the file cannot be written.
        """
        body = asdict(self)
        whole = {"type": _TYPE, "format_version": FORMAT_VERSION, "crc": _crc(body), "gallery": body}
        with atomic_file(folder / HEAD, error=DataError) as temporary:
            temporary.write_text(json.dumps(whole), encoding="utf-8")

    @classmethod
    def read(cls, path: Path, data: bytes) -> Self:
        """What the file's content says.

        Raises:
            DataError: it is damaged, of another format version, or something else.
        """
        try:
            whole = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise damaged(path, str(error)) from None
        if not isinstance(whole, dict) or whole.get("type") != _TYPE:
            raise damaged(path, "it does not describe a partreid gallery")
        if whole.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{path} has format version {whole.get('format_version')!r:.20}; this version of partreid reads "
                f"{FORMAT_VERSION}. Older: build the gallery again from its pictures. Newer: update partreid."
            )
        if _crc(whole.get("gallery")) != whole.get("crc"):
            raise damaged(path, "its checksum is another")
        return cls(**_typed(whole["gallery"]))


def _typed(body: dict[str, Any]) -> dict[str, Any]:
    header, manifest = body["header"], body["manifest"]
    entries = []
    for entry in body["fragments"]:
        entry["extents"] = tuple(map(tuple, entry["extents"]))
        entry["deletions"] = entry["deletions"] and CheckedFile(**entry["deletions"])
        entries.append(FragmentEntry(**entry))
    return {
        "header": header and GalleryHeader(**(header | {"slots": tuple(header["slots"])})),
        "version": body["version"],
        "manifest": manifest and CheckedFile(**manifest),
        "fragments": tuple(entries),
    }


def _crc(body: Any) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


def check_file(path: Path, size: int, crc: int, left_out: Iterable[tuple[int, int]]) -> None:
    """Hold a file against its size and the CRC-32 of its bytes, but for those of some (first, count).

    Raises:
        DataError: it differs, is missing, or cannot be read.
    """
    check_size(path, size)
    if crc_of(path, left_out) != crc:
        raise damaged(path, "its checksum is another")


def check_size(path: Path, size: int) -> None:
    """Hold a file's size against what it must be: the cheapest check.

    Raises:
        DataError: it differs, or the file is missing.
    """
    try:
        found = path.stat().st_size
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from None
    if found != size:
        raise damaged(path, f"expected {size} bytes, found {found}")


def crc_of(path: Path, left_out: Iterable[tuple[int, int]]) -> int:
    """CRC-32 of a file's bytes, but for those of some (first, count).

    Raises:
        DataError: the file cannot be read.
    """
    crc = 0
    try:
        with path.open("rb", buffering=0) as file:
            for start, stop in _gaps(path.stat().st_size, left_out):
                file.seek(start)
                while start < stop and (data := file.read(min(_CHUNK, stop - start))):
                    crc, start = zlib.crc32(data, crc), start + len(data)
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from None
    return crc


def _gaps(size: int, left_out: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start = 0
    for first, count in sorted(left_out):
        yield start, first
        start = first + count
    yield start, size


def damaged(path: Path, reason: str) -> DataError:
    """The error for a file that is not what was written."""
    return DataError(
        f"{path} is damaged: {reason}. Nothing is answered from a damaged gallery: restore its folder from a copy, or "
        "build it again."
    )
