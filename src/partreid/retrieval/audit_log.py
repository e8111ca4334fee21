"""The audit log: lines of JSON, each with the SHA-256 of the line before, so that every change can be detected."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from partreid.errors import DataError
from partreid.files import force_to_disk, hold_folder, nameable, replace_file
from partreid.json_files import parse_json
from partreid.objects import Guided
from partreid.types.numbers import require_whole

NOTHING = "0" * 64
"""The first record has no record before it; this stands in place of that record's hash."""

_HEAD = "head.json"  # the last record's number and hash: a log that was cut short does not fit it
_ROTATED = 16 * 2**20
_PATIENCE = 30.0
_TAIL = 2**16
_MOST_PROBLEMS = 20


class AuditLogError(DataError):
    """An audit log cannot be read or written, or was changed."""


@dataclass(frozen=True, repr=False)
class AuditCheck(Guided):
    """The result of :meth:`AuditLog.verify`.

    Attributes:
        records: their number. head: SHA-256 of the last line. Keep it elsewhere, because it depends on all lines.
        problems: descriptions of changed or removed records; empty if the chain is intact.
        notes: descriptions of harmless traces of a killed process.
    """

    records: int
    head: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]


class AuditLog(Guided):
    """Records of who did what, in a folder; several processes may write at once.

    A file such as ``000000000001.jsonl`` is named after its first record. When it has become large, a new file begins,
    and the chain of hashes continues there (a linked timestamp log: Haber and Stornetta, "How to time-stamp a digital
    document", 1991). Anybody who can write to the folder can make a completely new chain. Even this can be detected if
    the hash that :meth:`verify` returns is kept elsewhere.

    Args:
        folder: of the log; created with the first record. rotate_bytes: size at which a new file begins.

    Example:
        >>> import tempfile
        >>> log = AuditLog(tempfile.mkdtemp())
        >>> log.append({"action": "search"}), log.append({"action": "delete"})
        (1, 2)
        >>> [record["action"] for record in log.records()], log.verify().problems
        (['search', 'delete'], ())
    """

    def __init__(self, folder: str | Path, *, rotate_bytes: int = _ROTATED) -> None:
        self.folder = nameable(folder, error=AuditLogError)
        self._rotate_bytes = require_whole("rotate_bytes", rotate_bytes, least=1)
        self._turn = Lock()

    def append(self, record: Mapping[str, Any]) -> int:
        """Write a record. It is on the disk when this method returns. The log adds ``number``, ``time`` and
        ``previous``.

        Args:
            record: values that JSON can represent.

        Returns:
            Its number; the first has 1.

        Raises:
            AuditLogError: the record is not JSON, the log cannot be written, or its end is damaged. Nothing is written
                then.
        """
        with self._turn, hold_folder(self.folder, error=AuditLogError, patience=_PATIENCE):
            try:
                return self._append(record)
            except (TypeError, ValueError, RecursionError, OSError) as error:
                if isinstance(error, AuditLogError):
                    raise
                reason = error.strerror if isinstance(error, OSError) else error
                raise AuditLogError(f"The audit log {self.folder} cannot take a record: {reason}.") from None

    def _append(self, record: Mapping[str, Any]) -> int:
        number, previous, torn = self._end()
        number += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"number": number, "time": now, **record, "previous": previous}
        file, size = self._newest()
        if torn:  # a killed process wrote half a line, and had not begun what it wanted to record
            line["torn"] = torn
            size -= torn
            os.truncate(file, size)
        data = json.dumps(line, allow_nan=False).encode()
        new = size >= self._rotate_bytes or not file.exists()
        if new:
            file = self.folder / f"{number:012d}.jsonl"
        with file.open("ab", buffering=0) as stream:
            stream.write(data + b"\n")
            os.fsync(stream.fileno())
        if new:
            force_to_disk(self.folder)
        head = {"number": number, "sha256": sha256(data).hexdigest()}
        replace_file(self.folder / _HEAD, json.dumps(head).encode(), error=AuditLogError)
        return number

    def records(self) -> Iterator[dict[str, Any]]:
        """All records, oldest first.

        Raises:
            AuditLogError: a line is damaged, or a file cannot be read.
        """
        for file, place, line in self._lines():
            if line.endswith(b"\n"):
                yield _parsed(line, f"{file}, line {place}")

    def verify(self, expect: Iterable[str] = ()) -> AuditCheck:
        """Check whether the chain is intact.

        A line that a killed process left half-written does not count as a change: it is the last line, and has no end.

        Args:
            expect: hashes of records that must be in the log: heads that were kept elsewhere. If old files were removed
                on purpose, give the last head before the first remaining record.

        Raises:
            AuditLogError: a file cannot be read.
        """
        wanted = {expect} if isinstance(expect, str) else {*expect}
        with self._turn, hold_folder(self.folder, error=AuditLogError, patience=_PATIENCE):
            return self._verify(wanted)

    def _verify(self, wanted: set[str]) -> AuditCheck:
        problems: list[str] = []
        notes: list[str] = []
        number, head, count, known = 0, NOTHING, 0, set[str]()
        last = self._head()
        for file, place, line in self._lines():
            where = f"{file.name}, line {place}"
            if not line.endswith(b"\n"):
                notes.append(
                    f"{where} is incomplete: a process was killed while it wrote this record, and so before it did "
                    "anything. The next record will say so."
                )
                continue
            try:
                record = _parsed(line, where)
                here, previous = int(record["number"]), str(record["previous"])
            except (DataError, KeyError, TypeError, ValueError):
                problems.append(f"{where} is not a record: it was changed.")
                head = sha256(line.rstrip(b"\n")).hexdigest()
                number += 1
                continue
            if not count and here != 1:
                if previous not in wanted:
                    problems.append(
                        f"The log begins with record {here}: earlier records were removed. If this was intended, "
                        "give the head of that time (--expect)."
                    )
                known.add(previous)
            elif here != number + 1:
                problems.append(f"{where}: expected record {number + 1}, got {here}: records were removed or added.")
            elif previous != head:
                problems.append(f"{where}: record {here} does not follow the one before: one of the two was changed.")
            number, count, head = here, count + 1, sha256(line.rstrip(b"\n")).hexdigest()
            known.add(head)
            if last is not None and last[0] == here and last[1] != head:
                problems.append(f"{where}: record {here} is not the one that was written last then: it was changed.")
        if last is not None and last[0] > number:
            problems.append(f"The log ends with record {number}, and {last[0]} were written: the end was cut off.")
        missing = sorted(wanted - known)
        problems += [f"There is no record with the hash {one:.80}: the log was cut or made anew." for one in missing]
        return AuditCheck(count, head, tuple(problems[:_MOST_PROBLEMS]), tuple(notes))

    def _files(self) -> list[Path]:
        try:
            found = (file for file in self.folder.iterdir() if file.suffix == ".jsonl" and file.stem.isdecimal())
            return sorted(found, key=lambda file: int(file.stem))
        except OSError as error:
            raise AuditLogError(f"The audit log {self.folder} cannot be read: {error.strerror or error}.") from None

    def _newest(self) -> tuple[Path, int]:
        """The file that is written to, and its size."""
        files = self._files()
        return (files[-1], files[-1].stat().st_size) if files else (self.folder / "none", 0)

    def _lines(self) -> Iterator[tuple[Path, int, bytes]]:
        for file in self._files():
            try:
                with file.open("rb") as stream:
                    for place, line in enumerate(stream, 1):
                        yield file, place, line
            except OSError as error:
                raise AuditLogError(f"{file} cannot be read: {error.strerror or error}.") from None

    def _head(self) -> tuple[int, str] | None:
        """The stored number and hash of the last record; None if a power failure left nothing of them."""
        try:
            content = parse_json((self.folder / _HEAD).read_bytes(), source=_HEAD, error=AuditLogError)
            return int(content["number"]), str(content["sha256"])
        except (OSError, DataError, KeyError, TypeError, ValueError):
            return None

    def _end(self) -> tuple[int, str, int]:
        """Number and hash of the last complete record, and how many bytes of an incomplete one follow it."""
        number, head, torn = 0, NOTHING, 0
        for file in reversed(self._files()):
            line, rest = _last_line(file)
            torn = torn or rest
            if line:
                record = _parsed(line, str(file))
                number = record.get("number", 0)
                if not isinstance(number, int) or number < 1:
                    raise AuditLogError(f"{file}: its last line is no record. See: partreid audit verify {self.folder}")
                head = sha256(line).hexdigest()
                break
        kept = self._head()
        if kept is not None and (kept[0] > number or (kept[0] == number and kept[1] != head)):
            raise AuditLogError(
                f"The end of the audit log {self.folder} was changed or cut off, so nothing more is written to it, and "
                f"nothing is done that would have to be. See: partreid audit verify {self.folder}. Keep that folder "
                "elsewhere as evidence; a new log begins in its place."
            )
        return number, head, torn


def _last_line(file: Path) -> tuple[bytes, int]:
    """The last complete line of a file without its end (b"" = there is none), and how many bytes follow it."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        length = min(_TAIL, size)
        while True:
            stream.seek(size - length)
            content = stream.read(length)
            end = content.rfind(b"\n")
            start = content.rfind(b"\n", 0, max(end, 0))
            if length == size or (end >= 0 and start >= 0):
                break
            length = min(2 * length, size)
    return (content[start + 1 : end] if end >= 0 else b""), len(content) - end - 1


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    record = parse_json(line, source=where, error=AuditLogError)
    if not isinstance(record, dict):
        raise AuditLogError(f"{where} is no record of an audit log.")
    return record
