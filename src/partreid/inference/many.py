"""Embedding many images into one file, or into a folder of shards that can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from partreid.errors import ConfigError, DataError
from partreid.inference import _parquet as parquet
from partreid.inference._shards import SKIPPED, ShardSettings, embed_shards, finish_job, open_job, write_skipped
from partreid.inference.cameras import Camera, CameraOf, Cameras
from partreid.inference.embedding_file import PARQUET, SAFETENSORS, save_embeddings
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ImagesLike, walk
from partreid.inference.streaming import SkippedImage
from partreid.objects import Guided
from partreid.progress import Progress, no_progress
from partreid.runners.exported import ExportedRunner
from partreid.types import PartEmbeddings
from partreid.types.numbers import require_whole

FileType: TypeAlias = Literal["safetensors", "parquet"]
"""Of shards."""

_MOST_IN_ONE_FILE = 250_000
"""Images; one file is held in memory until it is written."""


@dataclass(frozen=True, eq=False, repr=False)
class Embedded(Guided):
    """The result of :func:`embed_to_file` and :func:`embed_to_folder`.

    Attributes:
        path: the file or folder. images: their number; 0 while other parts of a folder are missing.
        what: its content, in words. skipped: images that could not be read. skipped_file: a list of them.
    """

    path: Path
    images: int
    what: str
    skipped: list[SkippedImage]
    skipped_file: Path


def embed_to_file(
    extractor: PartExtractor,
    images: ImagesLike,
    out: str | Path,
    *,
    skip_damaged: bool = False,
    cameras: Cameras = None,
    progress: Progress = no_progress,
) -> Embedded:
    """Embed images into one file, which is written once all are done.

    Args:
        extractor: the model. images: files and folders. out: ``.safetensors`` or ``.parquet``.
        skip_damaged: leave out images that cannot be read. progress: shows how far it is.
        cameras: of the images, for an adapted model, as in :meth:`PartExtractor.embed`.

    Raises:
        ConfigError: the file has another suffix, or there are too many images for one file.
        DataError: an image cannot be read, none can, or the file cannot be written.
        MissingDependencyError: Parquet without pyarrow.
    """
    out = Path(out)
    if out.suffix not in (SAFETENSORS, PARQUET):
        raise ConfigError(f"Expected a file that ends in {SAFETENSORS} or {PARQUET}, got {str(out)!r:.200}.")
    if out.suffix == PARQUET:
        parquet.require()  # now, not when all images are embedded
    items = list(walk(images))
    if len(items) > _MOST_IN_ONE_FILE:
        raise ConfigError(
            f"{len(items)} images are too many for one file, which is held in memory until it is written: at most "
            f"{_MOST_IN_ONE_FILE}. Give a folder with -o, for shards."
        )
    batches: list[PartEmbeddings] = []
    names: list[str] = []
    stream = extractor.stream(items, on_error="skip" if skip_damaged else "raise", cameras=cameras)
    with closing(stream), progress("embedding", len(items)) as advance:
        for batch in stream:
            batches.append(batch.embeddings)
            names += batch.names
            advance(len(batch.names))
        advance(len(stream.skipped))
    if not batches:
        first = f" The first: {stream.skipped[0].reason}" if stream.skipped else ""
        raise DataError(f"None of the {len(items)} images could be read, so {out} was not written.{first}")
    skipped_file = out.with_suffix(f".{SKIPPED}")
    write_skipped(skipped_file, stream.skipped)
    whole = PartEmbeddings.cat(batches)
    save_embeddings(out, whole, names=names, skipped=stream.skipped, root=Path.cwd())
    return Embedded(out, len(names), str(whole), stream.skipped, skipped_file)


def embed_to_folder(
    extractor: PartExtractor,
    images: ImagesLike,
    out: str | Path,
    *,
    shard_size: int = 16_384,
    file_type: FileType = "safetensors",
    part: tuple[int, int] = (1, 1),
    skip_damaged: bool = False,
    cameras: Camera | CameraOf | None = None,
    told: Callable[[str], None] = lambda message: None,
    progress: Progress = no_progress,
) -> Embedded:
    """Embed images into a folder of shards. Complete shards are kept, so that a killed run can be resumed.

    Args:
        extractor: the model. images: files and folders. out: the folder.
        shard_size: images in a shard. file_type: of shards, "safetensors" or "parquet".
        part: (i, n): make every n-th shard, beginning with the i-th, counted from 1; other processes make the rest.
        skip_damaged: leave out images that cannot be read; each shard lists them.
        cameras: of the images, for an adapted model: one for all, or a function from an image to its camera.
        told: called with messages about existing and repeated shards. progress: shows the progress.

    Raises:
        ConfigError: ``part`` is not (i, n) with 1 <= i <= n. ShapeError: a number is not a whole number of at least 1.
        DataError: there is no image, an image cannot be read or is not a file, another process makes this part, or the
            folder was begun with another model, other images or other settings.
        MissingDependencyError: Parquet without pyarrow.
    """
    if not isinstance(part, tuple) or len(part) != 2:
        raise ConfigError(f"Expected a part (i, n) with 1 <= i <= n, such as (2, 8), got {part!r:.80}.")
    part = (require_whole("i of the part", part[0], least=1), require_whole("n of the part", part[1], least=1))
    shard_size = require_whole("shard_size", shard_size, least=1)
    if cameras is not None and extractor.adaptation is None:
        raise ConfigError("Cameras change nothing without an adaptation: from_pretrained(..., adaptation=FILE).")
    if not callable(cameras) and np.ndim(cameras) > 0:  # type: ignore[arg-type]
        raise ConfigError("Expected one camera, or a function that says it of an image, got several cameras.")
    settings = ShardSettings(shard_size, file_type, extractor.runtime.batch_size, _arithmetic(extractor))
    with open_job(out, images, extractor, settings, part=part, cameras=cameras) as job:
        mine, faults = len(job.shards), job.faults()
        if len(faults) < mine:
            told(f"{mine - len(faults)} of {mine} shards are there already.")
        if wrong := [fault for fault in faults.values() if fault]:
            told(f"Made again: {len(wrong)} of {mine} shards, the first because {wrong[0].rstrip('.')}.")
        with progress("embedding", sum(map(job.size, job.shards))) as advance:
            advance(sum(map(job.size, job.shards)) - sum(map(job.size, faults)))
            for _, count in embed_shards(extractor, job, faults, skip=skip_damaged):
                advance(count)
        if absent := job.absent():
            what = (
                f"part {part[0]}/{part[1]} is done. {absent} of {len(job)} shards, of other parts, are not there yet."
            )
            return Embedded(job.folder, 0, what, [], job.folder / SKIPPED)
        skipped = finish_job(job)
        done = job.images - len(skipped)
        return Embedded(job.folder, done, f"{done} images in {len(job)} shards", skipped, job.folder / SKIPPED)


def _arithmetic(extractor: PartExtractor) -> str:
    """What the network computes with: shards of one folder have it in common."""
    precision, runner = extractor.runtime.precision, extractor.runner
    if not isinstance(runner, ExportedRunner):
        return "float32" if precision == "auto" else precision
    own = runner.info.precision if precision == "auto" else precision
    return f"{'int8, ' if runner.info.quantized else ''}{own}, {type(runner.session).__name__}"
