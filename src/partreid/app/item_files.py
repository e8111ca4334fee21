"""Image files that a gallery names: read within a time limit, since nobody knows what lies under these names."""

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
    """Reads files, each in a thread of its own, and waits for none longer than ``seconds``.

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
            SilentFileError: it does not answer in time, or did not the last time and still is asked.
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

    Devices, pipes and sockets are not even opened: some answer never, some start something. Files whose size is said to
    be 0, such as those of /proc, hold no image. Where a relative path led, nobody knows any more.

    Example:
        >>> read_plain_file(Path("/dev/zero"), 10) is None
        True
    """
    try:
        if not path.is_absolute() or not stat.S_ISREG(path.stat().st_mode):
            return None
        # Without waiting: what stands under the name may have become a pipe just now.
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
