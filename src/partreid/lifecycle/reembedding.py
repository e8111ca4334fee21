"""Another model for a gallery: all items are embedded again, and replace the former ones in one step."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from partreid.errors import ConfigError, DataError
from partreid.files import hold_work
from partreid.inference.crops import crop_boxes
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ImageLike, load_image
from partreid.lifecycle.crop_files import BOX, FILE
from partreid.linking.corrections import corrections_of
from partreid.models.shipped import named_model
from partreid.objects import Guided, guided
from partreid.progress import Advance
from partreid.retrieval._columns import narrowed
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.retrieval.stores.addresses import without_secrets
from partreid.retrieval.stores.base import OverwritableStore
from partreid.retrieval.stores.memory import MemoryStore
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import GalleryRecords


@dataclass(frozen=True, repr=False)
class Reembedded(Guided):
    """The result of embedding a gallery again.

    Attributes:
        items: number of items in the gallery of the new model. left_out: ids of the others, with the reason.
    """

    items: int
    left_out: Mapping[str, str] = field(default_factory=dict)


@guided
def re_embed(
    gallery: Gallery,
    extractor: PartExtractor,
    *,
    target: Gallery | None = None,
    workplace: str | Path | None = None,
    skip_missing: bool = False,
    tracks_from_one_image: bool = False,
    advance: Advance = lambda count: None,
) -> Reembedded:
    """Embed the items of a gallery with another model, from the images that they name.

    New embeddings are kept beside the gallery, which meanwhile answers with the former ones. At the end they replace
    the former ones in one step. Items that others added, changed or deleted meanwhile are included. If it is stopped,
    the same call resumes. The former embeddings are deleted at the end;
    :func:`~partreid.lifecycle.compaction.compact_gallery` removes their traces.

    Args:
        gallery: of the former model. extractor: the new model.
        target: another gallery to write into, new or of an interrupted call. ``gallery`` itself then does not change.
        workplace: a folder for new embeddings until the end. None = beside a gallery in a folder, or in memory for a
            gallery in memory. It needs the extra ``gallery``.
        skip_missing: leave out items that cannot be embedded. Otherwise a single such item is an error at the start.
        tracks_from_one_image: embed tracks from the one image that they name, although their former embedding was made
            of all their images. Otherwise tracks count as items that cannot be embedded.
        advance: called with the number of items done.

    Raises:
        DataError: the gallery is of this model already, or empty; items cannot be embedded; or another process is doing
            the same.
        ConfigError: the gallery's store cannot change all items in one step, and there is no ``target``; or no
            workplace is known.
    """
    asked = {
        "model": extractor.fingerprint,
        "target": None if target is None else without_secrets(target.store.location),
    }
    with recorded(gallery, "re-embed", asked, changes=True) as event:
        done = _re_embed(
            gallery, extractor, target, workplace, _Work(extractor, skip_missing, tracks_from_one_image), advance
        )
        event.changed = done.items
        return done


def _re_embed(
    gallery: Gallery, extractor: PartExtractor, target: Gallery | None, workplace: str | Path | None, work: _Work,
    advance: Advance,
) -> Reembedded:  # fmt: skip
    if gallery.model == extractor.fingerprint:
        raise DataError(f"The gallery was made by {named_model(gallery.model)} already. There is nothing to do.")
    if not len(gallery):
        raise DataError("The gallery is empty: there is nothing to embed again.")
    work.refuse_missing(gallery)
    if target is not None:
        work.fill(gallery, target, advance)
        target.delete([name for page in target.records() for name in page.ids if name not in gallery.known(page.ids)])
        return Reembedded(len(target), work.left_out)
    store = gallery.store
    if not isinstance(store, OverwritableStore):
        raise ConfigError(
            f"The store of {without_secrets(store.location)} cannot replace all its items in one step. "
            "Give a new gallery with --target (target=...), and let programs use that one once it is complete."
        )
    with _workplace(gallery, extractor, workplace) as beside:
        work.fill(gallery, beside, advance)
        count = 0

        def newest() -> Iterator[GalleryRecords]:
            nonlocal count
            for page in gallery.records():
                work.add(page.items, beside)
                records = _there(beside, page.items)
                if records is not None:
                    count += len(records)
                    dtype = store.dtype
                    kept = records.embeddings if dtype is None else narrowed(records.embeddings, dtype)
                    yield GalleryRecords(records.items, kept)

        store.overwrite(newest)
        gallery.extractor = extractor
        return Reembedded(count, work.left_out)


class _Work:
    """The work of embedding each item again, once."""

    def __init__(self, extractor: PartExtractor, skip_missing: bool, tracks_from_one_image: bool) -> None:
        self.extractor, self.skip_missing, self.tracks = extractor, skip_missing, tracks_from_one_image
        self.left_out: dict[str, str] = {}

    def refuse_missing(self, gallery: Gallery) -> None:
        """Check that all items can be embedded, before the work begins."""
        problems = {item.id: problem for item in gallery if (problem := self._problem(item))}
        if problems and not self.skip_missing:
            self._refuse(problems)

    def fill(self, gallery: Gallery, target: Gallery, advance: Advance) -> None:
        """Embed the items that are not in another gallery yet."""
        for page in gallery.records():
            self.add(page.items, target)
            advance(len(page))

    def add(self, items: Sequence[GalleryItem], target: Gallery) -> None:
        """Embed some items and add them to a gallery, unless they are in it already with their present data."""
        there = _there(target, items)
        known = set() if there is None else {*there.ids}
        problems = {item.id: problem for item in items if (problem := self._problem(item))}
        wanted = [item for item in items if item.id not in known and item.id not in problems]
        read = self._embedded(wanted, problems) if wanted else None
        if problems and not self.skip_missing:
            self._refuse(problems)
        self.left_out |= problems
        if read is not None and len(read):
            target.add_records(read, replace=True)

    def _embedded(self, items: Sequence[GalleryItem], problems: dict[str, str]) -> GalleryRecords:
        """Items with embeddings of their images. Images that cannot be read are noted in ``problems``."""
        images, shown = list[ImageLike](), list[GalleryItem]()
        for item in items:
            try:
                images.append(_image(item))
                shown.append(item)
            except DataError as error:
                problems[item.id] = str(error)
        cameras = None if self.extractor.adaptation is None else [item.camera for item in shown]
        embedded, made = list[GalleryItem](), list[PartEmbeddings]()
        with self.extractor.stream(images, on_error="skip", cameras=cameras) as stream:
            for batch in stream:
                embedded += [shown[int(place)] for place in batch.positions]
                made.append(batch.embeddings)
        problems |= {shown[one.position].id: one.reason for one in stream.skipped}
        return GalleryRecords(tuple(embedded), PartEmbeddings.cat(made or [self.extractor.embed([])]))

    def _problem(self, item: GalleryItem) -> str:
        """Why an item cannot be embedded, as far as one can tell without reading its image; "" = it can."""
        boxes, name = item.metadata.get("boxes"), item.metadata.get(FILE)
        if not isinstance(name, str):
            return "names no image file"
        if not Path(name).is_file():
            return "its image file is not there"
        if isinstance(boxes, int) and boxes > 1 and not self.tracks:
            return "is a track of several images"
        return ""

    def _refuse(self, problems: Mapping[str, str]) -> None:
        kinds = Counter(problems.values()).most_common(3)
        told = "; ".join(f"{count} × {problem:.200}" for problem, count in kinds)
        raise DataError(
            f"{len(problems)} items cannot be embedded again ({told}), such as {min(problems)!r:.80}. The gallery is "
            "as it was. Tell it where images have moved to (partreid gallery move-files); make tracks again with "
            "partreid tracks, or from one image each with --tracks-from-one-image; or leave such items out with "
            "--skip-missing."
        )


def _image(item: GalleryItem) -> ImageLike:
    """The image of an item: its file, or the box in the file."""
    name, box = Path(str(item.metadata[FILE])), item.metadata.get(BOX)
    return name if box is None else crop_boxes(load_image(name), [box])[0]


def _there(gallery: Gallery, items: Sequence[GalleryItem]) -> GalleryRecords | None:
    """Records of the items that are in a gallery with the same camera, time and metadata."""
    wanted = {item.id: item for item in items}

    def found() -> GalleryRecords | None:
        known = sorted(gallery.known(wanted))
        records = gallery.get(known) if known else None
        return records and records[[i for i, item in enumerate(records.items) if item == wanted[item.id]]]

    return gallery.read(found)


@contextmanager
def _workplace(gallery: Gallery, extractor: PartExtractor, folder: str | Path | None) -> Iterator[Gallery]:
    """A gallery for the new embeddings. It is removed when they are in their final place."""
    if folder is None and isinstance(gallery.store, MemoryStore):
        yield Gallery(extractor=extractor)
        return
    if folder is None:
        beside = corrections_of(gallery)
        if beside is None:
            raise ConfigError("Say where new embeddings are kept until the end: --workplace FOLDER (workplace=...).")
        folder = beside.parent.absolute().with_name(f".{beside.parent.absolute().name}.re-embedding")
    place = Path(folder).absolute()
    with hold_work(place.with_name(f"{place.name}.lock"), f"embedding a gallery again in {place}", error=DataError):
        with Gallery.open(place, extractor=extractor) as new:
            yield new
        shutil.rmtree(place, ignore_errors=True)
