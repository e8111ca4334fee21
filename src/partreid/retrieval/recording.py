"""Recording operations on a gallery in its audit log: who, when, what was asked, and the outcome."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partreid.base_config import ConfigModel
from partreid.errors import DataError, PartReIDError
from partreid.objects import Guided
from partreid.retrieval.audit_log import AuditLog
from partreid.retrieval.stores.addresses import without_secrets

if TYPE_CHECKING:
    from partreid.retrieval.gallery import Gallery
    from partreid.types.search import SearchResult

AUDIT_FOLDER = "audit"
"""Name of the log's folder inside a gallery's folder. If it exists, every operation is recorded."""
AUDIT_VARIABLE = "PARTREID_AUDIT"
"""Environment variable that names one log folder for all galleries without a log of their own."""

_MOST, _LONGEST = 50, 500


@dataclass(frozen=True)
class _Actor:
    who: str
    source: str
    address: str


_actor: ContextVar[_Actor | None] = ContextVar("_actor", default=None)
_inside: ContextVar[frozenset[int]] = ContextVar("_inside", default=frozenset())


@dataclass(repr=False)
class Event(Guided):
    """The outcome of a recorded operation. Fill it in before the block ends; None values are left out.

    Attributes:
        results: number of items in the answer. added, deleted, changed: numbers of items of the gallery.
    """

    results: int | None = None
    added: int | None = None
    deleted: int | None = None
    changed: int | None = None


@contextmanager
def acting(who: str = "", *, source: str, address: str = "") -> Iterator[None]:
    """Set who acts within the block, in this thread.

    Args:
        who: a name; empty = the user of the operating system. source: ``"command"``, ``"page"`` or ``"python"``.
        address: the origin of a request; "" = this machine.
    """
    token = _actor.set(_Actor(who or _system_user(), source, address))
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> str:
    """The name of the acting user: from :func:`acting`, or else the user of the operating system."""
    found = _actor.get()
    return _system_user() if found is None else found.who


@contextmanager
def recorded(
    gallery: Gallery, action: str, asked: Mapping[str, Any] | ConfigModel | None = None, *, changes: bool = False
) -> Iterator[Event]:
    """Record what the block does with a gallery, even if it fails. Without an audit log nothing is written.

    A change of the gallery is also recorded before it begins, so that it leaves a trace if the process is killed.
    Everything else is recorded at its end, before the caller has the answer. Inside the block of another event of the
    same gallery nothing is recorded, because the outer event says more.

    Args:
        gallery: with the log. action: one word, the name of the command.
        asked: the request: names, hashes and conditions, but no pixels and no vectors. For long lists, only the length,
            the hash and the first elements are recorded.
        changes: whether the gallery is changed.

    Raises:
        AuditLogError: the log cannot be written. Nothing is done then.

    Example:
        >>> from partreid.retrieval.gallery import Gallery
        >>> with recorded(Gallery(), "expire", {"until": "2026-11-01"}, changes=True) as event:
        ...     event.deleted = 3
    """
    outer, mine = _inside.get(), id(gallery.store)
    log = None if mine in outer else audit_log_of(gallery.store.location)
    event = Event()
    if log is None:
        yield event
        return
    begun = {"begun": log.append(_record(gallery, action, asked, {"outcome": "begun"}))} if changes else {}
    token = _inside.set(outer | {mine})
    try:
        yield event
    except BaseException as error:
        log.append(_record(gallery, action, asked, begun | _outcome(event) | _failed(error)))
        raise
    else:
        log.append(_record(gallery, action, asked, begun | {"outcome": "done"} | _outcome(event)))
    finally:
        _inside.reset(token)


def recorded_search(gallery: Gallery, asked: Mapping[str, Any], search: Callable[[], SearchResult]) -> SearchResult:
    """Run a search and record it. Arguments and errors as for :func:`recorded`."""
    with recorded(gallery, "search", asked) as event:
        result = search()
        event.results = sum(map(len, result.items))
    return result


def record_refusal(gallery: Gallery, action: str, asked: Mapping[str, Any], why: str) -> None:
    """Record an attempt that was refused before anything was done with the gallery.

    Args:
        gallery: with the log. action: the refused operation. asked: as in :func:`recorded`. why: in words.

    Raises:
        AuditLogError: the log cannot be written.
    """
    log = audit_log_of(gallery.store.location)
    if log is not None:
        log.append(_record(gallery, action, asked, {"outcome": "refused", "error": why[:_LONGEST]}))


def audit_log_of(location: str | Path) -> AuditLog | None:
    """The audit log of a gallery, in its folder or in ``$PARTREID_AUDIT``; None if there is neither.

    Args:
        location: the location of the gallery's store.
    """
    if "://" not in str(location):
        own = Path(location) / AUDIT_FOLDER
        if os.path.lexists(own):  # one that cannot be written to is no reason to go on without it
            return _log(str(own.absolute()))
    named = os.environ.get(AUDIT_VARIABLE)
    return _log(str(Path(named).absolute())) if named else None


def begin_audit_log(location: str | Path) -> Path:
    """Switch on the audit log of a gallery in a folder permanently. Its first record says who did this.

    Args:
        location: the gallery's folder.

    Returns:
        The log's folder.

    Raises:
        DataError: the gallery is not in a folder, or has a log already.
    """
    folder = Path(location) / AUDIT_FOLDER
    if "://" in str(location) or not Path(location).is_dir():
        raise DataError(
            f"{without_secrets(str(location))} is no gallery in a folder. For one on a server set {AUDIT_VARIABLE} to "
            "the log's folder wherever the gallery is used."
        )
    if folder.exists():
        raise DataError(f"The audit log in {folder} is on already.")
    _log(str(folder.absolute())).append(_who() | {"gallery": str(location), "action": "audit on", "outcome": "done"})
    return folder


@cache
def _log(folder: str) -> AuditLog:
    """One object for each log, so that threads wait for each other instead of asking the disk."""
    return AuditLog(folder)


def _record(gallery: Gallery, action: str, asked: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    place = without_secrets(gallery.store.location)
    return _who() | {"gallery": place, "action": action, "asked": _plain(asked or {}), **more}


def _who() -> dict[str, Any]:
    found = _actor.get() or _Actor(_system_user(), "python", "")
    return {"who": found.who, "source": found.source} | ({"address": found.address} if found.address else {})


def _outcome(event: Event) -> dict[str, int]:
    return {name: value for name, value in vars(event).items() if value is not None}


def _failed(error: BaseException) -> dict[str, str]:
    words = str(error) if isinstance(error, PartReIDError) else ""
    return {"outcome": "failed", "error": f"{type(error).__name__}: {words}"[:_LONGEST]}


def _plain(value: Any) -> Any:
    """What was asked as JSON, of bounded length."""
    if isinstance(value, ConfigModel):
        return _plain(value.model_dump(mode="json", exclude_defaults=True))
    if isinstance(value, Mapping):
        return {str(key)[:_LONGEST]: _plain(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        every = [_plain(one) for one in value]
        if len(every) <= _MOST:
            return every
        digest = sha256("\n".join(map(str, every)).encode()).hexdigest()
        return {"count": len(every), "sha256": digest, "first": every[:5]}
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def file_hashes(files: Iterable[str | Path]) -> list[dict[str, str]]:
    """Names and SHA-256 of files, for the record of queries; without the hash if a file cannot be read."""
    found = []
    for file in files:
        named = {"file": str(file)}
        try:
            with Path(file).open("rb") as stream:
                digest = sha256()
                while some := stream.read(2**20):
                    digest.update(some)
            found.append(named | {"sha256": digest.hexdigest()})
        except (OSError, ValueError):
            found.append(named)
    return found
