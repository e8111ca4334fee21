"""The image files that items of a gallery name: which may be deleted with them, and where they have moved to."""

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
"""Keys of an item's metadata: its image, and the box in it where the image shows more than the item."""

_SOME = 512


@dataclass(frozen=True, repr=False)
class CropFiles(Guided):
    """Image files of some items.

    Attributes:
        files: that show nothing but these items. left: why others are not deleted, by their path.
    """

    files: tuple[Path, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)


@guided
def crops_of(gallery: Gallery, where: Filter) -> CropFiles:
    """The image files that may be deleted with some items of a gallery: each is a crop of its own, of no other item.

    A frame with a box, a file that another item names too, a link, and what is no file are left.

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
    """Why the file of an item is not deleted with it, as far as the two tell."""
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
    """Delete image files; how many there were. Those that are gone already are no error.

    Raises:
        DataError: one cannot be deleted. Those before it are gone: the same call goes on.
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
    """What became of files that have moved.

    Attributes:
        moved: items that name the new place. elsewhere: those whose file is not in the former folder, or have none.
        missing: files that are not in the new folder, as they would be called there; their items are as they were.
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
    """Tell a gallery that image files have moved: items that name a file in one folder name it in another.

    The files themselves were moved before. Ids stay as they are. Stopped, the same call goes on.

    Args:
        gallery: whose items name files. former: the folder where they were. folder: where they are now.
        skip_missing: leave items as they are whose file is not there; else nothing is written where one is missing.
        dry_run: look only. advance: told how many items were done.

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
        there = sorted(gallery.known(wanted)) if wanted else []  # others were deleted since the page was read
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
    """Where an item's file is now; None where it was not in the folder."""
    name = item.metadata.get(FILE)
    if not isinstance(name, str) or not Path(name).is_relative_to(before):
        return None
    return now / Path(name).relative_to(before)


def _in_parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _SOME] for start in range(0, len(names), _SOME))
