"""``gallery.json``: which files make up a gallery, and what they must look like.

It is replaced in one step when everything it names is on the disk: that is the moment a write is acknowledged. Lance
checks neither its manifests nor its data, and falls back to an older manifest where the newest cannot be read; so
readers start here and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.retrieval.stores.base import FORMAT_VERSION, GalleryHeader

HEAD = "gallery.json"
ACKNOWLEDGED = "acknowledged"
"""Folder of one empty file, whose name is the newest version that was ever acknowledged."""

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
        _acknowledge(folder, self.version)

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
                f"{FORMAT_VERSION}. Older: build the gallery again from its images. Newer: update partreid."
            )
        try:
            crc = _crc(whole.get("gallery"))
        except RecursionError:
            raise damaged(path, "it is nested too deep") from None
        if crc != whole.get("crc"):
            raise damaged(path, "its checksum is another")
        try:
            return cls(**_typed(whole["gallery"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(path, f"it says what no gallery is ({type(error).__name__}: {error})") from None


def _typed(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a head. Nothing is believed of a file: numbers say how much is read, and names which files."""
    header, manifest = body["header"], body["manifest"]
    about = header and GalleryHeader(
        _texts(header["slots"]),
        _whole(header["width"], least=1),
        _text(header["model"]),
        _choice(header.get("compare_normalized")),  # former versions did not say it
    )
    entries = tuple(_fragment(entry, about) for entry in body["fragments"])
    if len({entry.file for entry in entries}) < len(entries):
        raise ValueError("a file stands in it twice")
    return {
        "header": about,
        "version": _whole(body["version"]),
        "manifest": manifest and _small_file(manifest, "_versions"),
        "fragments": entries,
    }


def _fragment(entry: dict[str, Any], header: GalleryHeader) -> FragmentEntry:
    size, rows, deleted = (_whole(entry[key]) for key in ("size", "rows", "deleted"))
    extents = tuple((_whole(first), _whole(count)) for first, count in entry["extents"])
    row_bytes = 2 * len(header.slots) * header.width
    if sum(count for _, count in extents) != rows * row_bytes or any(
        count % row_bytes or first + count > size for first, count in extents
    ):
        raise ValueError(f"{rows} rows of {row_bytes} bytes do not lie at {extents!s:.80} of {size} bytes")
    deletions = entry["deletions"] and _small_file(entry["deletions"], "_deletions")
    if deleted > rows or bool(deleted) != bool(deletions):
        raise ValueError(f"{deleted} of {rows} rows are deleted")
    file = _name(entry["file"])
    return FragmentEntry(_whole(entry["id"]), file, size, rows, extents, _whole(entry["crc"]), deletions, deleted)


def _small_file(entry: dict[str, Any], folder: str) -> CheckedFile:
    above, _, name = _text(entry["file"]).partition("/")
    if above != folder:
        raise ValueError(f"{entry['file']!r:.80} does not lie in {folder}")
    return CheckedFile(f"{folder}/{_name(name)}", _whole(entry["size"]), _whole(entry["crc"]))


def _whole(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
        raise ValueError(f"{value!r:.80} is no number of at least {least}")
    return value


def _choice(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{value!r:.80} is neither true nor false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is no text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not values:
        raise TypeError(f"{values!r:.80} is no list of texts")
    return tuple(map(_text, values))


def _name(value: Any) -> str:
    """Of a file in a folder, not of one elsewhere."""
    if not re.fullmatch(r"\w[\w.-]*", _text(value), re.ASCII):
        raise ValueError(f"{value!r:.80} is no name of a file in the gallery")
    return str(value)


def _acknowledge(folder: Path, version: int) -> None:
    """Note that a version is the gallery, beside ``gallery.json``: an older one put back is noticed by it.

    Nothing depends on it but that notice, so an error here is none of the write, which is done.
    """
    with suppress(OSError):
        if os.name == "posix":  # first the new name of gallery.json, so that a power failure never undoes that alone
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        if version:
            place = folder / ACKNOWLEDGED
            place.mkdir(exist_ok=True)
            (place / str(version)).touch()
            for file in place.iterdir():
                if file.name.isdecimal() and int(file.name) < version:
                    file.unlink(missing_ok=True)


def newest_acknowledged(folder: Path) -> int:
    """The newest version that was acknowledged there, as far as is known."""
    try:
        names = [file.name for file in (folder / ACKNOWLEDGED).iterdir()]
    except OSError:
        return 0
    return max((int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 20), default=0)


def outdated(folder: Path, version: int, newer: int) -> DataError:
    """The error for a ``gallery.json`` that is not the last one."""
    return DataError(
        f"{folder / HEAD} is an older one: it says version {version}, and version {newer} was acknowledged here. "
        "Nothing is answered from it, and nothing written: items would be missing without a word. Put the whole folder "
        f"back from one copy; or, to go on from the older version and lose what came later, remove "
        f"{folder / ACKNOWLEDGED}."
    )


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
