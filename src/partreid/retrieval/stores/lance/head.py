"""``gallery.json``: which files make up a gallery, and what they must look like.

It is replaced in one step when everything that it names is on the disk. At that moment a write is acknowledged. Readers
always start here, because Lance checks neither its manifests nor its data. If it cannot read the newest manifest, it
silently uses an older one.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError

from partreid.errors import DataError
from partreid.files import atomic_file, force_to_disk
from partreid.retrieval.stores.base import FORMAT_VERSION, GalleryHeader

HEAD = "gallery.json"
ACKNOWLEDGED = "acknowledged"
"""Folder with one empty file. The file's name is the newest version that was ever acknowledged."""

_TYPE = "partreid gallery"
_CHUNK = 2**22

_Whole = Annotated[int, Field(ge=0, lt=2**63)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
_SmallFile = Annotated[str, Field(pattern=r"^_(versions|deletions)/[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


@dataclass(frozen=True)
class CheckedFile:
    """A small file: its path in the folder, its size in bytes, and the CRC-32 of its content."""

    file: _SmallFile
    size: _Whole
    crc: _Whole

    @classmethod
    def of(cls, folder: Path, file: str) -> Self:
        data = (folder / file).read_bytes()
        return cls(file, len(data), zlib.crc32(data))

    def check(self, folder: Path) -> None:
        """Raise a DataError if the file has changed."""
        check_file(folder / self.file, self.size, self.crc, ())


@dataclass(frozen=True)
class FragmentEntry:
    """A data file, which never changes, and which of its rows are deleted.

    Attributes:
        id: Lance's number of the fragment. file: its name in ``data/``. size: in bytes. rows: number, deleted ones too.
        extents: (first byte, number of bytes) of the pieces that hold the vectors: row after row of S·D numbers.
        crc: CRC-32 of all other bytes. deletions: Lance's file of deleted rows. deleted: number of deleted rows.
    """

    id: _Whole
    file: _Name
    size: _Whole
    rows: _Whole
    extents: tuple[tuple[_Whole, _Whole], ...]
    crc: _Whole
    deletions: CheckedFile | None = None
    deleted: _Whole = 0

    @property
    def count(self) -> int:
        """Rows that are not deleted."""
        return self.rows - self.deleted

    def check(self, folder: Path) -> None:
        """Raise a DataError if the file has changed. Its vectors are not read."""
        check_file(folder / "data" / self.file, self.size, self.crc, self.extents)


@dataclass(frozen=True)
class Head:
    """The content of ``gallery.json``.

    Attributes:
        header: None if nothing was ever written. version, manifest: of the Lance dataset.
        fragments: in the order of their ids.
    """

    header: GalleryHeader | None
    version: _Whole
    manifest: CheckedFile | None
    fragments: tuple[FragmentEntry, ...]

    @classmethod
    def empty(cls, header: GalleryHeader | None = None) -> Self:
        """The head of a gallery in which nothing was ever written."""
        return cls(header, 0, None, ())

    @property
    def count(self) -> int:
        """Items in the gallery."""
        return sum(entry.count for entry in self.fragments)

    @property
    def files(self) -> set[str]:
        """Paths, in the folder, of all files of this version."""
        return {f"data/{entry.file}" for entry in self.fragments} | {file.file for file in self.small_files}

    @property
    def small_files(self) -> list[CheckedFile]:
        """The files with one checksum for everything: Lance's manifest and its files of deleted rows."""
        files = [self.manifest, *(entry.deletions for entry in self.fragments)]
        return [file for file in files if file is not None]

    def write(self, folder: Path) -> None:
        """Replace the folder's ``gallery.json``. DataError if it cannot be written."""
        body = asdict(self)
        whole = {"type": _TYPE, "format_version": FORMAT_VERSION, "crc": zlib.crc32(_text(body)), "gallery": body}
        with atomic_file(folder / HEAD, error=DataError) as temporary:
            temporary.write_text(json.dumps(whole), encoding="utf-8")
        _acknowledge(folder, self.version)

    @classmethod
    def read(cls, path: Path, data: bytes) -> Head:
        """Parse the file's content. DataError if it is damaged, of another format version, or another kind of file."""
        try:
            whole = json.loads(data)
            text = _text(whole.get("gallery")) if isinstance(whole, dict) else b""
        except (ValueError, RecursionError) as error:
            raise damaged(path, str(error)) from None
        if not isinstance(whole, dict) or whole.get("type") != _TYPE:
            raise damaged(path, "it does not describe a partreid gallery")
        if whole.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{path} has format version {whole.get('format_version')!r:.20}; this version of partreid reads "
                f"{FORMAT_VERSION}. Older: build the gallery again from its images. Newer: update partreid."
            )
        if zlib.crc32(text) != whole.get("crc"):
            raise damaged(path, "its checksum does not fit")
        try:
            head = _JSON.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise damaged(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if problem := _inconsistent(head):
            raise damaged(path, problem)
        return head


_JSON = TypeAdapter(Head)


def _inconsistent(head: Head) -> str:
    """A contradiction within a head in words; "" = none. All numbers are checked, because they decide what is read."""
    if head.header is None:
        return "it has files, but no header" if head.fragments else ""
    row_bytes = 2 * len(head.header.slots) * head.header.width
    if row_bytes <= 0:
        return f"{len(head.header.slots)} slots of width {head.header.width}"
    if other := set(head.header.compare_weights) - set(head.header.slots):
        return f"it has a weight for {min(other)!r:.80}, which is no slot"
    if len({entry.file for entry in head.fragments}) < len(head.fragments):
        return "it names a file twice"
    for entry in head.fragments:
        if sum(count for _, count in entry.extents) != entry.rows * row_bytes or any(
            count % row_bytes or first + count > entry.size for first, count in entry.extents
        ):
            return f"{entry.rows} rows of {row_bytes} bytes do not lie at {entry.extents!s:.80} of {entry.size} bytes"
        if entry.deleted > entry.rows or bool(entry.deleted) != bool(entry.deletions):
            return f"{entry.deleted} of {entry.rows} rows are deleted"
    return ""


def _acknowledge(folder: Path, version: int) -> None:
    """Note the acknowledged version beside ``gallery.json``. If an older ``gallery.json`` is put back, the note reveals
    it.

    An error here is ignored, because the write is complete and only this check depends on the note.
    """
    with suppress(OSError):
        if os.name == "posix":  # gallery.json's new name first: a power failure must not undo it and keep the note
            force_to_disk(folder)
        if version:
            place = folder / ACKNOWLEDGED
            place.mkdir(exist_ok=True)
            (place / str(version)).touch()
            for file in place.iterdir():
                if file.name.isdecimal() and int(file.name) < version:
                    file.unlink(missing_ok=True)


def newest_acknowledged(folder: Path) -> int:
    """The newest version that was acknowledged in the folder, as far as is known."""
    try:
        names = [file.name for file in (folder / ACKNOWLEDGED).iterdir()]
    except OSError:
        return 0
    return max((int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 20), default=0)


def outdated(folder: Path, version: int, newer: int) -> DataError:
    """The error for a ``gallery.json`` that is not the last one."""
    return DataError(
        f"{folder / HEAD} is outdated: it has version {version}, but version {newer} was acknowledged here. "
        "The gallery is neither read nor written, because items would be missing unnoticed. Restore the whole "
        f"folder from one copy; or, to continue from the older version and lose later items, remove "
        f"{folder / ACKNOWLEDGED}."
    )


def _text(body: Any) -> bytes:
    """The bytes whose checksum is stored."""
    return json.dumps(body, sort_keys=True).encode()


def check_file(path: Path, size: int, crc: int, left_out: Iterable[tuple[int, int]]) -> None:
    """Raise a DataError if a file has another size or CRC-32. ``left_out``: ranges (first, count) of bytes to skip."""
    check_size(path, size)
    if crc_of(path, left_out) != crc:
        raise damaged(path, "its checksum does not fit")


def check_size(path: Path, size: int) -> None:
    """Raise a DataError if a file has another size or is missing. This is the cheapest check."""
    try:
        found = path.stat().st_size
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from None
    if found != size:
        raise damaged(path, f"expected {size} bytes, found {found}")


def crc_of(path: Path, left_out: Iterable[tuple[int, int]]) -> int:
    """CRC-32 of a file's bytes without the ranges (first, count). DataError if it cannot be read."""
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
    """The error for a file whose content is not what was written."""
    return DataError(
        f"{path} is damaged: {reason}. Nothing is answered from a damaged gallery: restore its folder from a copy, or "
        "build it again."
    )
