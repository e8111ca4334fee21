"""Without their libraries, galleries on servers say which extra to install."""

from __future__ import annotations

import sys

import pytest

from partreid.errors import DataError, MissingDependencyError
from partreid.retrieval import Gallery


@pytest.mark.parametrize(
    ("library", "modules", "location", "extra"),
    [
        ("psycopg", ("postgres.store", "postgres.statements"), "postgres://host/db?gallery=a", "postgres"),
        ("qdrant_client", ("qdrant.store", "qdrant.query", "qdrant.collection"), "qdrant://host/a", "qdrant"),
    ],
)
def test_missing(
    monkeypatch: pytest.MonkeyPatch, library: str, modules: tuple[str, ...], location: str, extra: str
) -> None:
    for module in modules:
        monkeypatch.delitem(sys.modules, f"partreid.retrieval.stores.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf'pip install "partreid\[{extra}\]"'):
        Gallery.open(location)


def test_unknown_scheme() -> None:
    with pytest.raises(DataError, match="expected a folder, qdrant://.*postgres://"):
        Gallery.open("mysql://host/a")
