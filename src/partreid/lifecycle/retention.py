"""Retention: items older than allowed are deleted, on request together with their crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from partreid.errors import DataError
from partreid.lifecycle.crop_files import CropFiles, crops_of, delete_crops
from partreid.objects import Guided, guided
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.retrieval.upkeep import Deletion, carry_out, preview_deletion

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, repr=False)
class Expiry(Guided):
    """A preview of the items that would be deleted because of their age.

    Attributes:
        deletion: number of items, with their cameras and times. undated: ids of items that stay because their time is
            unknown. crops: image files that would be deleted too; None if deleting them was not asked for.
    """

    deletion: Deletion
    undated: tuple[str, ...]
    crops: CropFiles | None = None


@guided
def preview_expiry(
    gallery: Gallery,
    older_than: datetime,
    *,
    cameras: Sequence[str | int] | None = None,
    undated: bool = False,
    with_crops: bool = False,
) -> Expiry:
    """Look at what :func:`expire` would delete, and delete nothing.

    Args:
        gallery: to look at. older_than: items seen before this moment expire. cameras: only of these; None = of all.
        undated: whether items of unknown time expire too. with_crops: whether to delete their image files too.

    Raises:
        ConfigError: the moment lies in the future. DataError: the gallery cannot be read.
    """
    where = Filter.parse({"until": older_than, "cameras": cameras, "undated": undated})
    # No time lies before the earliest one, so only items without a time meet this condition.
    timeless = where.model_copy(update={"until": _BEFORE_ALL, "undated": True})

    def looked() -> Expiry:
        deletion = preview_deletion(gallery, where)
        names = [item.id for page in gallery.records(timeless) for item in page.items] if deletion.undated else []
        return Expiry(deletion, tuple(names), crops_of(gallery, where) if with_crops else None)

    return gallery.read(looked)


@guided
def expire(gallery: Gallery, expiry: Expiry) -> int:
    """Delete the previewed items, their image files first. If the process is killed, the same call deletes the rest.

    Returns:
        Number of deleted items. :func:`~partreid.lifecycle.compaction.compact_gallery` removes their traces.

    Raises:
        DataError: the gallery was changed meanwhile, or an image file cannot be deleted; no item is deleted then.
    """
    where = expiry.deletion.where
    with recorded(gallery, "expire", where, changes=True) as event:
        if gallery.count(where) != expiry.deletion.count:
            raise DataError("The gallery was changed meanwhile. Nothing was deleted: look again.")
        delete_again(gallery, where, expiry.crops)
        event.deleted = carry_out(gallery, expiry.deletion)
        return event.deleted


def delete_again(gallery: Gallery, where: Filter, crops: CropFiles | None) -> int:
    """Delete the previewed image files that still show only these items. Returns the number of deleted files."""
    if crops is None or not crops.files:
        return 0
    still = {*crops_of(gallery, where).files}
    return delete_crops(CropFiles(tuple(file for file in crops.files if file in still)))
