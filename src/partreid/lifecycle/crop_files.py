"""The image files of a gallery's items: which files may be deleted with the items, and where files have moved to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from partreid.errors import DataError
from partreid.objects import Guided, guided
from partreid.progress import Advance
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.types import GalleryItem
from partreid.types.gallery import LONGEST_ID, GalleryRecords

FILE, BOX = "file", "box"
"""Keys of an item's metadata: its image, and the item's box in the image if the image shows more."""

_SOME = 512


@dataclass(frozen=True, repr=False)
class CropFiles(Guided):
    """Image files of some items.

    Attributes:
        files: files that show only these items. left: other files, by path, with the reason why they stay.
    """

    files: tuple[Path, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)


@guided
def crops_of(gallery: Gallery, where: Filter) -> CropFiles:
    """The image files that may be deleted with some items of a gallery, because each is a crop of such an item alone.

    Other files are left: a frame with a box, a file that another item names too, a link, and anything that is no file.

    Raises:
        DataError: the gallery cannot be read.
    """
    return gallery.read(lambda: _crops_of(gallery, where))


def _crops_of(gallery: Gallery, where: Filter) -> CropFiles:
    found: dict[str, None] = {}
    left: dict[str, str] = {}
    for page in gallery.records(where):
        for item in page.items:
            name = item.metadata.get(FILE)
            if not isinstance(name, str):
                continue
            problem = _kept_for(item, Path(name))
            if problem:
                left[name] = problem
            elif Path(name).exists():
                found[name] = None
    for some in _in_parts([name for name in found if name not in left]):
        for page in gallery.records(Filter(metadata={FILE: tuple(some)})):
            left |= {str(i.metadata[FILE]): "another item shows it too" for i in page.items if not where.keeps(i)}
    return CropFiles(tuple(Path(name) for name in found if name not in left), left)


def _kept_for(item: GalleryItem, file: Path) -> str:
    """Why the file of an item is not deleted with it, as far as the item and its file tell."""
    if BOX in item.metadata:
        return "a frame that may show others"
    if len(str(file)) > LONGEST_ID:
        return "its path is too long to look for among the other items"
    if not file.is_absolute():
        return "its path is relative to an unknown folder"
    if file.is_symlink() or (file.exists() and not file.is_file()):
        return "a link, or no file"
    return ""


@guided
def delete_crops(crops: CropFiles) -> int:
    """Delete image files, and return how many were deleted. Files that are gone already are no error.

    Raises:
        DataError: a file cannot be deleted. The files before it are deleted, and the same call continues.
    """
    count = 0
    for file in crops.files:
        try:
            file.unlink()
            count += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(
                f"Cannot delete {file}: {error.strerror or error}. {count} files were deleted before it, and no item."
            ) from None
    return count


@dataclass(frozen=True, repr=False)
class Moved(Guided):
    """The result of :func:`move_files`.

    Attributes:
        moved: number of items that name the new place now. elsewhere: number of items without a file in the former
            folder.
        missing: expected paths of files that are not in the new folder; their items are unchanged.
    """

    moved: int
    elsewhere: int
    missing: tuple[str, ...]


@guided
def move_files(
    gallery: Gallery,
    former: str | Path,
    folder: str | Path,
    *,
    skip_missing: bool = False,
    dry_run: bool = False,
    advance: Advance = lambda count: None,
) -> Moved:
    """Tell a gallery that image files have moved. Items that name a file in the former folder name the new one then.

    Move the files themselves first. Ids do not change. If it is stopped, the same call continues.

    Args:
        gallery: whose items name files. former: the folder where they were. folder: where they are now.
        skip_missing: leave items unchanged if their file is not in the new folder. Otherwise a missing file is an error
            and nothing is written.
        dry_run: only look. advance: called with the number of items done.

    Raises:
        DataError: a file is not in the new folder, or the gallery cannot be written.
    """
    before, now = (Path(os.path.abspath(place)) for place in (former, folder))  # noqa: PTH100 - as items name them
    asked = {"from": str(before), "to": str(now), "dry_run": dry_run}
    with recorded(gallery, "move-files", asked, changes=not dry_run) as event:
        elsewhere, moved, missing = 0, 0, list[str]()
        for item in gallery:
            target = _moved(item, before, now)
            if target is None:
                elsewhere += 1
            elif target.is_file():
                moved += 1
            else:
                missing.append(str(target))
        if missing and not (skip_missing or dry_run):
            raise DataError(
                f"{len(missing)} files are not in {now}, such as {missing[0]}. Nothing was changed. Move them there "
                "first, or leave their items as they are with --skip-missing (skip_missing=True)."
            )
        if not dry_run:
            moved = event.changed = 0
            for page in gallery.records():
                moved += _write_moved(gallery, page, before, now)
                event.changed = moved
                advance(len(page))
        return Moved(moved, elsewhere, tuple(missing))


def _write_moved(gallery: Gallery, page: GalleryRecords, before: Path, now: Path) -> int:
    targets = {item.id: _moved(item, before, now) for item in page.items}
    wanted = [name for name, target in targets.items() if target is not None and target.is_file()]

    def changed() -> GalleryRecords | None:
        there = sorted(gallery.known(wanted)) if wanted else []  # items may have been deleted since the page was read
        if not there:
            return None
        records = gallery.get(there)
        items = tuple(replace(i, metadata={**i.metadata, FILE: str(targets[i.id])}) for i in records.items)
        return GalleryRecords(items, records.embeddings)

    records = gallery.read(changed)
    if records is None:
        return 0
    gallery.add_records(records, replace=True)
    return len(records)


def _moved(item: GalleryItem, before: Path, now: Path) -> Path | None:
    """Where an item's file is now; None if it was not in the former folder."""
    name = item.metadata.get(FILE)
    if not isinstance(name, str) or not Path(name).is_relative_to(before):
        return None
    return now / Path(name).relative_to(before)


def _in_parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _SOME] for start in range(0, len(names), _SOME))
