"""Backups: write a gallery of any store as a folder of checked files, and restore it into any store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from partreid.errors import DataError
from partreid.files import atomic_folder, force_to_disk, hold_work, mend_folder, replace_file
from partreid.inference.extractor import PartExtractor
from partreid.lifecycle.backup_files import (
    MODEL,
    BackupFacts,
    ModelFacts,
    StoredItem,
    image_path,
    read_facts,
    read_records,
    sha256_of,
    write_facts,
    write_records,
)
from partreid.lifecycle.crop_files import FILE
from partreid.linking.corrections import CORRECTIONS_FILE, corrections_of
from partreid.models.shipped import named_model
from partreid.objects import guided
from partreid.progress import Advance
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import recorded
from partreid.retrieval.stores.addresses import without_secrets
from partreid.retrieval.stores.base import GalleryHeader
from partreid.retrieval.upkeep import copy_records, refuse_other_items
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import GalleryRecords

_FILE_BYTES = 2**26
"""Bytes of vectors in one file. It may be more, because a page of a gallery is never divided."""


@guided
def backup_gallery(
    gallery: Gallery,
    path: str | Path,
    *,
    extractor: PartExtractor | None = None,
    with_model: bool = False,
    with_images: bool = False,
    skip_missing: bool = False,
    advance: Advance = lambda count: None,
) -> BackupFacts:
    """Write a gallery as a folder, and check it. It contains one state of the gallery, even if others write meanwhile
    (on Qdrant: docs/scale.md).

    The folder appears once it is complete and was read again. A process that is killed leaves nothing under its name.
    The memory needed does not grow with the gallery.

    Args:
        gallery: of any store. path: the new folder, which must not exist.
        extractor: of the gallery's model; it tells what the images must look like. None = the gallery's own.
        with_model: whether to include the model itself. with_images: whether to include the items' image files.
        skip_missing: whether items may be without their image. advance: called with the number of items done.

    Raises:
        DataError: the gallery is empty, or cannot be read to its end; something exists at the path; an image cannot be
            read; the folder cannot be written, or does not contain what was written.
        ConfigError: the model should be included, but none is given, or it runs as an exported file, which can be
            copied instead.
    """
    path = Path(path)
    mend_folder(path)
    if path.exists():
        raise DataError(f"There is something at {path}. A backup replaces nothing. Choose a new folder.")
    extractor = extractor or gallery.extractor
    if extractor is None and with_model:
        extractor = gallery.embedder()
    if extractor is not None and gallery.model not in ("", extractor.fingerprint):
        raise DataError(
            f"The gallery was made by the model {named_model(gallery.model)}, not by {extractor.fingerprint}."
        )
    header = gallery.store.header()
    if header is None or not len(gallery):
        raise DataError(f"There is nothing to back up in {without_secrets(gallery.store.location)}: it has no items.")
    asked = {"to": str(path), "with_model": with_model, "with_images": with_images}
    with recorded(gallery, "backup", asked) as event, atomic_folder(path, error=DataError) as folder:
        files: dict[str, str] = {}
        items = images = 0
        for number, records in enumerate(_large(gallery.records())):
            stored = [
                _stored(item, folder, skip_missing) if with_images else StoredItem(item) for item in records.items
            ]
            name = f"records-{number:06d}.safetensors"
            files[name] = write_records(folder / name, stored, records.embeddings)
            header = GalleryHeader.of(records.embeddings)  # properties of the model may have become known since
            items, images = items + len(stored), images + sum(one.image is not None for one in stored)
            advance(len(stored))
        beside = corrections_of(gallery)
        if beside is not None and beside.exists():
            replace_file(folder / CORRECTIONS_FILE, beside.read_bytes(), error=DataError)
            files[CORRECTIONS_FILE] = sha256_of(folder / CORRECTIONS_FILE)
        model = ModelFacts.of(header.model, extractor, carried=with_model)
        if with_model and extractor is not None:
            files |= _write_model(extractor, folder)
        write_facts(folder, BackupFacts(without_secrets(gallery.store.location), header, items, images, model, files))
        event.results = items
        return verify_backup(folder)


def _large(pages: Iterator[GalleryRecords]) -> Iterator[GalleryRecords]:
    """Pages joined until they are large enough for a file."""
    waiting: list[GalleryRecords] = []
    for page in pages:
        waiting.append(page)
        vectors = page.embeddings.vectors
        if sum(map(len, waiting)) * vectors[0].numel() * vectors.element_size() >= _FILE_BYTES:
            yield GalleryRecords.cat(waiting)
            waiting = []
    if waiting:
        yield GalleryRecords.cat(waiting)


def _stored(item: GalleryItem, folder: Path, skip_missing: bool) -> StoredItem:
    """The item's image, if it names one, is copied into the backup under the SHA-256 of its content."""
    name = item.metadata.get(FILE)
    if not isinstance(name, str):
        return StoredItem(item)
    try:
        if not Path(name).is_file():  # reading a pipe would wait
            raise DataError(f"{name} is no file.")
        digest = sha256_of(Path(name))
        place = folder / image_path(digest, name)
        if not place.exists():
            replace_file(place, Path(name).read_bytes(), error=DataError)
    except (OSError, ValueError) as error:  # DataError too
        if skip_missing:
            return StoredItem(item)
        raise DataError(
            f"The image of {item.id!r:.80} cannot be read. {error} Tell the gallery where it is ("
            "partreid gallery move-files), or leave such images out with --skip-missing (skip_missing=True)."
        ) from None
    return StoredItem(item, str(image_path(digest, name)))


def _write_model(extractor: PartExtractor, folder: Path) -> dict[str, str]:
    extractor.save_pretrained(folder / MODEL)
    if extractor.adaptation is not None:
        extractor.adaptation.save(folder / MODEL / "adaptation.safetensors")
    inside = sorted(file for file in (folder / MODEL).rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in inside}


@guided
def verify_backup(path: str | Path) -> BackupFacts:
    """Read all of a backup, and compare every file with its SHA-256.

    Raises:
        DataError: a file is missing or has changed; the message names it.
    """
    folder = Path(path)
    facts = read_facts(folder)
    for name, digest in facts.files.items():
        if sha256_of(folder / name) != digest:
            raise DataError(f"{folder / name} has changed since it was written: its SHA-256 does not fit. Use another.")
    items = images = 0
    for stored, embeddings in _each(folder, facts):
        items += len(stored)
        embeddings.validate()
        for one in stored:
            if one.image is not None:
                images += 1
                if sha256_of(folder / one.image) != Path(one.image).stem:
                    raise DataError(f"{folder / one.image} has changed since it was written: its SHA-256 does not fit.")
    if (items, images) != (facts.items, facts.images):
        raise DataError(f"{folder} has {items} items and {images} images, not {facts.items} and {facts.images}.")
    return facts


def _each(folder: Path, facts: BackupFacts) -> Iterator[tuple[list[StoredItem], PartEmbeddings]]:
    for name in sorted(facts.files):
        if name.startswith("records-"):
            yield read_records(folder / name, facts.header)


@guided
def restore_gallery(
    path: str | Path,
    to: str | Path | Gallery,
    *,
    images_to: str | Path | None = None,
    advance: Advance = lambda count: None,
) -> BackupFacts:
    """Check all of a backup, then put its items into a new gallery. If it is stopped, the same call resumes.

    A folder appears once everything is in it. In a gallery on a server, items appear write by write.

    Args:
        path: the backup. to: a new folder, an address, or a gallery. It may only contain items that an interrupted call
            put there.
        images_to: a folder for the images in the backup. Items then name these; otherwise they keep their paths.
        advance: called with the number of items done.

    Raises:
        DataError: the backup is damaged, or contains no images; the target has other items or another model, or cannot
            be written.
    """
    folder = Path(path)
    facts = verify_backup(folder)
    if images_to is not None and not facts.images:
        raise DataError(f"{folder} holds no images. Make backups that do with --with-images (with_images=True).")
    images = None if images_to is None else Path(images_to).absolute()

    def records() -> Iterator[GalleryRecords]:
        for stored, embeddings in _each(folder, facts):
            items = tuple(one.item if images is None else one.with_image(images) for one in stored)
            yield GalleryRecords(items, embeddings)

    with (
        _target(to) as (gallery, beside),
        recorded(gallery, "restore", {"from": str(folder)}, changes=True) as event,
    ):
        _refuse_others(records, gallery, facts)
        if images is not None:
            for stored, _ in _each(folder, facts):
                for one in stored:
                    one.write_image(folder, images)
        event.added, _ = copy_records(records(), gallery, advance=advance)
        if len(gallery) != facts.items:
            where = without_secrets(gallery.store.location)
            raise DataError(f"Expected {facts.items} items in {where}, found {len(gallery)}: others write there.")
        if beside is not None and CORRECTIONS_FILE in facts.files:
            replace_file(beside / CORRECTIONS_FILE, (folder / CORRECTIONS_FILE).read_bytes(), error=DataError)
    return facts


def _refuse_others(records: Callable[[], Iterator[GalleryRecords]], gallery: Gallery, facts: BackupFacts) -> None:
    """Check that a gallery contains only items that an interrupted call put there."""
    where = without_secrets(gallery.store.location)
    if gallery.model and gallery.model != facts.header.model:
        raise DataError(f"{where} was made by another model ({gallery.model}). Restore into a new gallery.")
    there = refuse_other_items(records, gallery, of="of this backup ", advice="Restore into a new gallery.")
    if there != len(gallery):
        raise DataError(
            f"{where} holds {len(gallery) - there} items that are not of this backup. Restore into a new gallery, and "
            "copy it there with `partreid gallery copy`."
        )


@contextmanager
def _target(to: str | Path | Gallery) -> Iterator[tuple[Gallery, Path | None]]:
    """The gallery to fill, and its folder. A gallery in a folder is built beside its place until the block succeeds."""
    if isinstance(to, Gallery):
        yield to, None
        return
    if "://" in str(to):
        with Gallery.open(to) as gallery:
            yield gallery, None
        return
    place = Path(to).absolute()
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise DataError(f"There is something at {place}. Restore into a new folder; a gallery there stays as it is.")
    building = place.with_name(f".{place.name}.restoring")
    with hold_work(building.with_suffix(".lock"), f"restoring {place}", error=DataError):
        with Gallery.open(building) as gallery:
            yield gallery, building
        try:
            building.rename(place)
            force_to_disk(place.parent)
        except OSError as error:
            raise DataError(f"Cannot put {building} in its place {place}: {error.strerror or error}.") from None
