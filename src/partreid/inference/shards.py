"""Embeddings of very many images as a folder of shards that can be resumed after a kill at any moment.

``manifest.json`` is written first; a shard is a file that is whole or not there. What is done is what lies on the disk:
there is no other record that could disagree with it. Any process may make any shard, and makes the same bytes: several
processes can each make a part of the shards. What a process has not finished lies in a folder of its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from partreid.errors import ConfigError, DataError
from partreid.files import atomic_file, hold_folder, hold_work
from partreid.inference import parquet
from partreid.inference.embedding_file import read_facts
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ImagesLike, image_name, walk
from partreid.inference.shard_folder import MANIFEST, manifest_content, name_bytes
from partreid.inference.shard_job import LIST, ShardJob, ShardSettings, images_digest
from partreid.inference.storage import ShardMark, root_of, save_embeddings
from partreid.inference.streaming import (
    ImageBatch,
    SkippedImage,
    StreamOptions,
    default_readers,
    in_batches,
    run_batches,
)
from partreid.runners.runner import signed
from partreid.types import PartEmbeddings

__all__ = ["SKIPPED", "ShardJob", "ShardSettings", "embed_shards", "finish_job", "open_job", "write_skipped"]

SKIPPED = "skipped.csv"
"""In a folder of shards: the images that could not be read, and why."""

_FORMAT, _VERSION = "partreid-embedding-shards", 2
_WORKPLACE, _LOCK = ".part-{}-of-{}", ".lock"
_PATIENCE = 60.0
"""Seconds; a manifest is written in a moment."""


@contextmanager
def open_job(
    folder: str | Path,
    images: ImagesLike,
    extractor: PartExtractor,
    settings: ShardSettings,
    *,
    part: tuple[int, int] = (1, 1),
) -> Iterator[ShardJob]:
    """Begin a folder of shards or resume one, and be the only process that makes this part of it.

    Args:
        folder: where the shards go. images: files and folders; walked through once for their names.
        extractor: of the model. settings: to resume a folder, those it was begun with.
        part: (i, n): make every n-th shard, beginning with the i-th, counted from 1. (1, 1) = all shards.

    Raises:
        ConfigError: ``part`` is no (i, n) with 1 <= i <= n.
        DataError: there is no image, an image is no file, another process makes this part, or the folder was begun
            with another model, other images or other settings.
        MissingDependencyError: Parquet without pyarrow.
    """
    if not 1 <= part[0] <= part[1]:
        raise ConfigError(f"Expected a part (i, n) with 1 <= i <= n, such as (2, 8), got {part}.")
    if settings.file_type == "parquet":
        parquet.require()  # now, not when the first shard is full
    folder = Path(folder)
    workplace = folder / _WORKPLACE.format(*part)
    with hold_work(workplace.with_suffix(_LOCK), f"embedding part {part[0]}/{part[1]} of {folder}", error=DataError):
        shutil.rmtree(workplace, ignore_errors=True)  # of a process that was killed
        workplace.mkdir(exist_ok=True)
        try:
            job = _list_images(folder, images, extractor.fingerprint, settings, part)
            with hold_folder(folder, error=DataError, patience=_PATIENCE):  # others may begin it at this moment
                for name in (MANIFEST, SKIPPED):  # written by a process that was killed
                    for leftover in folder.glob(f".{Path(name).stem}.*"):
                        leftover.unlink(missing_ok=True)
                _begin(folder / MANIFEST, _manifest(job, extractor))
            yield job
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def _manifest(job: ShardJob, extractor: PartExtractor) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "model": job.model,
        "slots": list(extractor.slots),
        **asdict(job.settings),
        "images": job.images,
        "names_sha256": job.names_sha256,
        "root": job.root,
        "shards": len(job),
    }


def embed_shards(
    extractor: PartExtractor, job: ShardJob, shards: Iterable[int], *, skip: bool = False, readers: int | None = None
) -> Iterator[tuple[int, int]]:
    """Make shards one after the other; the images of the next are decoded while one ends.

    Args:
        extractor: of the job's model. job: the folder. shards: which, ascending or not; taken as they are needed.
        skip: leave out images that cannot be read; the shard says which. readers: as in ``PartExtractor.stream``.

    Yields:
        (shard, images done) after every batch; after the last of a shard once that is on the disk.

    Raises:
        DataError: another model, an image that cannot be read, or a shard that cannot be written.
    """
    if extractor.fingerprint != job.model:
        raise DataError(f"{job.folder} is made with model {job.model}, got {extractor.fingerprint}.")
    readers = default_readers() if readers is None else readers
    options = StreamOptions(job.settings.batch_size, skip=skip, readers=readers)
    marks: dict[int, ShardMark] = {}

    def batches() -> Iterator[ImageBatch]:
        for shard in shards:
            shard_names = job.names(shard)
            # Before they are decoded: of an image that changes meanwhile, the shard is made again next time.
            marks[shard] = ShardMark(job.mark(shard), images_digest(shard_names))
            yield from in_batches(iter(shard_names), options.batch_size, first=job.first(shard))

    made: list[PartEmbeddings] = []
    names: list[str] = []
    skipped: list[SkippedImage] = []
    with closing(run_batches(extractor.runner, batches(), options)) as results:
        for batch, output in results:
            names += batch.names
            skipped += batch.skipped
            if output is not None:
                made.append(output.embeddings)
            shard = batch.first // job.settings.shard_size
            if batch.end == job.first(shard) + job.size(shard):
                whole = PartEmbeddings.cat(made) if made else _nothing(extractor)
                mark = marks.pop(shard)
                file = job.workplace / job.path(shard).name
                save_embeddings(file, whole, names=names, skipped=skipped, root=job.root, part_of=mark)
                file.replace(job.path(shard))
                made, names, skipped = [], [], []
            yield shard, batch.end - batch.first


def finish_job(job: ShardJob) -> list[SkippedImage]:
    """Where all shards of all parts are there, write which images were left out as ``skipped.csv``, if any.

    Returns:
        What was left out, of all shards.

    Raises:
        DataError: a shard is missing or damaged.
    """
    facts = (read_facts(job.path(shard)) for shard in range(len(job)))
    skipped = [SkippedImage(*line) for one in facts for line in one.skipped]
    with hold_folder(job.folder, error=DataError, patience=_PATIENCE):
        write_skipped(job.folder / SKIPPED, skipped)
    for lock in job.folder.glob(_WORKPLACE.format("*", "*") + _LOCK):
        with suppress(DataError), hold_work(lock, "embedding", error=DataError):  # the process was killed
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    return skipped


def write_skipped(path: Path, skipped: Sequence[SkippedImage]) -> None:
    """A table of the images that were left out, or no file where there are none.

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
        table.writerow(SkippedImage._fields)
        table.writerows(skipped)


def _list_images(
    folder: Path, images: ImagesLike, model: str, settings: ShardSettings, part: tuple[int, int]
) -> ShardJob:
    """Write the names of all images to a file, one at a time; also a digest of them."""
    digest, count, offsets, end, root = hashlib.sha256(), 0, [], 0, ""
    workplace = folder / _WORKPLACE.format(*part)
    with atomic_file(workplace / LIST, error=DataError) as temporary, temporary.open("wb") as file:
        for image in walk(images):
            if not isinstance(image, str | Path):
                raise DataError(f"A folder of shards is made from files, got {type(image).__name__}. Use a stream.")
            if count % settings.shard_size == 0:
                offsets.append(end)
            name = image_name(image, count)
            root = root or root_of([name], Path.cwd())
            line = name_bytes(name)
            digest.update(line)
            end += file.write(line)
            count += 1
    return ShardJob(folder, workplace, part, model, settings, count, (*offsets, end), digest.hexdigest(), root)


def _begin(path: Path, manifest: dict[str, object]) -> None:
    """Write the manifest, or compare it with the one that is there."""
    if not manifest["images"]:
        raise DataError("Expected at least one image to embed, got none.")
    if not path.exists():
        with atomic_file(path, error=DataError) as temporary:
            temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return
    found = manifest_content(path)
    if found.get("version") == 1:
        raise DataError(
            f"{path.parent} was begun by an earlier partreid, whose shards have no checksums. Its finished shards can "
            "be read, but it cannot be resumed: embed into another folder."
        )
    differing = [key for key, value in manifest.items() if found.get(key) != value]
    if differing:
        what = "; ".join(f"{key} was {found.get(key)}, now {manifest[key]}" for key in differing)
        raise DataError(
            f"{path.parent} was begun differently: {what}. Give what was given then, or embed into another folder."
        )


def _nothing(extractor: PartExtractor) -> PartEmbeddings:
    """Embeddings of no image; a blank one tells how wide they are."""
    runner = extractor.runner
    blank = np.zeros((1, *runner.preprocess.size, 3), np.uint8)
    pose = runner.pose
    maps = None if pose is None else torch.zeros(1, len(pose.schema), *pose.map_size)
    return signed(runner.run(blank, maps).embeddings, runner)[:0]
