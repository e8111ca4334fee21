"""A gallery in each store, and a PostgreSQL server where one is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.retrieval.stores.backends import NAMES, Backend, make

_COUNT = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Callable[[], str]]:
    """Starts PostgreSQL when first called; its location without a gallery's name."""
    from tests.retrieval.stores.pgserver import Server

    started: list[Server] = []

    def location() -> str:
        if not started:
            started.append(Server())
        return started[0].location

    yield location
    for one in started:
        one.stop()


@pytest.fixture(scope="session", params=NAMES)
def new_backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Callable[[], str]
) -> Callable[[], Backend]:
    """Makes an empty gallery at each call."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    return lambda: make(request.param, folder, _COUNT, server)


@pytest.fixture
def backend(new_backend: Callable[[], Backend]) -> Backend:
    """One empty gallery."""
    return new_backend()
