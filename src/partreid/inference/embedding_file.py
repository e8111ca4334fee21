"""One file of embeddings, safetensors or Parquet: its metadata, its checksum, writing and reading."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from partreid.errors import DataError, ShapeError
from partreid.files import atomic_file, nameable
from partreid.inference import _parquet as parquet
from partreid.json_files import parse_json
from partreid.objects import guided
from partreid.types import PartEmbeddings
from partreid.types.numbers import in_order
from partreid.types.slot_weights import checked_weights

PARQUET = ".parquet"
SAFETENSORS = ".safetensors"

_FORMAT = "partreid-embeddings"


@dataclass(frozen=True)
class FileFacts:
    """The metadata of a file of embeddings. They are written and read only here.

    Attributes:
        slots, model: as in ``PartEmbeddings``. names: of the images.
        skipped: images that could not be read: position among all, name, reason.
        compare_normalized: as in ``PartEmbeddings``; missing in files of earlier versions.
        root: absolute folder from which relative names start; "" = all are absolute, or the folder is unknown.
        shard: the shard's place in its folder (``ShardJob.mark``). images: digest of its images' files.
        compare_weights: as in ``PartEmbeddings``; written if there are any.
        sha256: of these metadata and the tensors; "" = written by a version without it.
    """

    slots: tuple[str, ...]
    model: str
    names: tuple[str, ...]
    skipped: tuple[tuple[int, str, str], ...] = ()
    compare_normalized: bool | None = None
    root: str = ""
    shard: str = ""
    images: str = ""
    sha256: str = ""
    compare_weights: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """The facts as the file's metadata."""
        # Without weights as in earlier versions, whose checksums are of this text.
        said = {name: value for name, value in vars(self).items() if value or name != "compare_weights"}
        return json.dumps({_written(name): value for name, value in said.items()})

    @classmethod
    def from_json(cls, text: str) -> FileFacts:
        """Read the facts back. Errors of values or of unpacking mean that the text is not such metadata."""
        content: dict[str, Any] = parse_json(text, source="its description", error=DataError)
        skipped = tuple((int(position), str(name), str(why)) for position, name, why in content["skipped"])
        slots, names = (tuple(map(str, content[key])) for key in ("slots", "names"))
        optional = ((name, _written(name)) for name in ("root", "shard", "images", "sha256"))
        later = {name: str(content[key]) for name, key in optional if key in content}
        if later and not later.get("sha256"):  # earlier versions had none of these
            raise ValueError("its checksum is missing")
        compare = content.get("compare_normalized")
        if compare is not None and not isinstance(compare, bool):
            raise ValueError(f"compare_normalized is {compare!r}")
        weights = checked_weights(content.get("compare_weights", {}), slots)
        return cls(slots, str(content["model"]), names, skipped, compare, compare_weights=weights, **later)

    def in_order(self, first: int) -> Iterator[str]:
        """All names from the position ``first`` on, with those of skipped images in their places."""
        skipped = {position: name for position, name, _ in self.skipped}
        names = iter(self.names)
        for position in range(first, first + len(self.names) + len(skipped)):
            yield skipped[position] if position in skipped else next(names)

    def digest(self, embeddings: PartEmbeddings) -> str:
        """sha256 of these facts and of the tensors they belong to."""
        digest = hashlib.sha256(replace(self, sha256="").to_json().encode())
        for tensor in (embeddings.vectors, embeddings.visibility):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(content.numpy().data)
        return digest.hexdigest()


def _written(name: str) -> str:
    """What files call a field. Checksums include these names, so files of earlier versions need them as they are."""
    return "pictures" if name == "images" else name


@guided
def save_embeddings(
    path: str | Path,
    embeddings: PartEmbeddings,
    *,
    names: Sequence[str] | None = None,
    skipped: Sequence[tuple[int, str, str]] = (),
    root: str | Path | None = None,
) -> Path:
    """Write embeddings completely or not at all. The same arguments give the same bytes.

    A safetensors file holds ``vectors`` [N, S, D] and ``visibility`` [N, S]. A Parquet file holds the columns ``name``,
    ``vectors`` and ``visibility``, the latter two with a field for each slot: ``vectors.head`` is a list of D numbers.
    The metadata contain a checksum of everything.

    Args:
        path: the file; ``.parquet`` writes Parquet (extra ``tables``), any other suffix safetensors.
        embeddings: N images. names: N names, for example the images' files; None = their positions 0, 1, ...
        skipped: images that could not be read: position, name, reason.
        root: the folder from which relative names start, if the names are files.

    Raises:
        ShapeError: the names are not a sequence of texts, their number differs from that of the images, or a number is
            NaN, infinite or not a valid visibility.
        DataError: the file cannot be written.
        MissingDependencyError: Parquet without pyarrow.
    """
    names = [str(place) for place in range(len(embeddings))] if names is None else names
    in_order("names", names)
    if isinstance(names, str | bytes) or len(names) != len(embeddings):
        got = repr(names)[:80] if isinstance(names, str | bytes) else len(names)
        raise ShapeError(f"Expected {len(embeddings)} names, one per image, got {got}.")
    if wrong := [name for name in names if not isinstance(name, str | Path)]:
        raise ShapeError(f"An image's name is text, got {wrong[0]!r:.80} of type {type(wrong[0]).__name__}.")
    texts = tuple(map(str, names))
    start = root_of([*texts, *(name for _, name, _ in skipped)], root)
    facts = FileFacts(
        embeddings.slots,
        embeddings.model,
        texts,
        tuple(skipped),
        embeddings.compare_normalized,
        root=start,
        compare_weights=embeddings.compare_weights,
    )
    write_file(nameable(path, error=DataError), embeddings.validate(), facts)
    return Path(path)


def root_of(names: Iterable[str], root: str | Path | None) -> str:
    """``root`` as an absolute path, if a name is relative and so depends on it; else ""."""
    if root is None or all(os.path.isabs(name) for name in names):  # noqa: PTH117 - of very many names
        return ""
    return str(Path(root).absolute())


def write_file(path: Path, embeddings: PartEmbeddings, facts: FileFacts) -> None:
    """:func:`save_embeddings` with given facts; the checksum is added."""
    as_table = path.suffix == PARQUET
    if as_table:
        embeddings = embeddings.to("cpu", torch.float32)
    text = replace(facts, sha256=facts.digest(embeddings)).to_json()
    with atomic_file(path, error=DataError) as temporary:
        if as_table:
            parquet.write(temporary, embeddings, facts.names, {_FORMAT: text})
        else:
            tensors = {"vectors": embeddings.vectors.contiguous(), "visibility": embeddings.visibility.contiguous()}
            try:  # one entry of metadata: several are written in no fixed order
                save_file(tensors, temporary, {_FORMAT: text})
            except SafetensorError as error:
                raise DataError(f"Cannot write {path}: {error}. Is the disk full?") from None


def read_facts(path: Path) -> FileFacts:
    """The facts of a file without its tensors. Only its size and header are checked.

    Raises:
        DataError: as :func:`load_embeddings`.
    """
    with _intact(path):
        if path.suffix == PARQUET:
            metadata: Mapping[str, str] = parquet.metadata(path)
        else:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
        if _FORMAT not in metadata:
            raise ValueError("it lacks the metadata that partreid embed writes")
        return FileFacts.from_json(metadata[_FORMAT])


def read_file(path: Path) -> tuple[PartEmbeddings, FileFacts]:
    """One file with its facts; every number is checked.

    Raises:
        DataError: as :func:`load_embeddings`.
    """
    facts = read_facts(path)
    with _intact(path):
        if path.suffix == PARQUET:
            vectors, visibility, names = parquet.read(path, facts.slots, len(facts.names))
        else:
            names = facts.names
            with safe_open(str(path), framework="pt") as file:
                vectors, visibility = file.get_tensor("vectors"), file.get_tensor("visibility")
        said = facts.slots, facts.model, facts.compare_normalized, facts.compare_weights
        embeddings = PartEmbeddings(vectors, visibility, *said)
        if len(facts.names) != len(embeddings) or names != facts.names:
            raise ValueError(f"{len(facts.names)} names for {len(embeddings)} images, or others in the table")
        if facts.sha256 and facts.sha256 != facts.digest(embeddings):
            raise ValueError("its content has changed since it was written: the checksum differs")
        return embeddings.validate(), facts  # files of earlier versions have no checksum: their numbers must be sound


@contextmanager
def _intact(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a file is read, as a :class:`DataError` that names it."""
    try:
        if not nameable(path, error=DataError).is_file():
            raise DataError(f"There is no file {path}." if not path.exists() else f"{path} is no file.")
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # the libraries that read damaged bytes meet them with errors of many kinds
        if isinstance(error, DataError) and str(path) in str(error):
            raise
        raise DataError(
            f"{path} is not an intact file of embeddings ({str(error).rstrip('.') or type(error).__name__}). Write it "
            "again with partreid embed."
        ) from None
