"""Erasing a person: the named items are deleted, with every trace in the gallery's files. A receipt records it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from partreid.errors import DataError
from partreid.files import write_text
from partreid.json_files import read_json
from partreid.lifecycle.compaction import Compaction, compact_gallery
from partreid.lifecycle.crop_files import FILE, CropFiles, crops_of
from partreid.lifecycle.retention import delete_again
from partreid.objects import Guided, guided
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.retrieval.stores.addresses import without_secrets
from partreid.retrieval.upkeep import Deletion, carry_out, preview_deletion
from partreid.types.gallery import id_text
from partreid.version import __version__

_FORMAT, _VERSION = "partreid-erasure-receipt", 1
NOT_ASKED = "it was not asked to delete them"
_COPIES = "backups, copies and answers that were made before"


@dataclass(frozen=True, repr=False)
class Erasure(Guided):
    """A preview of an erasure.

    Attributes:
        deletion: number of items, with their cameras and times. missing: ids that are not in the gallery.
        crops: image files that would be deleted; None if deleting them was not asked for.
        with_file: number of items that name an image file.
    """

    deletion: Deletion
    missing: tuple[str, ...]
    crops: CropFiles | None = None
    with_file: int = 0


@dataclass(frozen=True, repr=False)
class ErasureReceipt(Guided):
    """A receipt of an erasure. It does not say who was erased, so it may be kept when the person's data may not.

    An id may reveal something about a person, so the receipt only contains the SHA-256 of ``salt`` and id. Anybody who
    knows an id can see whether it was erased (:meth:`names`). So anybody with the receipt can also try ids that are
    easy to guess, such as numbers.

    Attributes:
        time: ISO 8601, in UTC. gallery: its location, without secrets. model: its fingerprint.
        items: number of deleted items. salt, ids: hashes of all requested ids. missing: number of ids that were not in
            the gallery.
        cameras: number of items of each. first, last: when they were seen. crops: number of deleted image files.
        crops_left: number of files that stay, by reason. compaction: its result.
        says_nothing_of: places where something may be left.
    """

    time: str
    gallery: str
    model: str
    items: int
    salt: str
    ids: tuple[str, ...]
    missing: int
    cameras: dict[str, int]
    first: str | None
    last: str | None
    crops: int
    crops_left: dict[str, int]
    compaction: dict[str, Any]
    says_nothing_of: tuple[str, ...]
    partreid: str = field(default=__version__)

    def names(self, item: str | int) -> bool:
        """Whether an id was among the requested ids.

        Raises:
            DataError: the argument is not an id.

        Example:
            >>> gallery = Gallery()
            >>> erase(gallery, preview_erasure(gallery, ["anna"])).names("anna")
            True
        """
        return _hash(self.salt, id_text(item)) in self.ids

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"format": _FORMAT, "version": _VERSION, **asdict(self)}

    def save(self, path: str | Path) -> Path:
        """Write the receipt as JSON, completely or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        write_text(path, json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", error=DataError)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a receipt.

        Raises:
            DataError: the file is missing, damaged or something else.
        """
        content = read_json(path, error=DataError)
        try:
            if (content.pop("format"), content.pop("version")) != (_FORMAT, _VERSION):
                raise ValueError("another format or version")
            content |= {key: tuple(map(str, content[key])) for key in ("ids", "says_nothing_of")}
            return cls(**content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no receipt of an erasure that this version can read: {error}.") from None


@guided
def preview_erasure(gallery: Gallery, ids: Sequence[str], *, with_crops: bool = False) -> Erasure:
    """Look at what :func:`erase` would delete, and delete nothing.

    Args:
        gallery: to look at. ids: of all items that show the person; somebody should have looked at each item.
        with_crops: whether to delete their image files too.

    Raises:
        DataError: no id is given, or an id is not a text.
    """
    if isinstance(ids, str) or not len(ids):
        raise DataError(f"Say which items show the person: expected a list of ids, got {ids!r:.80}.")
    where = Filter.parse({"ids": list(ids)})

    def looked() -> Erasure:
        there = gallery.known(where.ids or ())
        missing = tuple(name for name in where.ids or () if name not in there)
        files = sum(FILE in item.metadata for page in gallery.records(where) for item in page.items)
        crops = crops_of(gallery, where) if with_crops else None
        return Erasure(preview_deletion(gallery, where), missing, crops, files)

    return gallery.read(looked)


@guided
def erase(gallery: Gallery, erasure: Erasure) -> ErasureReceipt:
    """Delete the previewed items, their image files first, and compact the gallery. docs/lifecycle.md says what this
    promises.

    If the process is killed, the same call with the same ids does the rest. Its receipt then counts only what was still
    there. Ids that are not in the gallery are no error: compaction also removes traces of items deleted before.

    Raises:
        DataError: the gallery was changed meanwhile, for example because somebody added the items again; or an image
            file cannot be deleted (then no item is deleted). ConfigError: the gallery's store cannot be compacted.
    """
    deletion = erasure.deletion
    asked = {
        "ids": len(deletion.where.ids or ()),
        "with_crops": erasure.crops is not None,
    }  # the ids are not recorded, because they may be names
    with recorded(gallery, "erase", asked, changes=True) as event:
        if gallery.count(deletion.where) != deletion.count:
            raise DataError("The gallery was changed meanwhile. Nothing was deleted: look again.")
        crops = delete_again(gallery, deletion.where, erasure.crops)
        items = event.deleted = carry_out(gallery, deletion)
        compaction = compact_gallery(gallery)
        if back := gallery.count(deletion.where):
            raise DataError(
                f"{back} of these items were added again meanwhile. Stop the program that adds them, and erase again."
            )
        return _receipt(gallery, erasure, items, crops, compaction)


def _receipt(gallery: Gallery, erasure: Erasure, items: int, crops: int, compaction: Compaction) -> ErasureReceipt:
    deletion, salt = erasure.deletion, token_hex(16)
    first, last = (None if time is None else time.isoformat() for time in deletion.span)
    left = Counter({NOT_ASKED: erasure.with_file}) if erasure.crops is None else Counter(erasure.crops.left.values())
    done = asdict(compaction)
    says_nothing_of = (_COPIES, *done.pop("says_nothing_of"), *(f"the file {name}" for name in done.pop("left")))
    return ErasureReceipt(
        datetime.now(UTC).isoformat(timespec="seconds"), without_secrets(gallery.store.location), gallery.model, items,
        salt, tuple(sorted(_hash(salt, name) for name in deletion.where.ids or ())), len(erasure.missing),
        {one.camera or "unknown": one.count for one in deletion.cameras}, first, last, crops,
        {reason: count for reason, count in left.items() if count}, done, says_nothing_of,
    )  # fmt: skip


def _hash(salt: str, item: str) -> str:
    return sha256(f"{salt} {item}".encode()).hexdigest()
