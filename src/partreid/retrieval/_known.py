"""Finding which items are in a gallery already, and whether they are the same; a name alone does not tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from partreid.errors import DataError
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import LONGEST_ID, GalleryRecords, plain_text
from partreid.types.tensors import check_comparable

FILE = "file"
"""Key of an item's metadata: its image."""

_ALIKE = 2e-3  # fraction of their length by which embeddings of one image differ (half precision, other batches)

_NOBODY = "an image with an unknown file"
_ADVICE = (
    "Give images by a longer path, absolute or from the folder above, or begin the ids with something of their own: "
    "--prefix site2/ (in Python Naming(prefix=...))."
)


class Newcomers:
    """The items of one call, some at a time, compared with a gallery and with each other.

    Args:
        gallery: to which they are added. replacing: whether existing items are always replaced.

    Attributes:
        renamed: from the given id to the id in the gallery, for items whose image is there under another id.
    """

    def __init__(self, gallery: Gallery, *, replacing: bool) -> None:
        self._gallery, self._replacing = gallery, replacing
        self.renamed: dict[str, str] = {}
        self._files: dict[str, str] = {}  # of each id so far, "" where nobody knows
        self._ids: dict[str, str] = {}  # of each file so far

    def sort_out(
        self, items: Sequence[GalleryItem], embeddings: PartEmbeddings | None = None
    ) -> tuple[tuple[GalleryItem, ...], list[int]]:
        """The next items, each with the id that its image has in the gallery, if any; and which of them are new.

        An item whose image is there under another id is that item: a folder given relative and absolute, for example.

        Args:
            items: N of them; an image may be given twice.
            embeddings: [N, S, D], if available. They decide whether images are the same if their files are unknown.

        Raises:
            DataError: an id is there, or is given twice, for another image; or the camera, the time or the metadata
                differ from those there.
            ShapeError: the embeddings are not like the gallery's, or of another model.
        """
        there = _there(self._gallery, items, embeddings)
        rows = {item.id: row for row, item in enumerate(there.items)}
        # A track is left out, because it contains the image but is not the image. If two items show one image, the
        # item whose id was given is taken.
        images = (item for item in reversed(there.items) if item.id.endswith(Path(_file(item)).name or "\0"))
        by_file = {_file(item): item.id for item in images}
        found = tuple(self._under_its_id(item, by_file) for item in items)
        new, others, differing = [], [], []
        for place, item in enumerate(found):
            if self._again(item):
                continue
            known = there.items[rows[item.id]] if item.id in rows else None
            mine = None if embeddings is None else embeddings[place]
            if known is None or self._replacing:
                new.append(place)
            elif not _same_image(item, known, mine, there.embeddings[rows[item.id]]):
                others.append((known, item))
            elif said := _difference(known, item):
                differing.append((item.id, said))
        if others:
            known, item = others[0]
            raise DataError(
                f"{len(others)} of the images have the id of another image in the gallery; the first is {item.id!r}: "
                f"there it is {_file(known) or _NOBODY}, now {_file(item) or _NOBODY}. It was not added. {_ADVICE} If "
                "it is the same image, or to replace that one, use --replace (in Python replace=True)."
            )
        if differing:
            raise DataError(
                f"{len(differing)} of the items are in the gallery with other values; the first is "
                f"{differing[0][0]!r}: {differing[0][1]}. They were not changed. Give the same values as then (a "
                "time such as now or 2h differs at each call), or replace them with --replace (in Python "
                "replace=True)."
            )
        self.renamed |= {given.id: item.id for given, item in zip(items, found, strict=True) if given.id != item.id}
        return found, new

    def _under_its_id(self, item: GalleryItem, there: dict[str, str]) -> GalleryItem:
        """The item under the id that its file has in the gallery or in this call."""
        if not (file := _file(item)):
            return item
        name = self._ids.setdefault(file, there.get(file, item.id))
        return item if name == item.id else replace(item, id=name)

    def _again(self, item: GalleryItem) -> bool:
        """Whether the image was given before in this call."""
        if item.id not in self._files:
            self._files[item.id] = _file(item)
            return False
        if not _same_file(_file(item), self._files[item.id]):
            first, again = self._files[item.id] or _NOBODY, _file(item) or _NOBODY
            raise DataError(f"The id {item.id!r} is given twice, for {first} and {again}. It was not added. {_ADVICE}")
        return True


def _there(gallery: Gallery, items: Sequence[GalleryItem], embeddings: PartEmbeddings | None) -> GalleryRecords:
    """Items of a gallery that have one of these ids, or show one of these files; each once."""
    ids = [item.id for item in items]
    files = [file for item in items if 0 < len(file := _file(item)) <= LONGEST_ID]  # no filter takes a longer one
    header = gallery.store.header()
    if header is not None and embeddings is not None:
        check_comparable(header.example, embeddings)
    if header is None or not ids:
        return GalleryRecords((), PartEmbeddings(torch.empty(0, 1, 1), torch.empty(0, 1), ("",)))

    def found() -> GalleryRecords:
        first = gallery.store.fetch(Filter(ids=tuple(ids)), limit=len(ids))
        # Several items may show one file, if the user asked for that.
        where = Filter(metadata={FILE: tuple(files)}, not_ids=tuple(ids))
        more = gallery.store.fetch(where, limit=4 * len(files)) if files else first[[]]
        return GalleryRecords.cat([first, more])

    return gallery.read(found)


def _file(item: GalleryItem) -> str:
    """The file of an item's image; "" if it is unknown."""
    return str(item.metadata.get(FILE, ""))


def _same_file(mine: str, yours: str) -> bool:
    return bool(mine and yours) and (mine == yours or os.path.realpath(mine) == os.path.realpath(yours))


def _same_image(item: GalleryItem, known: GalleryItem, mine: PartEmbeddings | None, yours: PartEmbeddings) -> bool:
    """Whether two items are one image: by their files, or by their embeddings if a file is unknown."""
    if _file(item) and _file(known):
        return _same_file(_file(item), _file(known))
    if mine is None:
        return False
    a, b = (e.to("cpu", torch.float32) for e in (mine, yours))
    if (a.visibility - b.visibility).abs().max() > _ALIKE:
        return False
    seen = a.visibility[0] > 0  # some stores do not keep the vectors of invisible slots
    away = torch.linalg.vector_norm(a.vectors[0, seen] - b.vectors[0, seen], dim=1)
    return bool((away <= _ALIKE * torch.linalg.vector_norm(a.vectors[0, seen], dim=1) + 1e-6).all())


def _difference(known: GalleryItem, item: GalleryItem) -> str:
    """In words, which values of an item differ from those in the gallery; "" if none does."""
    pairs = {"camera": (known.camera, item.camera), "time": (known.time, item.time)}
    pairs |= {key: (known.metadata.get(key), value) for key, value in item.metadata.items() if key != FILE}
    told = (
        f"{key} {was if was is None else str(was)!r:.80} there, {str(now)!r:.80} now"
        for key, (was, now) in pairs.items()
        if now is not None and was != now and (plain_text(was) or was) != (plain_text(now) or now)
    )
    return ", ".join(told)
