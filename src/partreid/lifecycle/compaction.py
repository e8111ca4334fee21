"""Compaction: it removes every trace of deleted items, as far as the store can promise that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from partreid.errors import ConfigError, DataError
from partreid.linking.corrections import CORRECTIONS_FILE, Corrections, corrections_of
from partreid.objects import Guided, guided
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.retrieval.stores.addresses import without_secrets
from partreid.retrieval.stores.base import CompactableStore

_OF_A_GALLERY = ("gallery.json", "acknowledged", "data", "codes", "_versions", "_deletions", "_transactions")


@dataclass(frozen=True, repr=False)
class Compaction(Guided):
    """The result of a compaction.

    Attributes:
        bytes_before, bytes_after: of all files in the gallery's folder; None if the gallery is not in a folder.
        corrections: number of corrections of linking that were removed, because they named deleted items.
        left: other files in the folder. They do not belong to the gallery and were not searched.
        says_nothing_of: places where something of deleted items may be left nevertheless.
    """

    bytes_before: int | None
    bytes_after: int | None
    corrections: int
    left: tuple[str, ...]
    says_nothing_of: tuple[str, ...]


@guided
def compact_gallery(gallery: Gallery) -> Compaction:
    """Write a gallery's files again without deleted or replaced items, and remove them from corrections of linking.

    If the process is killed, the gallery is still complete, and the same call continues. Afterwards no file in a
    gallery's folder contains an id, a vector or metadata of a deleted item. ``says_nothing_of`` and docs/lifecycle.md
    tell how far a server can promise this.

    Raises:
        ConfigError: the gallery's store cannot be compacted.
        DataError: another process writes for more than a minute, or a file cannot be written or removed.
    """
    store = gallery.store
    if not isinstance(store, CompactableStore):
        where = without_secrets(store.location)
        raise ConfigError(
            f"The store of {where} cannot be compacted. Copy the gallery to a new place with "
            "`partreid gallery copy`, and remove the former one as a whole."
        )
    with recorded(gallery, "compact", changes=True):
        file = corrections_of(gallery)
        folder = None if file is None else file.parent
        before = None if folder is None else _bytes(folder)
        says_nothing_of = store.compact()
        removed = 0 if file is None else _forget(gallery, file)
        left = () if folder is None else tuple(sorted(_others(folder)))
        return Compaction(before, None if folder is None else _bytes(folder), removed, left, says_nothing_of)


def _forget(gallery: Gallery, file: Path) -> int:
    """Remove corrections of deleted items. Returns the number of pairs removed."""
    if not file.exists():
        return 0

    def without_gone(said: Corrections) -> tuple[Corrections, int]:
        for leftover in file.parent.glob(f".{file.stem}.*{file.suffix}"):  # left by a killed process
            leftover.unlink(missing_ok=True)
        named = {track for one in said.said for track in one.pair}
        gone = named - gallery.known(named)
        return said.without_tracks(gone), sum(not gone.isdisjoint(one.pair) for one in said.said)

    try:
        return Corrections.change(file, without_gone)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be removed: {error.strerror or error}. Compact it again.") from None


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def _others(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name not in (*_OF_A_GALLERY, CORRECTIONS_FILE)]
