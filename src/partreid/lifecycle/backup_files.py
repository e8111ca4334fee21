"""The files of a backup: ``manifest.json``, files of records, images under their SHA-256, the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from partreid.errors import DataError
from partreid.files import atomic_file, write_text
from partreid.inference.extractor import PartExtractor
from partreid.json_files import parse_json, read_json
from partreid.lifecycle.crop_files import FILE
from partreid.models.shipped import named_model
from partreid.objects import Guided
from partreid.retrieval.stores.base import GalleryHeader
from partreid.types import GalleryItem, PartEmbeddings
from partreid.version import __version__

MANIFEST, IMAGES, MODEL = "manifest.json", "images", "model"
_FORMAT, _VERSION = "partreid-gallery-backup", 1


@dataclass(frozen=True, repr=False)
class ModelFacts(Guided):
    """The model that made a gallery.

    Attributes:
        fingerprint: "" = unknown. name: the fingerprint, with a name if partreid comes or came with this model.
        preprocess: how its images are prepared; None = unknown. mirror, adaptation: as in an extractor; None = unknown,
            or without. folder: where the model lies in the backup; "" = it is not included.
    """

    fingerprint: str
    name: str
    preprocess: dict[str, Any] | None = None
    mirror: bool | None = None
    adaptation: str | None = None
    folder: str = ""

    @classmethod
    def of(cls, fingerprint: str, extractor: PartExtractor | None, *, carried: bool) -> Self:
        """The facts about the model of a fingerprint, from its extractor if there is one."""
        if extractor is None:
            return cls(fingerprint, named_model(fingerprint))
        adaptation = extractor.adaptation
        return cls(
            fingerprint, named_model(fingerprint), extractor.preprocess.model_dump(mode="json"), extractor.mirror,
            None if adaptation is None else adaptation.fingerprint, MODEL if carried else "",
        )  # fmt: skip


@dataclass(frozen=True, repr=False)
class BackupFacts(Guided):
    """The content of ``manifest.json``.

    Attributes:
        gallery: its location, without secrets. header: of its items. items, images: their numbers.
        model: that made the gallery. files: SHA-256 of each file except the images, whose names contain theirs.
        time: when the backup was made. partreid: the version that made it.
    """

    gallery: str
    header: GalleryHeader
    items: int
    images: int
    model: ModelFacts
    files: dict[str, str]
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    partreid: str = __version__


@dataclass(frozen=True)
class StoredItem:
    """An item, and the path of its image in the backup; None if the backup does not contain the image."""

    item: GalleryItem
    image: str | None = None

    def with_image(self, images: Path) -> GalleryItem:
        """The item, whose file is its image in this folder."""
        if self.image is None:
            return self.item
        return replace(self.item, metadata={**self.item.metadata, FILE: str(self._place(images))})

    def write_image(self, folder: Path, images: Path) -> None:
        """Copy the image, if there is one, from the backup into a folder."""
        if self.image is not None and not (place := self._place(images)).exists():
            with atomic_file(place, error=DataError) as temporary:
                temporary.write_bytes((folder / self.image).read_bytes())

    def _place(self, images: Path) -> Path:
        """The image's path: its former name, which people know, in a folder named after the image's content."""
        return images / Path(str(self.image)).stem[:16] / Path(str(self.item.metadata[FILE])).name


def image_path(digest: str, name: str) -> Path:
    """Where an image lies in a backup: ``images/ab/abcd….jpg``."""
    return Path(IMAGES) / digest[:2] / f"{digest}{Path(name).suffix[:16]}"


def write_records(path: Path, items: Sequence[StoredItem], embeddings: PartEmbeddings) -> str:
    """Write items as safetensors, and return the SHA-256 of the intended content."""
    lines = json.dumps([_as_json(one) for one in items], ensure_ascii=False).encode()
    data = save({
        "vectors": embeddings.vectors.cpu().contiguous(), "visibility": embeddings.visibility.cpu().contiguous(),
        "items": torch.frombuffer(bytearray(lines), dtype=torch.uint8),
    })  # fmt: skip
    with atomic_file(path, error=DataError) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read_records(path: Path, header: GalleryHeader) -> tuple[list[StoredItem], PartEmbeddings]:
    """The items of a file, and their embeddings.

    Raises:
        DataError: the file is damaged, or belongs to another gallery.
    """
    try:
        tensors = load(path.read_bytes())
        content = parse_json(tensors["items"].numpy().tobytes(), source=str(path), error=DataError)
        items = [_of_json(one) for one in content]
        vectors, visibility = tensors["vectors"], tensors["visibility"]
        if vectors.shape != (len(items), len(header.slots), header.width) or visibility.shape != vectors.shape[:2]:
            raise ValueError(f"{len(items)} items, vectors {tuple(vectors.shape)}")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no records of this backup: {error}.") from None
    return items, header.embeddings(vectors, visibility)


def _as_json(one: StoredItem) -> dict[str, Any]:
    item = one.item
    time = None if item.time is None else item.time.isoformat()
    return {"id": item.id, "camera": item.camera, "time": time, "metadata": dict(item.metadata), "image": one.image}


def _of_json(one: Mapping[str, Any]) -> StoredItem:
    time = None if one["time"] is None else datetime.fromisoformat(one["time"])
    item, image = GalleryItem(one["id"], one["camera"], time, one["metadata"]), one["image"]
    if image is not None and (not str(image).startswith(f"{IMAGES}/") or ".." in str(image)):
        raise ValueError(f"{image!r:.80} is no image of it")
    return StoredItem(item, image)


def write_facts(folder: Path, facts: BackupFacts) -> None:
    """Write ``manifest.json``."""
    body = json.loads(json.dumps(asdict(facts)))
    whole = {"format": _FORMAT, "version": _VERSION, "sha256": _digest(body), "backup": body}
    write_text(folder / MANIFEST, json.dumps(whole, indent=1, ensure_ascii=False) + "\n", error=DataError)


def read_facts(folder: Path) -> BackupFacts:
    """Read ``manifest.json``.

    Raises:
        DataError: the folder is no backup, is damaged, or of another version.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise DataError(f"{folder} is no backup of a gallery: it holds no {MANIFEST}.")
    whole = read_json(path, error=DataError)
    if not isinstance(whole, dict) or whole.get("format") != _FORMAT:
        raise DataError(f"{path} is not that of a backup of a gallery.")
    if whole.get("version") != _VERSION:
        raise DataError(
            f"{path} has version {whole.get('version')!r:.20}; this partreid {__version__} reads {_VERSION}."
        )
    if _digest(whole.get("backup")) != whole.get("sha256"):
        raise DataError(f"{path} has changed since it was written: its SHA-256 does not fit. Use another backup.")
    try:
        return _FACTS.validate_python(whole["backup"])
    except ValidationError as error:
        raise DataError(f"{path} is damaged: {error.errors()[0]['msg']}.") from None


_FACTS = TypeAdapter(BackupFacts)


def _digest(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, which is read piece by piece.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
