"""Stores of galleries: in memory, in a folder, on a Qdrant server, in PostgreSQL, or a store of your own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from partreid.errors import DataError, WrongTypeError
from partreid.files import nameable
from partreid.objects import brief
from partreid.registry import Registry
from partreid.retrieval.stores.addresses import without_secrets

if TYPE_CHECKING:  # every command imports this package for its addresses, and should not wait for PyTorch
    from partreid.retrieval.search.exact import Engine
    from partreid.retrieval.stores.base import GalleryStore

_QDRANT = "partreid.retrieval.stores.qdrant.store:QdrantStore.open"
_POSTGRES = "partreid.retrieval.stores.postgres.store:PostgresStore"
STORES: Registry[Callable[..., GalleryStore]] = Registry(
    "store",
    group="partreid.stores",
    own={"qdrant": _QDRANT, "qdrant+https": _QDRANT, "postgres": _POSTGRES, "postgresql": _POSTGRES},
)
"""Functions that open a store, by the scheme of its location. They are called like :func:`open_store`, with
``(location, *, create)``. A location without a scheme is a folder."""


def open_store(location: str | Path, *, create: bool = True) -> GalleryStore:
    """The store at a location; see :meth:`partreid.retrieval.Gallery.open`.

    Args:
        location: a folder, or ``scheme://...`` with one of :data:`STORES`. create: whether to begin a new gallery if
            there is none.

    Raises:
        DataError: there is no gallery and ``create`` is False, it cannot be opened, or the scheme is unknown.
        MissingDependencyError: the location needs an extra that is not installed.
    """
    scheme, separator, _ = str(location).partition("://")
    if separator and scheme in STORES:
        return STORES[scheme](str(location), create=create)
    # A folder named like an address would show its password.
    if separator or re.match(r"(postgres(ql)?|qdrant(\+https)?):|.*\bpassword\s*=", str(location), re.IGNORECASE):
        others = [f"{name}://..." for name in STORES.names() if name not in STORES.own]
        raise DataError(
            f"No gallery can be kept at {without_secrets(str(location))}: expected a folder, qdrant://host:6333/name, "
            f"{''.join(f'{other}, ' for other in others)}or postgres://user@host/database?gallery=name."
        )
    from partreid.retrieval.stores.lance.store import LanceStore

    return LanceStore(nameable(location, error=DataError), create=create)


def store_of(location: str | Path | GalleryStore | None, *, create: bool, engine: Engine) -> GalleryStore:
    """Like :func:`open_store`, but None gives a new store in memory, and a store is returned unchanged."""
    if location is None:
        from partreid.retrieval.stores.memory import MemoryStore

        return MemoryStore(engine=engine)
    if location == ":memory:":
        raise DataError("A gallery in memory has no location. Write Gallery().")
    if isinstance(location, str | os.PathLike):
        return open_store(location, create=create)
    if not hasattr(location, "nearest"):
        raise WrongTypeError(
            f'Expected a folder or an address, got {brief(location)}. Write Gallery("people", extractor=extractor); '
            "gallery.add(embeddings, ids) adds embeddings."
        )
    return location
