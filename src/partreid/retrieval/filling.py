"""Filling a gallery from images or files of embeddings. It can be stopped at any moment and resumed."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from partreid.errors import ConfigError, DataError
from partreid.files import posix_name
from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import images_root, iter_embeddings
from partreid.inference.streaming import SkippedImage
from partreid.objects import Guided
from partreid.progress import Advance
from partreid.retrieval._known import FILE, Newcomers
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import GalleryRecords
from partreid.types.moments import written_time

WRITTEN = 1024
"""Number of items written together. If the process is killed, at most so many must be embedded again."""


@dataclass(frozen=True, repr=False)
class Naming(Guided):
    """The id and the other fields of an item, derived from its image's name.

    Attributes:
        pattern: regular expression to search in the image's name. Its named groups are the camera (``camera``), the
            time (``time``) and any other fields. They take precedence over the fields below.
        camera, time, metadata: of all items.
        read_time: converts the text of the group ``time`` to a moment.
        prefix: text before the name in ids.
        root: folder from which relative names start. None = unknown: then relative names get no file.

    Raises:
        ConfigError: the pattern is not a regular expression, or has no named group.

    Example:
        >>> Naming(r"(?P<track>\\d+)_c(?P<camera>\\d+)").item("crops/0007_c3_012.jpg").camera
        '3'
    """

    pattern: str = ""
    camera: str | None = None
    time: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    read_time: Callable[[str], datetime] = written_time
    prefix: str = ""
    root: Path | None = Path()

    def __post_init__(self) -> None:
        try:
            named = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ConfigError(f"{self.pattern!r} is no regular expression: {error}.") from None
        if self.pattern and not named:
            raise ConfigError(f"Expected named groups such as (?P<camera>\\d+) in the pattern, got {self.pattern!r}.")

    def item(self, name: str) -> GalleryItem:
        """The item of an image or a track. Its id is the prefix and the name; its metadata contain the file, if it is
        one.

        Raises:
            DataError: the pattern is not in the name, or gives no time.
        """
        found: dict[str, Any] = {"camera": self.camera, "time": self.time, **self.metadata}
        if self.pattern:
            match = re.search(self.pattern, name)
            if match is None:
                raise DataError(f"The pattern {self.pattern!r} is not in the name {name!r}. Give another --pattern.")
            found |= {key: value for key, value in match.groupdict().items() if value is not None}
        if isinstance(found["time"], str):
            try:
                found["time"] = self.read_time(found["time"])
            except ValueError as error:
                raise DataError(f"The time in the name {name!r}: {error}") from None
        camera, time = found.pop("camera"), found.pop("time")
        if self.root is not None or os.path.isabs(name):  # noqa: PTH117 - of very many
            file = os.path.abspath(os.path.join(self.root or "", name))  # noqa: PTH100, PTH118 - without dots
            if os.path.isfile(file):  # noqa: PTH113 - of very many
                found[FILE] = file
        return GalleryItem(self.prefix + name, camera, time, found)


@dataclass(frozen=True, repr=False)
class Filled(Guided):
    """What happened to the images: added or replaced, already there, left out because they cannot be read; and the ids
    of images that are there under another id.
    """

    added: int
    known: int
    skipped: Sequence[SkippedImage] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


def add_images(
    gallery: Gallery,
    extractor: PartExtractor,
    images: Iterable[str | Path],
    naming: Naming,
    *,
    replace: bool = False,
    skip_damaged: bool = False,
    advance: Advance = lambda count: None,
) -> Filled:
    """Embed images and add them under their names. Images that are already there are not embedded again.

    Before anything is embedded, all names are compared with the gallery (``partreid.retrieval._known``).

    Args:
        gallery: of the extractor's model. extractor: the model.
        images: single files, in any number; their names are kept in memory.
        naming: ids and other fields of the items.
        replace: also embed and replace those that are there.
        skip_damaged: leave out images that cannot be read, and list them.
        advance: called from time to time with the number of images done.

    Raises:
        DataError: an image cannot be read, its name does not fit the pattern, the gallery belongs to another model, an
            id is there for another image, or with another camera, time or metadata. Items added before the error stay,
            and the same call continues after them.
    """
    names = [posix_name(image) for image in images]
    with recorded(gallery, "add", {"images": names, "replace": replace}, changes=True) as event:
        filled = _add_images(gallery, extractor, names, naming, replace, skip_damaged, advance)
        event.added = filled.added
    return filled


def _add_images(
    gallery: Gallery,
    extractor: PartExtractor,
    names: list[str],
    naming: Naming,
    replace: bool,
    skip_damaged: bool,
    advance: Advance,
) -> Filled:
    newcomers = Newcomers(gallery, replacing=replace)
    wanted: list[str] = []
    for start in range(0, len(names), WRITTEN):
        page = names[start : start + WRITTEN]
        _, new = newcomers.sort_out([naming.item(name) for name in page])
        wanted += [page[i] for i in new]
    known = len(names) - len(wanted)
    advance(known)

    def write(waiting: list[tuple[tuple[str, ...], PartEmbeddings]]) -> None:
        items = [naming.item(name) for some, _ in waiting for name in some]
        if items:
            items = [dataclasses.replace(item, id=newcomers.renamed.get(item.id, item.id)) for item in items]
            records = GalleryRecords(tuple(items), PartEmbeddings.cat(e for _, e in waiting))
            gallery.add_records(records, replace=replace)
            advance(len(items))
            waiting.clear()

    waiting: list[tuple[tuple[str, ...], PartEmbeddings]] = []
    cameras = None if extractor.adaptation is None else [naming.item(name).camera for name in wanted]
    with extractor.stream(map(Path, wanted), on_error="skip" if skip_damaged else "raise", cameras=cameras) as stream:
        try:
            for batch in stream:
                waiting.append((tuple(str(name) for name in batch.names), batch.embeddings))
                if sum(len(e) for _, e in waiting) >= WRITTEN:
                    write(waiting)
        finally:
            write(waiting)  # what was embedded before an error or Ctrl-C is kept
        advance(len(stream.skipped))
        return Filled(len(wanted) - len(stream.skipped), known, stream.skipped, newcomers.renamed)


def add_embeddings(
    gallery: Gallery,
    batches: Iterable[tuple[PartEmbeddings, Sequence[str]]],
    naming: Naming,
    *,
    replace: bool = False,
    advance: Advance = lambda count: None,
) -> Filled:
    """Add embeddings from ``iter_embeddings`` under their images' names.

    Arguments and errors as in :func:`add_images`. Input that can be read twice, for example a list, is compared with
    the gallery as a whole before anything is written. An iterator is compared piece by piece.
    """
    return _fill(
        gallery,
        lambda: _pages(batches, naming),
        twice=not isinstance(batches, Iterator),
        replace=replace,
        advance=advance,
    )


def add_files(
    gallery: Gallery,
    files: Sequence[str | Path],
    naming: Naming,
    *,
    replace: bool = False,
    advance: Advance = lambda count: None,
) -> Filled:
    """Add the content of files of embeddings, or of folders of shards, under their images' names.

    Before anything is written, all of them are compared with the gallery and with each other. An item's metadata
    contain its file if the file of embeddings records it, whatever the working directory.

    Arguments and errors as in :func:`add_images`, and those of ``iter_embeddings``; ``naming.root`` is not used.
    """
    if isinstance(files, str | Path):
        files = [files]
    naming_of = {file: dataclasses.replace(naming, root=images_root(file)) for file in files}

    def pages() -> Iterator[tuple[list[GalleryItem], PartEmbeddings]]:
        for file in files:
            yield from _pages(iter_embeddings(file), naming_of[file])

    return _fill(gallery, pages, twice=True, replace=replace, advance=advance)


def _pages(
    batches: Iterable[tuple[PartEmbeddings, Sequence[str]]], naming: Naming
) -> Iterator[tuple[list[GalleryItem], PartEmbeddings]]:
    for embeddings, names in batches:
        for start in range(0, len(names), WRITTEN):
            page = names[start : start + WRITTEN]
            yield [naming.item(name) for name in page], embeddings[start : start + WRITTEN]


def _fill(
    gallery: Gallery,
    pages: Callable[[], Iterator[tuple[list[GalleryItem], PartEmbeddings]]],
    *,
    twice: bool,
    replace: bool,
    advance: Advance,
) -> Filled:
    """Write the new ones of items that come page by page. If they can be read twice, check all of them first."""
    if twice:
        newcomers = Newcomers(gallery, replacing=replace)
        for items, page in pages():
            newcomers.sort_out(items, page)
    newcomers, added, known = Newcomers(gallery, replacing=replace), 0, 0
    for items, page in pages():
        found, new = newcomers.sort_out(items, page)
        if new:
            gallery.add_records(GalleryRecords(found, page)[new], replace=replace)
        added, known = added + len(new), known + len(items) - len(new)
        advance(len(items))
    return Filled(added, known, renamed=newcomers.renamed)
