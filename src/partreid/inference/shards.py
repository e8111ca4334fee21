"""Embeddings of very many pictures as a folder of shards that can be gone on with after a kill at any moment.

``manifest.json`` is written first; a shard is a file that is whole or not there. What is done is what lies on the disk:
there is no other record that could disagree with it. Any process may make any shard, and makes the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from partreid.errors import ConfigError, DataError
from partreid.files import atomic_file
from partreid.inference import parquet
from partreid.inference.extractor import PartExtractor
from partreid.inference.pictures import Pictures, picture_name, walk
from partreid.inference.runner import signed
from partreid.inference.storage import MANIFEST, read_facts, save_embeddings, shard_name
from partreid.inference.streaming import (
    PictureBatch,
    SkippedPicture,
    StreamOptions,
    default_readers,
    in_batches,
    run_batches,
)
from partreid.types import PartEmbeddings

SKIPPED = "skipped.csv"
"""In a folder of shards: the pictures that could not be read, and why."""

_LIST = ".pictures"
_FORMAT, _VERSION = "partreid-embedding-shards", 1


@dataclass(frozen=True)
class ShardSettings:
    """How a folder of shards is made.

    Attributes:
        shard_size: pictures in a shard. file_type: of the shards.
        batch_size: pictures embedded at once. A network's last digits depend on it, so it belongs to the result.
        precision: what the network computes with, in words; it belongs to the result too.
    """

    shard_size: int = 16_384
    file_type: Literal["safetensors", "parquet"] = "safetensors"
    batch_size: int = 64
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.shard_size < 1 or self.file_type not in ("safetensors", "parquet"):
            raise ConfigError(
                "Expected shards of at least one picture, as safetensors or parquet, got shards of "
                f"{self.shard_size} as {self.file_type}."
            )


@dataclass(frozen=True)
class ShardJob:
    """A folder of shards, and the pictures that belong in each. It can be sent to another process.

    Attributes:
        folder: where they lie. model: fingerprint of the extractor. settings: how they are made.
        pictures: how many. offsets: where the names of each shard begin in the list of all, and where the last end.
    """

    folder: Path
    model: str
    settings: ShardSettings
    pictures: int
    offsets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / shard_name(shard, self.settings.file_type)

    def first(self, shard: int) -> int:
        """Position of a shard's first picture among all."""
        return shard * self.settings.shard_size

    def size(self, shard: int) -> int:
        """How many pictures belong in a shard."""
        return min(self.pictures, self.first(shard + 1)) - self.first(shard)

    def names(self, shard: int) -> list[str]:
        """The pictures of a shard."""
        with (self.folder / _LIST).open("rb") as file:
            file.seek(self.offsets[shard])
            names = file.read(self.offsets[shard + 1] - self.offsets[shard])
        return names.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def is_whole(self, shard: int) -> bool:
        """Whether the file is there, undamaged as far as its header tells, and of these pictures and this model."""
        try:
            facts = read_facts(self.path(shard))
        except DataError:
            return False
        without = {position - self.first(shard) for position, _, _ in facts.skipped}
        expected = [name for place, name in enumerate(self.names(shard)) if place not in without]
        return facts.model == self.model and list(facts.names) == expected

    def missing(self) -> list[int]:
        """The shards that are still to be made."""
        return [shard for shard in range(len(self)) if not self.is_whole(shard)]


def open_job(folder: str | Path, pictures: Pictures, extractor: PartExtractor, settings: ShardSettings) -> ShardJob:
    """Begin a folder of shards, or go on with one. Whoever calls this holds the folder (``hold_folder``).

    Args:
        folder: where the shards go. pictures: files and folders; walked through once for their names.
        extractor: of which model. settings: as they were, where the folder was begun before.

    Raises:
        DataError: there is no picture, a picture is no file, or the folder was begun with another model, other
            pictures or other settings.
        MissingDependencyError: Parquet without pyarrow.
    """
    if settings.file_type == "parquet":
        parquet.require()  # now, not when the first shard is full
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("shard-", MANIFEST, SKIPPED, _LIST):
        for leftover in folder.glob(f".{Path(name).stem}*.*"):  # a killed process was writing it
            leftover.unlink(missing_ok=True)
    job, digest = _list_pictures(folder, pictures, extractor.fingerprint, settings)
    manifest = {
        "format": _FORMAT,
        "version": _VERSION,
        "model": job.model,
        "slots": list(extractor.slots),
        **asdict(settings),
        "pictures": job.pictures,
        "names_sha256": digest,
        "shards": len(job),
    }
    try:
        _begin(folder / MANIFEST, manifest)
    except DataError:
        (folder / _LIST).unlink(missing_ok=True)
        raise
    return job


def embed_shards(
    extractor: PartExtractor, job: ShardJob, shards: Iterable[int], *, skip: bool = False, readers: int | None = None
) -> Iterator[tuple[int, int]]:
    """Make shards one after the other; the pictures of the next are decoded while one ends.

    Args:
        extractor: of the job's model. job: the folder. shards: which, ascending or not; taken as they are needed.
        skip: leave out pictures that cannot be read; the shard says which. readers: as in ``PartExtractor.stream``.

    Yields:
        (shard, pictures done) after every batch; after the last of a shard once that is on the disk.

    Raises:
        DataError: another model, a picture that cannot be read, or a shard that cannot be written.
    """
    if extractor.fingerprint != job.model:
        raise DataError(f"{job.folder} is made with model {job.model}, got {extractor.fingerprint}.")
    readers = default_readers() if readers is None else readers
    options = StreamOptions(job.settings.batch_size, skip=skip, readers=readers)

    def batches() -> Iterator[PictureBatch]:
        for shard in shards:
            yield from in_batches(iter(job.names(shard)), options.batch_size, first=job.first(shard))

    made: list[PartEmbeddings] = []
    names: list[str] = []
    skipped: list[SkippedPicture] = []
    with closing(run_batches(extractor.runner, batches(), options)) as results:
        for batch, output in results:
            names += batch.names
            skipped += batch.skipped
            if output is not None:
                made.append(output.embeddings)
            shard = batch.first // job.settings.shard_size
            if batch.end == job.first(shard) + job.size(shard):
                whole = PartEmbeddings.cat(made) if made else _nothing(extractor)
                save_embeddings(job.path(shard), whole, names=names, skipped=skipped)
                made, names, skipped = [], [], []
            yield shard, batch.end - batch.first


def finish_job(job: ShardJob) -> list[SkippedPicture]:
    """Look at the shards once more, and write which pictures were left out as ``skipped.csv``, where there are any.

    Returns:
        What was left out, of all shards.

    Raises:
        DataError: a shard is missing or damaged.
    """
    facts = (read_facts(job.path(shard)) for shard in range(len(job)))
    skipped = [SkippedPicture(*line) for one in facts for line in one.skipped]
    write_skipped(job.folder / SKIPPED, skipped)
    (job.folder / _LIST).unlink(missing_ok=True)
    return skipped


def write_skipped(path: Path, skipped: Sequence[SkippedPicture]) -> None:
    """A table of the pictures that were left out, or no file where there are none.

    Raises:
        DataError: it cannot be written.
    """
    if not skipped:
        path.unlink(missing_ok=True)
        return
    with (
        atomic_file(path, error=DataError) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SkippedPicture._fields)
        table.writerows(skipped)


def _list_pictures(folder: Path, pictures: Pictures, model: str, settings: ShardSettings) -> tuple[ShardJob, str]:
    """Write the names of all pictures to a file, one at a time; also a digest of them."""
    digest, count, offsets, end = hashlib.sha256(), 0, [], 0
    with atomic_file(folder / _LIST, error=DataError) as temporary, temporary.open("wb") as file:
        for picture in walk(pictures):
            if not isinstance(picture, str | Path):
                raise DataError(f"A folder of shards is made from files, got {type(picture).__name__}. Use a stream.")
            if count % settings.shard_size == 0:
                offsets.append(end)
            line = picture_name(picture, count).encode("utf-8", "surrogateescape") + b"\0"
            digest.update(line)
            end += file.write(line)
            count += 1
    return ShardJob(folder, model, settings, count, (*offsets, end)), digest.hexdigest()


def _begin(path: Path, manifest: dict[str, object]) -> None:
    """Write the manifest, or compare it with the one that is there."""
    if not manifest["pictures"]:
        raise DataError("Expected at least one picture to embed, got none.")
    if not path.exists():
        with atomic_file(path, error=DataError) as temporary:
            temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key, value in manifest.items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Move it away, or embed into another folder.") from None
    if differing:
        what = "; ".join(f"{key} was {found.get(key)}, now {manifest[key]}" for key in differing)
        raise DataError(
            f"{path.parent} was begun otherwise: {what}. Go on as it was begun, or embed into another folder."
        )


def _nothing(extractor: PartExtractor) -> PartEmbeddings:
    """Embeddings of no picture; a blank one tells how wide they are."""
    runner = extractor.runner
    blank = np.zeros((1, *runner.preprocess.size, 3), np.uint8)
    pose = runner.pose
    maps = None if pose is None else torch.zeros(1, len(pose.schema), *pose.map_size)
    return signed(runner.run(blank, maps).embeddings, runner)[:0]
