"""Embeddings on disk: one file, safetensors or Parquet, or a folder of such files (``shards.py`` makes those)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from partreid.errors import DataError, ShapeError
from partreid.files import atomic_file
from partreid.inference import parquet
from partreid.types import PartEmbeddings

PARQUET = ".parquet"
SAFETENSORS = ".safetensors"
MANIFEST = "manifest.json"
"""In a folder of shards: what they hold, and how many there are."""

_FORMAT = "partreid-embeddings"
T = TypeVar("T")


@dataclass(frozen=True)
class FileFacts:
    """What a file of embeddings says beside the tensors.

    Attributes:
        slots, model: as in ``PartEmbeddings``. names: of the pictures.
        skipped: pictures that could not be read: position among all, name, reason.
        compare_normalized: as in ``PartEmbeddings``; files of former versions do not say it.
    """

    slots: tuple[str, ...]
    model: str
    names: tuple[str, ...]
    skipped: tuple[tuple[int, str, str], ...] = ()
    compare_normalized: bool | None = None

    def to_json(self) -> str:
        """As the file's metadata."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> FileFacts:
        """Read back; errors of json and of unpacking mean that it is no such text."""
        content: dict[str, Any] = json.loads(text)
        skipped = tuple((int(position), str(name), str(why)) for position, name, why in content["skipped"])
        slots, names = (tuple(map(str, content[key])) for key in ("slots", "names"))
        return cls(slots, str(content["model"]), names, skipped, content.get("compare_normalized"))


def save_embeddings(
    path: str | Path,
    embeddings: PartEmbeddings,
    *,
    names: Sequence[str],
    skipped: Sequence[tuple[int, str, str]] = (),
) -> Path:
    """Write embeddings, whole or not at all; the same embeddings and names give the same bytes.

    A safetensors file holds ``vectors`` [N, S, D] and ``visibility`` [N, S]. A Parquet file holds the columns ``name``,
    ``vectors`` and ``visibility``, the latter two with a field for each slot: ``vectors.head`` is a list of D numbers.

    Args:
        path: the file; ``.parquet`` writes Parquet (extra ``tables``), any other suffix safetensors.
        embeddings: N pictures. names: N names, for example the pictures' files.
        skipped: pictures that could not be read: position, name, reason.

    Raises:
        ShapeError: the names are not as many as the pictures.
        DataError: the file cannot be written.
        MissingDependencyError: Parquet without pyarrow.
    """
    if len(names) != len(embeddings):
        raise ShapeError(f"Expected {len(embeddings)} names, one per picture, got {len(names)}.")
    known = embeddings.compare_normalized
    facts = FileFacts(embeddings.slots, embeddings.model, tuple(names), tuple(skipped), known).to_json()
    with atomic_file(path, error=DataError) as temporary:
        if Path(path).suffix == PARQUET:
            parquet.write(temporary, embeddings, names, {_FORMAT: facts})
        else:
            tensors = {"vectors": embeddings.vectors.contiguous(), "visibility": embeddings.visibility.contiguous()}
            try:  # one entry of metadata: several are written in no fixed order
                save_file(tensors, temporary, {_FORMAT: facts})
            except SafetensorError as error:
                raise DataError(f"Cannot write {path}: {error}. Is the disk full?") from None
    return Path(path)


def load_embeddings(path: str | Path) -> tuple[PartEmbeddings, tuple[str, ...]]:
    """Embeddings and the names of their pictures, from one file or a folder of shards.

    Raises:
        DataError: missing, damaged, unfinished, or no embeddings.
        MissingDependencyError: Parquet without pyarrow.
    """
    batches = list(iter_embeddings(path))
    return PartEmbeddings.cat(batch for batch, _ in batches), tuple(name for _, names in batches for name in names)


def iter_embeddings(path: str | Path) -> Iterator[tuple[PartEmbeddings, tuple[str, ...]]]:
    """The same file by file, for folders of shards larger than the memory.

    Raises:
        DataError: as :func:`load_embeddings`; what was given before is right.
    """
    path = Path(path)
    for file in shard_files(path) if path.is_dir() else [path]:
        embeddings, facts = _load(file)
        yield embeddings, facts.names


def shard_files(folder: Path) -> list[Path]:
    """The files of a folder of shards, in order.

    Raises:
        DataError: it is no such folder, or one is not there yet.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = [folder / shard_name(i, str(manifest["file_type"])) for i in range(int(manifest["shards"]))]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder} is no folder of embeddings ({error}). Make it with partreid embed.") from None
    if missing := [file for file in files if not file.is_file()]:
        raise DataError(
            f"{folder} is not finished: {len(missing)} of {len(files)} shards are missing, the first is "
            f"{missing[0].name}. Go on with the same partreid embed."
        )
    return files


def shard_name(index: int, file_type: str) -> str:
    """The file of a shard.

    Example:
        >>> shard_name(7, "safetensors")
        'shard-000007.safetensors'
    """
    return f"shard-{index:06d}.{file_type}"


def read_facts(path: Path) -> FileFacts:
    """What a file holds, without its tensors: it is whole as far as its size and header tell.

    Raises:
        DataError: as :func:`load_embeddings`.
    """
    return _guarded(path, _read_facts)


def _load(path: Path) -> tuple[PartEmbeddings, FileFacts]:
    return _guarded(path, _read)


def _read_facts(path: Path) -> FileFacts:
    if path.suffix == PARQUET:
        return FileFacts.from_json(parquet.metadata(path)[_FORMAT])
    with safe_open(str(path), framework="pt") as file:
        return FileFacts.from_json((file.metadata() or {})[_FORMAT])


def _read(path: Path) -> tuple[PartEmbeddings, FileFacts]:
    facts = _read_facts(path)
    if path.suffix == PARQUET:
        vectors, visibility = parquet.read(path, facts.slots)
    else:
        with safe_open(str(path), framework="pt") as file:
            vectors, visibility = file.get_tensor("vectors"), file.get_tensor("visibility")
    embeddings = PartEmbeddings(vectors, visibility, facts.slots, facts.model, facts.compare_normalized)
    if len(facts.names) != len(embeddings):
        raise ValueError(f"{len(facts.names)} names for {len(embeddings)} pictures")
    return embeddings, facts


def _guarded(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except ImportError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is no whole file of embeddings ({error}). Write it anew with partreid embed."
        ) from None
