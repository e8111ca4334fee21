"""A gallery in a folder: a Lance dataset, and ``gallery.json`` with its acknowledged state. Needs ``gallery``.

The Lance library (PyPI: pylance) is imported here, without its warnings, for all modules of this package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from partreid.errors import DataError, needs_extra
from partreid.retrieval.stores.lance.head import damaged

__all__ = ["lance", "lance_errors"]

# Lance reads this variable once, when it is imported. By default it warns of every new dataset on standard error.
_quiet = "LANCE_LOG" not in os.environ
if _quiet:
    os.environ["LANCE_LOG"] = "error"
try:
    with needs_extra("gallery", "A gallery in a folder"):
        import lance
        import lance.file
        import lance.fragment
        import pyarrow as pa
finally:
    if _quiet:
        del os.environ["LANCE_LOG"]


@contextmanager
def lance_errors(path: Path, kind: Callable[[Path, str], DataError] = damaged) -> Iterator[None]:
    """Turn errors of Lance and of the system, and panics of Lance's Rust code, into an error about a path."""
    try:
        yield
    except DataError:  # it is about a path already
        raise
    except BaseException as error:
        known = isinstance(error, OSError | ValueError | RuntimeError | TypeError | pa.ArrowException)
        if known or type(error).__name__ == "PanicException":
            raise kind(path, f"{error!s:.300}") from error
        raise
