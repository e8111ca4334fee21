"""Upkeep of a gallery: describing it, previewing and carrying out deletions, and copying it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from partreid.errors import ConfigError, DataError
from partreid.lazy import torch
from partreid.objects import Guided
from partreid.progress import Advance
from partreid.retrieval.filters import Filter, undated_left_out
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.retrieval.stores.addresses import without_secrets
from partreid.types import CameraSummary, GalleryRecords

_DATED = Filter(since=datetime.min.replace(tzinfo=UTC))


def gallery_facts(gallery: Gallery) -> dict[str, Any]:
    """A description of a gallery: items, slots, width, model, items per camera, first and last time."""
    cameras, dated, header = gallery.read(lambda: (gallery.cameras(), gallery.count(_DATED), gallery.store.header()))
    first, last = _span(cameras)
    items = sum(camera.count for camera in cameras)
    return {
        "items": items,
        "slots": list(header.slots) if header else [],
        "width": header.width if header else None,
        "model": (header.model or None) if header else None,
        "cameras": {camera.camera or "unknown": camera.count for camera in cameras},
        "first": None if first is None else first.isoformat(),
        "last": None if last is None else last.isoformat(),
        "without a time": items - dated,
    }


@dataclass(frozen=True, repr=False)
class Deletion(Guided):
    """The items that a deletion would remove from a gallery.

    Attributes:
        where: the filter. cameras: of these items, with their times. total: items of the gallery. undated: items that
        stay only because their time is unknown.
    """

    where: Filter
    cameras: tuple[CameraSummary, ...]
    total: int
    undated: int

    @property
    def count(self) -> int:
        """Items that would be deleted."""
        return sum(camera.count for camera in self.cameras)

    @property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """When the oldest and the newest of them were seen; None if unknown."""
        return _span(self.cameras)


def preview_deletion(gallery: Gallery, where: Filter) -> Deletion:
    """Find what ``gallery.delete(where=where)`` would delete, without deleting anything.

    Raises:
        ConfigError: there is no condition; or the condition asks for items seen before a moment in the future, which is
            every item with a time.
    """
    if where.until is not None and where.until > datetime.now(UTC):
        raise ConfigError(
            f"{where.until.astimezone():%Y-%m-%d %H:%M:%S %z} lies in the future: everything that has a time would be "
            "deleted. Write --until now if that is meant."
        )
    if where.model_copy(update={"undated": False}) == Filter():
        raise ConfigError("Say which items to delete: ids, or conditions such as --until 30d or --camera 3.")
    found, undated = gallery.read(lambda: (gallery.cameras(where), undated_left_out(where, gallery.count)))
    return Deletion(where, tuple(found), len(gallery), undated)


def carry_out(gallery: Gallery, deletion: Deletion) -> int:
    """Carry out a previewed deletion.

    Returns:
        How many items were deleted.

    Raises:
        DataError: the gallery was changed meanwhile, so other items would be deleted.
    """
    if gallery.count(deletion.where) != deletion.count:
        raise DataError("The gallery was changed meanwhile. Nothing was deleted: look again.")
    return gallery.delete(where=deletion.where)


def copy_gallery(
    source: Gallery, target: Gallery, *, replace: bool = False, advance: Advance = lambda count: None
) -> tuple[int, int]:
    """Copy all items into another gallery, of any kind of store. If interrupted, the same call continues.

    Args:
        source, target: galleries. replace: replace other items with the same ids.
        advance: told how many items were done.

    Returns:
        How many were copied, and how many were there already.

    Raises:
        DataError: the galleries belong to different models; or the target uses ids for other items, which is checked
            before anything is written.
    """
    here, there = (without_secrets(one.store.location) for one in (source, target))
    if source.model and target.model and source.model != target.model:
        raise DataError(f"{there} was made by another model ({target.model}) than {here} ({source.model}).")
    if not replace:
        advice = "Copy into a new gallery, or put these in the place of those with --replace."
        refuse_other_items(source.records, target, of="", advice=advice)
    with recorded(source, "copy", {"to": there, "replace": replace}) as event:
        copied, known = copy_records(source.records(), target, replace=replace, advance=advance)
        event.results = copied
    return copied, known


def refuse_other_items(
    records: Callable[[], Iterable[GalleryRecords]], target: Gallery, *, of: str, advice: str
) -> int:
    """The number of given items that are already in a gallery.

    Args:
        records: gives the items. target: to look in.
        of, advice: whose items these are, and what to do, for the message.

    Raises:
        DataError: the gallery uses ids for other items.
    """
    found, others = 0, list[str]()
    for page in records() if len(target) else ():
        found += len(target.known(page.ids))
        others += _others(page, target)
    if others:
        raise DataError(
            f"{len(others)} ids {of}stand for other items in {without_secrets(target.store.location)}: "
            f"{', '.join(map(repr, others[:5]))}. Nothing was copied. {advice}"
        )
    return found


def copy_records(
    records: Iterable[GalleryRecords], target: Gallery, *, replace: bool = False,
    advance: Advance = lambda count: None,
) -> tuple[int, int]:  # fmt: skip
    """Write the items that a gallery does not have yet; arguments and result as for :func:`copy_gallery`."""
    copied = known = 0
    for page in records:
        present = set() if replace else target.known(page.ids)
        new = page[[i for i, name in enumerate(page.ids) if name not in present]]
        if len(new):
            target.add_records(new, replace=replace)
        copied, known = copied + len(new), known + len(page) - len(new)
        advance(len(page))
    return copied, known


def _span(cameras: Iterable[CameraSummary]) -> tuple[datetime | None, datetime | None]:
    times = [time for camera in cameras for time in (camera.first, camera.last) if time is not None]
    return (min(times), max(times)) if times else (None, None)


def _others(page: GalleryRecords, target: Gallery) -> list[str]:
    """Ids of a page that stand for other items in a gallery."""
    known = target.known(page.ids)
    mine = page[[i for i, name in enumerate(page.ids) if name in known]]
    if not len(mine):
        return []
    theirs = target.get(mine.ids)
    # Compared in half precision, and as far as stores keep them.
    a, b = (records.embeddings.to("cpu", torch.float16) for records in (mine, theirs))
    if a.vectors.shape != b.vectors.shape:
        return mine.ids
    same = (a.visibility == b.visibility) & ((a.vectors == b.vectors).all(dim=2) | (a.visibility <= 0))
    rows = zip(mine.items, theirs.items, same.all(dim=1).tolist(), strict=True)
    return [item.id for item, other, alike in rows if item != other or not alike]
