"""Without their libraries, galleries on servers say which extra to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from partreid.errors import DataError
from partreid.retrieval import Gallery


@pytest.mark.parametrize(
    ("library", "location", "extra"),
    [("psycopg", "postgres://host/db?gallery=a", "postgres"), ("qdrant_client", "qdrant://host/a", "qdrant")],
)
def test_missing(library: str, location: str, extra: str) -> None:
    """In a process of its own: a store that was opened once stays loaded."""
    code = f"import sys; sys.modules[{library!r}] = None; import partreid; partreid.Gallery({location!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "MissingDependencyError: " in run.stderr
    assert f'pip install "partreid[{extra}]"' in run.stderr


def test_unknown_scheme() -> None:
    with pytest.raises(DataError, match="expected a folder, qdrant://.*postgres://"):
        Gallery.open("mysql://host/a")
