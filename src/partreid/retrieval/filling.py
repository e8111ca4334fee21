"""Filling a gallery from pictures or files of embeddings, so that it can be stopped at any moment and begun again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from partreid.errors import ConfigError, DataError
from partreid.inference.extractor import PartExtractor
from partreid.inference.streaming import SkippedPicture
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.track_filling import VideoNaming, add_tracks
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import GalleryRecords

__all__ = ["Filled", "Naming", "VideoNaming", "add_embeddings", "add_pictures", "add_tracks"]

WRITTEN = 1024
"""Items written together: what a kill can cost to embed again."""


@dataclass(frozen=True)
class Naming:
    """What is known of an item beside its picture.

    Attributes:
        pattern: regular expression looked for in the picture's name. Its named groups are the camera (``camera``), the
            time (``time``) and anything else; they go before the other fields.
        camera, time, metadata: of all items.
        read_time: from the text of the group ``time`` to a moment.

    Raises:
        ConfigError: the pattern is no regular expression, or names nothing.

    Example:
        >>> Naming(r"(?P<track>\\d+)_c(?P<camera>\\d+)").item("crops/0007_c3_012.jpg").camera
        '3'
    """

    pattern: str = ""
    camera: str | None = None
    time: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    read_time: Callable[[str], datetime] = datetime.fromisoformat

    def __post_init__(self) -> None:
        try:
            named = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ConfigError(f"{self.pattern!r} is no regular expression: {error}.") from None
        if self.pattern and not named:
            raise ConfigError(f"Expected named groups such as (?P<camera>\\d+) in the pattern, got {self.pattern!r}.")

    def item(self, name: str) -> GalleryItem:
        """The item of a picture or a track; its id is the name, its metadata says the file if it is one.

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
                raise DataError(f"{name!r}: {error}") from None
        camera, time = found.pop("camera"), found.pop("time")
        if Path(name).is_file():
            found["file"] = str(Path(name).absolute())
        return GalleryItem(name, camera, time, found)


@dataclass(frozen=True)
class Filled:
    """What became of the pictures: added or replaced, there already, left out as they cannot be read."""

    added: int
    known: int
    skipped: Sequence[SkippedPicture] = ()


def add_pictures(
    gallery: Gallery,
    extractor: PartExtractor,
    pictures: Iterable[str | Path],
    naming: Naming,
    *,
    replace: bool = False,
    skip_damaged: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Filled:
    """Embed pictures and add them under their names; those that are there already are not embedded again.

    Args:
        gallery: of the extractor's model. extractor: the model. pictures: single files, in any number.
        naming: what is known of each.
        replace: embed and replace those that are there, too.
        skip_damaged: leave out pictures that cannot be read, and say which.
        advance: told how many pictures were done, now and then.

    Raises:
        DataError: a picture cannot be read, its name does not fit the pattern, or the gallery belongs to another model.
            What was added until then stays: the same call goes on behind it.
    """
    counts = {"added": 0, "known": 0}

    def wanted() -> Iterator[Path]:
        for page in _pages(map(str, pictures)):
            known = set() if replace else gallery.known(page)
            counts["known"] += len(known)
            advance(len(known))
            for name in page:
                if name not in known:
                    naming.item(name)  # before it is embedded
                    yield Path(name)

    def write(waiting: list[tuple[tuple[str, ...], PartEmbeddings]]) -> None:
        if waiting:
            names = [name for some, _ in waiting for name in some]
            _write(gallery, PartEmbeddings.cat(e for _, e in waiting), names, naming, replace=replace)
            counts["added"] += len(names)
            advance(len(names))
            waiting.clear()

    waiting: list[tuple[tuple[str, ...], PartEmbeddings]] = []
    with extractor.stream(wanted(), on_error="skip" if skip_damaged else "raise") as stream:
        try:
            for batch in stream:
                waiting.append((tuple(str(name) for name in batch.names), batch.embeddings))
                if sum(len(e) for _, e in waiting) >= WRITTEN:
                    write(waiting)
        finally:
            write(waiting)  # what was embedded before an error or Ctrl-C is kept
        advance(len(stream.skipped))
        return Filled(counts["added"], counts["known"], stream.skipped)


def add_embeddings(
    gallery: Gallery,
    batches: Iterable[tuple[PartEmbeddings, Sequence[str]]],
    naming: Naming,
    *,
    replace: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Filled:
    """Add embeddings under their pictures' names, as ``iter_embeddings`` gives them.

    Arguments and errors as in :func:`add_pictures`.
    """
    added = seen = 0
    for embeddings, names in batches:
        for start in range(0, len(names), WRITTEN):
            page, some = list(names[start : start + WRITTEN]), embeddings[start : start + WRITTEN]
            known = set() if replace else gallery.known(page)
            new = [i for i, name in enumerate(page) if name not in known]
            if new:
                _write(gallery, some[new], [page[i] for i in new], naming, replace=replace)
            added, seen = added + len(new), seen + len(known)
            advance(len(page))
    return Filled(added, seen)


def _write(
    gallery: Gallery, embeddings: PartEmbeddings, names: Sequence[str], naming: Naming, *, replace: bool
) -> None:
    items = tuple(naming.item(name) for name in names)
    gallery.add_records(GalleryRecords(items, embeddings), replace=replace)


def _pages(names: Iterator[str]) -> Iterator[list[str]]:
    while page := list(islice(names, WRITTEN)):
        yield page
