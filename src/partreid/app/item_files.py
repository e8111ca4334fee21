"""Image files that a gallery names, read within a time limit: a name may lead to a device or to a dead disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from threading import Lock

from partreid.app.threads import start
from partreid.errors import DataError

_MOST_STUCK = 16


class SilentFileError(DataError):
    """A file, or the disk that it lies on, does not answer."""


class ItemFiles:
    """Reads each file in a thread of its own, and waits for none longer than ``seconds``.

    Args:
        most_bytes: files larger than this are not read. seconds: how long one may take.
    """

    def __init__(self, *, most_bytes: int, seconds: float) -> None:
        self._most_bytes, self._seconds = most_bytes, seconds
        self._stuck: set[str] = set()
        self._lock = Lock()

    def read(self, name: str) -> bytes | None:
        """The content of a plain file; None where there is none of that absolute path, or it is too large.

        Raises:
            SilentFileError: it does not answer in time, or an earlier read of it still waits.
        """
        with self._lock:
            if name in self._stuck or len(self._stuck) >= _MOST_STUCK:
                raise SilentFileError(self._words)
        reading = start(lambda: read_plain_file(Path(name), self._most_bytes))
        try:
            return reading.result(timeout=self._seconds)
        except TimeoutError:
            with self._lock:
                self._stuck.add(name)
            reading.add_done_callback(lambda _: self._answered(name))  # at once if it has answered by now
            raise SilentFileError(self._words) from None

    def _answered(self, name: str) -> None:
        with self._lock:
            self._stuck.discard(name)

    @property
    def _words(self) -> str:
        return f"The item's image file, or the disk that it lies on, did not answer within {self._seconds:g} seconds."


def read_plain_file(path: Path, most_bytes: int) -> bytes | None:
    """The content of a plain file of at most that size; None where it is none, or cannot be read.

    Devices, pipes and sockets are not even opened: some never answer, some start something. Files of size 0, such as
    those of /proc, hold no image. A relative path is refused: the folder that it was relative to is not known.

    Example:
        >>> read_plain_file(Path("/dev/zero"), 10) is None
        True
    """
    try:
        if not path.is_absolute() or not stat.S_ISREG(path.stat().st_mode):
            return None
        # Without waiting: the file may have become a pipe since.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= most_bytes:
                return None
            content = bytearray()
            while len(content) < found.st_size and (some := file.read(found.st_size - len(content))):
                content += some
            return bytes(content)
    except (OSError, ValueError):  # ValueError: no path can have this name
        return None
