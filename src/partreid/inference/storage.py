"""Embeddings read from disk: one file, or a folder of shards, whose manifest says which files belong to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from partreid.base_config import ConfigModel
from partreid.errors import ConfigError, DataError
from partreid.files import nameable
from partreid.inference.embedding_file import FileFacts, read_facts, read_file
from partreid.json_files import read_json
from partreid.objects import guided
from partreid.types import PartEmbeddings

MANIFEST = "manifest.json"
"""In a folder of shards: what they hold, and how many there are."""

_SHARD = re.compile(r"shard-(\d{6,12})\.(?:safetensors|parquet)", re.ASCII)
_RESTORE = "Put it back as it was, or embed into another folder."
_AGAIN = "Remove that file, and the same partreid embed makes it again; or embed into another folder."


@guided
def load_embeddings(path: str | Path) -> tuple[PartEmbeddings, tuple[str, ...]]:
    """Embeddings and the names of their images, from one file or a folder of shards.

    Raises:
        DataError: missing, damaged, changed since it was written, unfinished, or no embeddings.
        MissingDependencyError: Parquet without pyarrow.
    """
    batches = list(iter_embeddings(path))
    return PartEmbeddings.cat(batch for batch, _ in batches), tuple(name for _, names in batches for name in names)


def iter_embeddings(path: str | Path) -> Iterator[tuple[PartEmbeddings, tuple[str, ...]]]:
    """The same file by file, for folders of shards larger than the memory.

    Raises:
        DataError: as :func:`load_embeddings`. Missing shards and shards of other images are reported before the first
            result. All results before an error are right.
    """
    path = nameable(path, error=DataError)
    for file in shard_files(path) if path.is_dir() else [path]:
        embeddings, facts = read_file(file)
        yield embeddings, facts.names


def images_root(path: str | Path) -> Path | None:
    """The folder from which relative names of images in a file of embeddings, or in a folder of shards, start.

    Returns:
        None if all names are absolute, or if the file does not contain it (files of earlier versions, or of tracks).

    Raises:
        DataError: as :func:`load_embeddings`, but only the metadata are checked.
    """
    path = nameable(path, error=DataError)
    root = read_manifest(path).root if path.is_dir() else read_facts(path).root
    return Path(root) if root else None


def shard_name(index: int, file_type: str) -> str:
    """The file of a shard: ``shard-000007.safetensors``."""
    return f"shard-{index:06d}.{file_type}"


def shard_files(folder: Path) -> list[Path]:
    """The files of a folder of shards, in order. All exist, and their metadata belong together."""
    manifest = read_manifest(folder)
    count, suffix = manifest.shards, manifest.file_type
    found = sorted((int(match[1]), file) for file in folder.iterdir() if (match := _SHARD.fullmatch(file.name)))
    if foreign := [file for i, file in found if i >= count or file.name != shard_name(i, suffix)]:
        raise DataError(
            f"{folder} contains {foreign[0].name}, but its {MANIFEST} lists {count} shards of type {suffix}, so one of "
            "the two was changed. Move away what does not belong there, or embed into another folder."
        )
    there = dict(found)
    if len(there) < count:
        first = next(i for i in range(count) if i not in there)
        raise DataError(
            f"{folder} is not finished: {count - len(there)} of {count} shards are missing, the first is "
            f"{shard_name(first, suffix)}. Resume with the same partreid embed."
        )
    digest = hashlib.sha256()
    for i in range(count):
        facts = read_facts(there[i])
        if fault := manifest.fault(i, facts):
            raise DataError(f"{there[i]} does not belong in this folder: {fault}. {_AGAIN}")
        for name in facts.in_order(i * manifest.shard_size):
            digest.update(name_bytes(name))
    if digest.hexdigest() != manifest.names_sha256:
        raise DataError(f"{folder}: the shards are not of the images that {MANIFEST} was written for. {_AGAIN}")
    return [there[i] for i in range(count)]


Count = Annotated[int, Field(strict=True, ge=1)]


class Manifest(ConfigModel):
    """The part of a folder's manifest that its readers need."""

    version: Annotated[int, Field(strict=True, ge=1, le=2)]
    """Of the format; 1 had no checksums."""
    model: str
    """Fingerprint of the model that made them."""
    slots: tuple[str, ...]
    """As in ``PartEmbeddings``."""
    images: Count
    """How many, with those that could not be read."""
    shard_size: Count
    """Images in each shard but the last."""
    shards: Count
    """How many."""
    file_type: Literal["safetensors", "parquet"]
    """Of the shards."""
    names_sha256: str
    """Digest of all names in order."""
    root: str = ""
    """From where relative names start; "" = all are absolute, or it is not known."""

    def fault(self, shard: int, facts: FileFacts) -> str:
        """The reason why a shard with these facts does not belong in this place; "" = it does."""
        size = min(self.shard_size, self.images - shard * self.shard_size)
        positions = [position - shard * self.shard_size for position, _, _ in facts.skipped]
        if facts.model != self.model or facts.slots != self.slots:
            return f"it was made by the model {facts.model or 'unknown'}, the others by {self.model}"
        if len(facts.names) + len(positions) != size or len({p for p in positions if 0 <= p < size}) != len(positions):
            return f"it has {len(facts.names)} images and {len(positions)} skipped ones, not {size} together"
        if self.version > 1 and facts.shard != shard_mark(self.names_sha256, shard):
            return "it is another shard, or one of other images"
        if self.version > 1 and facts.root not in (self.root, ""):
            return f"its names start from {facts.root or 'an unknown folder'}, those of the others from {self.root}"
        return ""


def shard_mark(names_sha256: str, shard: int) -> str:
    """The text in a shard that gives its place in the folder."""
    return f"{names_sha256}/{shard}"


def name_bytes(name: str) -> bytes:
    """A name in the form that enters the digest of all names."""
    return name.encode("utf-8", "surrogateescape") + b"\0"


def manifest_content(path: Path) -> dict[str, Any]:
    """The content of a manifest, with the present names of its fields."""
    content = read_json(path, error=DataError)
    if not isinstance(content, dict):
        raise DataError(f"{path} cannot be read: expected a JSON object. Move it away, or embed into another folder.")
    if "pictures" in content:  # its name in folders of earlier versions
        content["images"] = content.pop("pictures")
    return content


def read_manifest(folder: Path) -> Manifest:
    """What a folder of shards says of itself."""
    path = folder / MANIFEST
    try:
        content = manifest_content(path)
        known = {key: content[key] for key in Manifest.model_fields if key in content or key != "root"}
    except (DataError, KeyError, TypeError) as error:
        raise DataError(f"{folder} is not a folder of embeddings ({error}). Make it with partreid embed.") from None
    try:
        manifest = Manifest.parse(known, source=str(path))
    except ConfigError as error:
        raise DataError(f"{error}. It was changed, or is of a later partreid. {_RESTORE}") from None
    if manifest.shards != -(-manifest.images // manifest.shard_size):
        raise DataError(
            f"{path} was changed: {manifest.images} images are not {manifest.shards} shards of "
            f"{manifest.shard_size}. {_RESTORE}"
        )
    return manifest
