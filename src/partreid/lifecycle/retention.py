"""Retention: items that are older than they may be are deleted, with their crops where that is asked for."""

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
    """What would be deleted for its age.

    Attributes:
        deletion: how many items, of which cameras and times. undated: ids of items that stay because nobody knows when
            they were seen. crops: image files that would be deleted too; None where that was not asked for.
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
        undated: whether items expire too whose time nobody knows. with_crops: whether their image files go too.

    Raises:
        ConfigError: the moment lies in the future. DataError: the gallery cannot be read.
    """
    where = Filter.parse({"until": older_than, "cameras": cameras, "undated": undated})
    # No time lies before the first one: what is left is what has none.
    timeless = where.model_copy(update={"until": _BEFORE_ALL, "undated": True})

    def looked() -> Expiry:
        deletion = preview_deletion(gallery, where)
        names = [item.id for page in gallery.records(timeless) for item in page.items] if deletion.undated else []
        return Expiry(deletion, tuple(names), crops_of(gallery, where) if with_crops else None)

    return gallery.read(looked)


@guided
def expire(gallery: Gallery, expiry: Expiry) -> int:
    """Delete what was looked at, image files first: killed half-way, the same call deletes the rest.

    Returns:
        How many items were deleted. Their bytes go with :func:`~partreid.lifecycle.compaction.compact_gallery`.

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
    """Delete image files that were looked at, and that still show nothing but these items; how many there were."""
    if crops is None or not crops.files:
        return 0
    still = {*crops_of(gallery, where).files}
    return delete_crops(CropFiles(tuple(file for file in crops.files if file in still)))
