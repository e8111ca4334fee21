"""What every reader needs: listing pictures in a fixed order, and checking published counts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from partreid.errors import DataError
from partreid.types import ReIDImage

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})
"""Files with another suffix (Thumbs.db, lists) are not pictures and are passed over."""


def list_pictures(folder: Path) -> list[Path]:
    """The picture files directly in ``folder``, sorted by name.

    Raises:
        DataError: the folder is missing or holds no picture.
    """
    if not folder.is_dir():
        raise DataError(f"Folder {folder} does not exist; this layout needs it. Check the data set's path.")
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not names:
        raise DataError(f"Folder {folder} holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))}). Was it unpacked?")
    return [folder / name for name in names]


def check_counts(name: str, expected: Mapping[str, tuple[int, int]], splits: Mapping[str, Sequence[ReIDImage]]) -> None:
    """Warn where a split's (identities, pictures) differ from the published figures."""
    for split, (pids, pictures) in expected.items():
        images = splits[split]
        found_pids, found = len({image.pid for image in images}), len(images)
        if (found_pids, found) != (pids, pictures):
            warnings.warn(
                f"{name} {split}: expected {pids} identities in {pictures} pictures, found {found_pids} in {found}. "
                "Results will not compare with published ones.",
                stacklevel=4,
            )
