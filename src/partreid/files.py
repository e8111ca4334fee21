"""Writing files and folders so that nothing half-written is ever left behind."""

from __future__ import annotations

import errno
import glob
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from filelock import lock_descriptor

from partreid.errors import PartReIDError

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes; the usual limits of file systems


def nameable(path: str | Path, *, error: type[PartReIDError] = PartReIDError) -> Path:
    """A path that a file or folder can have; for others Python and the system have errors of several kinds.

    Args:
        path: as it came. error: raised for one with a NUL, half a surrogate pair, or a very long name.
    """
    try:
        encoded, names = os.fsencode(path), [os.fsencode(part) for part in Path(path).parts]
    except UnicodeEncodeError:
        encoded, names = b"\0", []
    if b"\0" in encoded or len(encoded) > _LONGEST_PATH or any(len(name) > _LONGEST_NAME for name in names):
        raise error(f"{str(path)!r:.80} is no name that a file or folder can have. Choose another.")
    return Path(path)


def posix_name(path: str | PurePath) -> str:
    """A path as text with "/" between its parts on every system: ids, patterns and tables go from one to another.

    Args:
        path: as it came; a text stays as it is where the system itself writes "/".

    Example:
        >>> from pathlib import PureWindowsPath
        >>> posix_name(PureWindowsPath("crops", "gate", "7.jpg")), posix_name("./7.jpg")
        ('crops/gate/7.jpg', './7.jpg')
    """
    return path.as_posix() if isinstance(path, PurePath) else path.replace(os.sep, "/")


@contextmanager
def atomic_file(
    path: str | Path, *, error: type[PartReIDError] = PartReIDError, private: bool = False
) -> Iterator[Path]:
    """A temporary path in the same folder that becomes ``path`` if the block succeeds, else vanishes.

    Args:
        path: the file to write; its folder is made if missing.
        error: raised in place of an ``OSError`` (a full disk, a read-only folder).
        private: whether only the user may read it, whatever the system's habit.
    """
    path = nameable(path, error=error)
    with _explained(path, error):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(
                0o600 if private else 0o666 & ~_umask()
            )  # now: some libraries write a file of their own in its place
            force_to_disk(temporary)
            os.replace(temporary, path)  # noqa: PTH105 - replaces an existing file on every system
        finally:
            with suppress(OSError):  # the first error says more
                temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str, *, error: type[PartReIDError] = PartReIDError) -> None:
    """Write a text file, whole or not at all; a character that UTF-8 has not, as names of files may hold, becomes "?".

    Args:
        path: the file; its folder is made if missing. text: what it will hold. error: as of :func:`atomic_file`.
    """
    with atomic_file(path, error=error) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def replace_file(path: str | Path, data: bytes, *, error: type[PartReIDError] = PartReIDError) -> None:
    """Write one of very many small files: whole or not at all when the process is killed.

    Unlike :func:`atomic_file` it does not wait for the disk, so that a power failure may leave an empty file behind:
    for files that are checked when they are read and can be made again. A kill may leave
    ``.<start of the name>.part``, which the next call for the same path replaces.

    Args:
        path: the file; its folder is made if missing. data: what it will hold.
        error: raised in place of an ``OSError``.
    """
    path = nameable(path, error=error)
    temporary = path.with_name(f".{path.name[:60]}.part")  # at most 246 bytes in UTF-8, whatever the name
    with _explained(path, error):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.replace(temporary, path)  # noqa: PTH105 - replaces an existing file on every system
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def hold_folder(path: str | Path, *, error: type[PartReIDError] = PartReIDError, patience: float = 0) -> Iterator[None]:
    """Keep other processes from holding the same folder; a process that ends, even killed, lets go of it.

    Windows does not lock folders, and some network disks lock nothing: there nothing is kept out. It is the folder that
    is locked, by its descriptor: filelock's ``FileLock`` would leave a file in it.

    Args:
        path: the folder; it is made if missing.
        error: raised where another holds it, and in place of an ``OSError``.
        patience: seconds to wait for the other to let go.
    """
    path = nameable(path, error=error)
    with _explained(path, error):
        path.mkdir(parents=True, exist_ok=True)
        handle = _open_folder(path)
    try:
        deadline = time.monotonic() + patience
        while _lock(handle) is False:
            if time.monotonic() >= deadline:
                raise error(f"Another process is writing into {path}. Wait for it to end, or choose another folder.")
            time.sleep(0.01)
        yield
    finally:
        _close(handle)


@contextmanager
def hold_work(path: str | Path, work: str, *, error: type[PartReIDError] = PartReIDError) -> Iterator[None]:
    """Be the only process at some long work. Its file says who is at it, and goes at the end.

    A process that is killed leaves the file behind and lets go of it: the next one takes it over. Where the disk has
    no locks (some network disks) nothing is kept out.

    Args:
        path: the file; its folder is made if missing. work: what is done, for the message ("training into runs/a").
        error: raised where another is at it, and in place of an ``OSError``.
    """
    path = nameable(path, error=error)
    new = not path.parent.exists()
    with _explained(path, error):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8", errors="replace")
        while (free := _lock(stream.fileno())) and not _is_file_of(path, stream.fileno()):
            stream.close()  # whoever held it has removed it meanwhile
            stream = path.open("a+", encoding="utf-8", errors="replace")
        if free is False:
            who = ""
            with stream, suppress(OSError):  # Windows lets nobody read it meanwhile
                stream.seek(0)
                who = stream.read(200).strip()
            raise error(f"{who or 'Another process'} is {work}. Wait for it to end, or choose another folder.")
        stream.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        stream.write(f"Process {os.getpid()} on {platform.node() or 'this machine'}, since {since},")
        stream.flush()
    try:
        yield
    finally:
        if sys.platform == "win32":
            stream.close()  # it removes no open file
        with suppress(OSError):
            path.unlink()
            if new:
                path.parent.rmdir()  # where nothing came of the work
        stream.close()


@contextmanager
def atomic_folder(path: str | Path, *, error: type[PartReIDError] = PartReIDError) -> Iterator[Path]:
    """A temporary folder that becomes ``path`` if the block succeeds; a folder that was there is replaced whole.

    Arguments as in :func:`atomic_file`; a file at ``path`` is an error and stays. A process killed between the two
    renames leaves the former folder as ``<path>.previous``; see :func:`recover_folder`.
    """
    path = nameable(path, error=error)
    with _explained(path, error):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file")
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        handle: int | None = None
        try:
            handle = _open_folder(temporary)
            _lock(handle)  # mend_folder leaves it alone then
            temporary.chmod(0o777 & ~_umask())
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    file.chmod(0o666 & ~_umask())  # as in atomic_file
                    force_to_disk(file)
            _exchange(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _close(handle)


def recover_folder(path: str | Path) -> Path:
    """``path``; if a killed process left only its former version, that one is put back first.

    Where it cannot be put back (a read-only disk), the former version's own path is returned.
    """
    path = Path(path)
    if path.exists() or not _previous(path).exists():
        return path
    try:
        return _previous(path).rename(path)
    except OSError:
        return path if path.exists() else _previous(path)


def mend_folder(path: str | Path) -> None:
    """Clear up after a process that was killed in :func:`atomic_folder`.

    The former version is put back if it is the only one, and what was half-written is removed; what another process
    is writing at this moment stays.
    """
    path = recover_folder(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        try:
            handle = _open_folder(leftover)
        except OSError:  # gone already, or no folder
            continue
        abandoned = _lock(handle)
        if abandoned is None:  # nothing can be locked here
            abandoned = time.time() - _last_change(leftover) > _ABANDONED
        if abandoned:
            shutil.rmtree(leftover, ignore_errors=True)
        _close(handle)


_ABANDONED = 3600.0
"""Seconds without a change until what is half-written counts as a killed process's, where there are no locks."""


def _exchange(temporary: Path, path: Path) -> None:
    """Put a folder in the place of another, which is kept until then."""
    previous = _previous(path)
    for attempt in range(_ATTEMPTS):
        if path.exists():
            shutil.rmtree(previous, ignore_errors=True)
            path.rename(previous)
        try:
            temporary.rename(path)
            break
        except OSError:
            recover_folder(path)  # a reader may have done the same, just then
            if attempt + 1 == _ATTEMPTS:
                raise
    shutil.rmtree(previous, ignore_errors=True)


_ATTEMPTS = 3


def _last_change(folder: Path) -> float:
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return time.time()


def _open_folder(path: Path) -> int | None:
    """A handle to lock; None on Windows, which has none of folders."""
    return None if sys.platform == "win32" else os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _lock(handle: int | None) -> bool | None:
    """Lock an open file or folder until it is closed: False where another holds it, None where there are no locks."""
    try:
        return None if handle is None else lock_descriptor(handle, blocking=False)
    except OSError:  # none on this disk
        return None


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _is_file_of(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def force_to_disk(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)  # there only writers may wait
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _explained(path: Path, error: type[PartReIDError]) -> Iterator[None]:
    """An error of the system in writing ``path`` as one of ours."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise error(
            f"Cannot write {path}: {reason}. What was there before is unchanged; free space or choose another folder."
        ) from problem
