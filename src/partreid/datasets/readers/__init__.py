"""Readers: from a folder to a :class:`~partreid.types.ReIDDataset`. One file per layout."""

from __future__ import annotations

from pathlib import Path

from partreid.datasets.readers.market1501 import looks_like_market1501, read_market1501
from partreid.errors import DataError
from partreid.labels.locate import AUTO
from partreid.types import ReIDDataset

__all__ = ["read_dataset", "read_market1501"]

_READERS = {"Market-1501": (looks_like_market1501, read_market1501)}
"""Layout name: (does this folder look like it, reader); the first that fits is taken."""


def read_dataset(root: str | Path, *, labels: str | None = AUTO) -> ReIDDataset:
    """Read a data set of any known layout.

    Args:
        root: the data set's folder.
        labels: label folder within ``<root>/masks``; ``"auto"`` takes the only one there is, None takes none.

    Raises:
        DataError: there is no such folder, no reader knows its layout, or its content does not fit.
        LabelError: the label folder is missing or not the only one.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"Data set folder {root} does not exist. Check the path.")
    for fits, read in _READERS.values():
        if fits(root):
            return read(root, labels=labels)
    found = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())[:10]) or "no folder"
    raise DataError(
        f"{root} has no known layout ({', '.join(_READERS)}): expected the folders bounding_box_train, query and "
        f"bounding_box_test, found {found}."
    )
