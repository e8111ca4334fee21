"""Where galleries are kept: in memory, in a folder, on a Qdrant server, in PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path

from partreid.errors import DataError
from partreid.files import nameable
from partreid.retrieval.stores.addresses import without_secrets
from partreid.retrieval.stores.base import GalleryStore


def open_store(location: str | Path, *, create: bool = True) -> GalleryStore:
    """The store at a location; see :meth:`partreid.retrieval.Gallery.open`.

    Raises:
        DataError: there is none and none is to be made, or it cannot be opened, or no store is known by that scheme.
        MissingDependencyError: the location needs an extra that is not installed.
    """
    scheme, separator, _ = str(location).partition("://")
    if not separator and re.match(r"(postgres(ql)?|qdrant(\+https)?):|.*\bpassword\s*=", str(location), re.IGNORECASE):
        raise DataError(_EXPECTED.format(without_secrets(str(location))))  # a folder of that name would show it
    if not separator:
        from partreid.retrieval.stores.lance.store import LanceStore

        return LanceStore(nameable(location, error=DataError), create=create)
    if scheme in ("qdrant", "qdrant+https"):
        from partreid.retrieval.stores.qdrant.store import QdrantStore

        return QdrantStore.open(str(location), create=create)
    if scheme in ("postgres", "postgresql"):
        from partreid.retrieval.stores.postgres.store import PostgresStore

        return PostgresStore.open(str(location), create=create)
    raise DataError(_EXPECTED.format(without_secrets(str(location))))


_EXPECTED = (
    "No gallery can be kept at {}: expected a folder, qdrant://host:6333/name, or "
    "postgres://user@host/database?gallery=name."
)
