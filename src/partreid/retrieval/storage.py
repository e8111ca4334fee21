"""A gallery on disk: ``gallery.json`` and one safetensors file that it names.

The vectors are written under a name of their own first; the rename of ``gallery.json`` then switches to them in one
step. Whoever opens the folder sees the old gallery or the new one, never half of each.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from partreid.errors import DataError, ShapeError
from partreid.types import PartEmbeddings

FORMAT_VERSION = 1
_HEADER = "gallery.json"
_TYPE = "partreid gallery"


@dataclass(frozen=True)
class StoredGallery:
    """What a folder holds: [N, S, D] embeddings and N ids, cameras and metadata."""

    embeddings: PartEmbeddings
    ids: Sequence[str | int]
    camids: Sequence[int | None]
    metadata: Sequence[dict[str, Any] | None]


def write_gallery(folder: Path, gallery: StoredGallery) -> None:
    """Write ``gallery`` to ``folder``, replacing the gallery there in one step.

    Raises:
        DataError: the folder is not writable, the disk is full, or metadata holds something that JSON cannot.
    """
    embeddings = gallery.embeddings
    vectors = folder / f"vectors-{uuid.uuid4().hex[:12]}.safetensors"
    temporary = folder / f"{vectors.stem}.json.tmp"
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {"vectors": embeddings.vectors.cpu().contiguous(), "visibility": embeddings.visibility.cpu().contiguous()},
            vectors,
        )
        _sync(vectors)
        header = {
            "type": _TYPE,
            "format_version": FORMAT_VERSION,
            "count": len(embeddings),
            "slots": embeddings.slots,
            "vectors": {"file": vectors.name, "bytes": vectors.stat().st_size},
            "ids": gallery.ids,
            "camids": gallery.camids,
            "metadata": gallery.metadata if any(m is not None for m in gallery.metadata) else None,
        }
        temporary.write_text(json.dumps(header, allow_nan=False), encoding="utf-8")
        _sync(temporary)
        temporary.replace(folder / _HEADER)
    except BaseException as error:
        for path in (temporary, vectors):
            path.unlink(missing_ok=True)
        if created:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, TypeError | ValueError):
            raise DataError(f"The gallery's metadata must be what JSON can hold: {error}.") from error
        if isinstance(error, OSError | SafetensorError):
            raise DataError(f"Cannot write the gallery to {folder}: {error}. What was there is unchanged.") from error
        raise
    for old in folder.glob("vectors-*.safetensors"):
        if old != vectors:
            old.unlink(missing_ok=True)


def read_gallery(folder: Path) -> StoredGallery:
    """Read what :func:`write_gallery` wrote.

    Raises:
        DataError: missing, damaged, cut short, or of a newer format.
    """
    header = _read_header(folder)
    try:
        path, size, count = folder / str(header["vectors"]["file"]), header["vectors"]["bytes"], header["count"]
        slots, ids, camids = tuple(header["slots"]), tuple(header["ids"]), tuple(header["camids"])
        metadata = [None] * count if header["metadata"] is None else header["metadata"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / _HEADER} is damaged: it lacks or mangles {error}.") from None
    if path.parent != folder or not path.is_file():
        raise DataError(f"The gallery in {folder} is incomplete: its file {path.name} is missing.")
    if path.stat().st_size != size:
        raise DataError(
            f"{path} is damaged: expected {size} bytes, found {path.stat().st_size}. Copy or build the gallery again."
        )
    try:
        tensors = load_file(path)
        embeddings = PartEmbeddings(tensors["vectors"], tensors["visibility"], slots)
    except (SafetensorError, KeyError, ShapeError) as error:
        raise DataError(f"{path} is damaged: {error}. Copy or build the gallery again.") from error
    if not len(embeddings) == count == len(ids) == len(camids) == len(metadata):
        raise DataError(
            f"The gallery in {folder} is damaged: {len(embeddings)} embeddings, {len(ids)} ids, {len(camids)} cameras "
            f"and {len(metadata)} metadata entries, expected {count} of each."
        )
    return StoredGallery(embeddings, ids, camids, metadata)


def _read_header(folder: Path) -> Mapping[str, Any]:
    path = folder / _HEADER
    if not path.is_file():
        raise DataError(f"No gallery in {folder}: expected a folder with {_HEADER}, as Gallery.save writes it.")
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}. Copy or build the gallery again.") from error
    if not isinstance(header, dict) or header.get("type") != _TYPE:
        raise DataError(f"{path} does not describe a partreid gallery.")
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {version}; this version of partreid reads {FORMAT_VERSION}. Update partreid, "
            "or build the gallery again."
        )
    return header


def _sync(path: Path) -> None:
    """Force a file to the disk, so that the rename after it never outlives its content."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
