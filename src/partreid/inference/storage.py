"""Embeddings on disk: one file, safetensors or Parquet, or a folder of such files (``shards.py`` makes those)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from partreid.errors import DataError, ShapeError
from partreid.files import nameable
from partreid.inference.embedding_file import PARQUET, SAFETENSORS, FileFacts, read_facts, read_file, write_file
from partreid.inference.shard_folder import read_manifest, shard_files
from partreid.objects import guided
from partreid.types import PartEmbeddings
from partreid.types.numbers import in_order

__all__ = [
    "PARQUET",
    "SAFETENSORS",
    "ShardMark",
    "images_root",
    "iter_embeddings",
    "load_embeddings",
    "read_facts",
    "root_of",
    "save_embeddings",
]


@dataclass(frozen=True)
class ShardMark:
    """What tells one shard from all others. Attributes as in :class:`FileFacts`."""

    shard: str
    images: str


@guided
def save_embeddings(
    path: str | Path,
    embeddings: PartEmbeddings,
    *,
    names: Sequence[str],
    skipped: Sequence[tuple[int, str, str]] = (),
    root: str | Path | None = None,
    part_of: ShardMark | None = None,
) -> Path:
    """Write embeddings, whole or not at all; the same arguments give the same bytes.

    A safetensors file holds ``vectors`` [N, S, D] and ``visibility`` [N, S]. A Parquet file holds the columns ``name``,
    ``vectors`` and ``visibility``, the latter two with a field for each slot: ``vectors.head`` is a list of D numbers.
    A checksum of all of it is among the metadata.

    Args:
        path: the file; ``.parquet`` writes Parquet (extra ``tables``), any other suffix safetensors.
        embeddings: N images. names: N names, for example the images' files.
        skipped: images that could not be read: position, name, reason.
        root: the folder from which relative names start, where the names are files.
        part_of: of a shard, which one it is.

    Raises:
        ShapeError: the names are no texts in an order, or not as many as the images; or a number is NaN, infinite or
            no visibility.
        DataError: the file cannot be written.
        MissingDependencyError: Parquet without pyarrow.
    """
    in_order("names", names)
    if isinstance(names, str | bytes) or len(names) != len(embeddings):
        got = repr(names)[:80] if isinstance(names, str | bytes) else len(names)
        raise ShapeError(f"Expected {len(embeddings)} names, one per image, got {got}.")
    names = [str(name) if isinstance(name, str | Path) else _no_name(name) for name in names]
    mark = {} if part_of is None else vars(part_of)
    compare = embeddings.compare_normalized
    start = root_of([*names, *(name for _, name, _ in skipped)], root)
    facts = FileFacts(embeddings.slots, embeddings.model, tuple(names), tuple(skipped), compare, start, **mark)
    write_file(nameable(path, error=DataError), embeddings.validate(), facts)
    return Path(path)


def _no_name(name: object) -> str:
    raise ShapeError(f"An image's name is text, got {name!r:.80} of type {type(name).__name__}.")


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
        DataError: as :func:`load_embeddings`. That shards are missing or of other images is told before the first;
            what was given before is right.
    """
    path = nameable(path, error=DataError)
    for file in shard_files(path) if path.is_dir() else [path]:
        embeddings, facts = read_file(file)
        yield embeddings, facts.names


def images_root(path: str | Path) -> Path | None:
    """The folder from which relative names of images in a file of embeddings, or in a folder of shards, start.

    Returns:
        None where all names are absolute, or the file does not say it (that of an earlier version, or of tracks).

    Raises:
        DataError: as :func:`load_embeddings`, as far as descriptions tell.
    """
    path = nameable(path, error=DataError)
    root = read_manifest(path).root if path.is_dir() else read_facts(path).root
    return Path(root) if root else None


def root_of(names: Iterable[str], root: str | Path | None) -> str:
    """``root`` as an absolute path, if a name is relative and so depends on it; else "".

    Example:
        >>> root_of(["/data/a.jpg"], "/home"), root_of(["a.jpg"], "/home")
        ('', '/home')
    """
    if root is None or all(os.path.isabs(name) for name in names):  # noqa: PTH117 - of very many names
        return ""
    return str(Path(root).absolute())
