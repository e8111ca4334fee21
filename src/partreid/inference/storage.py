"""Embeddings in a file: safetensors with ``vectors`` and ``visibility``; slots and picture names as metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from partreid.errors import DataError, ShapeError
from partreid.files import atomic_file
from partreid.types import PartEmbeddings


def save_embeddings(path: str | Path, embeddings: PartEmbeddings, *, names: Sequence[str]) -> Path:
    """Write embeddings, whole or not at all.

    Args:
        path: the file. embeddings: N pictures. names: N names, for example the pictures' files.

    Raises:
        ShapeError: the names are not as many as the pictures.
        DataError: the file cannot be written.
    """
    if len(names) != len(embeddings):
        raise ShapeError(f"Expected {len(embeddings)} names, one per picture, got {len(names)}.")
    metadata = {
        "format": "partreid-embeddings",
        "slots": json.dumps(embeddings.slots),
        "names": json.dumps(list(names)),
    }
    tensors = {"vectors": embeddings.vectors.contiguous(), "visibility": embeddings.visibility.contiguous()}
    with atomic_file(path, error=DataError) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            raise DataError(f"Cannot write {path}: {error}. Is the disk full?") from None
    return Path(path)


def load_embeddings(path: str | Path) -> tuple[PartEmbeddings, tuple[str, ...]]:
    """Embeddings and the names of their pictures.

    Raises:
        DataError: missing, damaged, or no file of embeddings.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            vectors, visibility = file.get_tensor("vectors"), file.get_tensor("visibility")
        slots, names = (tuple(map(str, json.loads(metadata[key]))) for key in ("slots", "names"))
        embeddings = PartEmbeddings(vectors, visibility, slots)
        if len(names) != len(embeddings):
            raise ValueError(f"{len(names)} names for {len(embeddings)} pictures")
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is no whole file of embeddings ({error}). Write it anew with partreid embed."
        ) from None
    return embeddings, names
