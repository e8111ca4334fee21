"""``partreid embed``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from partreid.cli.console import console, progress_bar
from partreid.cli.options import BatchSize, Device, Mirror, Model, PrecisionOption, SkipDamaged, runtime_config
from partreid.errors import ConfigError, DataError
from partreid.files import hold_folder
from partreid.inference import parquet
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import walk
from partreid.inference.ray_engine import embed_with_ray
from partreid.inference.shards import (
    SKIPPED,
    ShardJob,
    ShardSettings,
    embed_shards,
    finish_job,
    open_job,
    write_skipped,
)
from partreid.inference.storage import PARQUET, SAFETENSORS, save_embeddings
from partreid.inference.streaming import SkippedImage
from partreid.inference.workers import MakeExtractor, embed_with_workers
from partreid.runners.exported import ExportedRunner
from partreid.runtime import keep_freed_memory
from partreid.types import PartEmbeddings

FileType = Literal["safetensors", "parquet"]
EngineName = Literal["local", "ray"]

_MOST_IN_ONE_FILE = 250_000
"""Images; one file is held in memory until it is written."""


def embed(
    model: Model,
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders: all images in them, and in the folders in them.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write (.safetensors, .parquet), or a folder for shards.")
    ] = Path("embeddings.safetensors"),
    mirror: Mirror = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSize = 64,
    skip_damaged: SkipDamaged = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Images in a shard of a folder.")] = 16_384,
    file_type: Annotated[FileType, typer.Option("--format", help="Of shards.")] = "safetensors",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make shards, with one thread each; 0 = this one, with all cores.")
    ] = 0,
    engine: Annotated[
        EngineName, typer.Option(help="What runs the workers: this machine, or a Ray cluster ($RAY_ADDRESS).")
    ] = "local",
) -> None:
    """Embed images: one vector and one visibility per image and slot.

    A file holds `vectors` [N, S, D] and `visibility` [N, S], and names the slots and the images. Shards are such
    files in a folder; the same command goes on behind what is there, also after `kill -9`. Python reads both with
    partreid.inference.storage.load_embeddings; more in docs/embed.md.
    """
    runtime = runtime_config(device, precision, 0, batch_size)
    keep_freed_memory()
    make = partial(PartExtractor.from_pretrained, model, runtime=runtime, mirror=mirror)
    if out.suffix in (SAFETENSORS, PARQUET):
        if workers or engine != "local":
            raise ConfigError("Workers make shards: give a folder with -o, not a file.")
        if out.suffix == PARQUET:
            parquet.require()
        _embed_to_file(make(), images, out, skip=skip_damaged)
        return
    task = _Task(make, make(), workers, engine, skip_damaged)
    settings = ShardSettings(shard_size, file_type, batch_size, _arithmetic(task.extractor))
    with hold_folder(out, error=DataError):
        _embed_to_folder(task, open_job(out, images, task.extractor, settings))


@dataclass(frozen=True)
class _Task:
    """Who makes the shards. ``extractor``: in this process. The others as the options of the command."""

    make: MakeExtractor
    extractor: PartExtractor
    workers: int
    engine: EngineName
    skip: bool

    def run(self, job: ShardJob, shards: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Make these shards; (shard, images done)."""
        if self.engine == "ray":
            gpus = 1.0 if self.extractor.device.type == "cuda" else 0.0
            return embed_with_ray(self.make, job, workers=self.workers, skip=self.skip, gpus=gpus, shards=shards)
        if self.workers:
            return embed_with_workers(self.make, job, workers=self.workers, skip=self.skip, shards=shards)
        return embed_shards(self.extractor, job, shards, skip=self.skip)


def _arithmetic(extractor: PartExtractor) -> str:
    """What the network computes with: shards of one folder have it in common."""
    precision, runner = extractor.runtime.precision, extractor.runner
    if not isinstance(runner, ExportedRunner):
        return "float32" if precision == "auto" else precision
    own = runner.info.precision if precision == "auto" else precision
    return f"{'int8, ' if runner.info.quantized else ''}{own}, {type(runner.session).__name__}"


def _embed_to_folder(task: _Task, job: ShardJob) -> None:
    faults = {shard: fault for shard in range(len(job)) if (fault := job.fault(shard)) is not None}
    done = job.images - sum(map(job.size, faults))
    if done:
        console.print(f"{len(job) - len(faults)} of {len(job)} shards are there already.")
    if wrong := [fault for fault in faults.values() if fault]:
        line = f"Made anew: {len(wrong)} of {len(job)} shards, the first since {wrong[0].rstrip('.')}."
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    with progress_bar("embedding", job.images, done=done) as (progress, bar):
        for _, count in task.run(job, list(faults)):
            progress.advance(bar, count)
    skipped = finish_job(job)
    _report(skipped, job.folder / SKIPPED)
    console.print(f"{job.folder}: {job.images - len(skipped)} images in {len(job)} shards", markup=False)


def _embed_to_file(extractor: PartExtractor, images: list[Path], out: Path, *, skip: bool) -> None:
    items = list(walk(images))
    if len(items) > _MOST_IN_ONE_FILE:
        raise ConfigError(
            f"{len(items)} images are too many for one file, which is held in memory until it is written: at most "
            f"{_MOST_IN_ONE_FILE}. Give a folder with -o, for shards."
        )
    batches: list[PartEmbeddings] = []
    names: list[str] = []
    stream = extractor.stream(items, on_error="skip" if skip else "raise")
    with closing(stream), progress_bar("embedding", len(items)) as (progress, bar):
        for batch in stream:
            batches.append(batch.embeddings)
            names += batch.names
            progress.update(bar, completed=len(names) + len(stream.skipped))
    skipped_file = out.with_suffix(f".{SKIPPED}")
    if batches:
        write_skipped(skipped_file, stream.skipped)
        whole = PartEmbeddings.cat(batches)
        save_embeddings(out, whole, names=names, skipped=stream.skipped, root=Path.cwd())
    _report(stream.skipped, skipped_file)
    if not batches:
        raise DataError(f"None of the {len(items)} images could be read, so {out} was not written.")
    console.print(f"{out}: {PartEmbeddings.cat(batches)}", markup=False)


def _report(skipped: list[SkippedImage], file: Path) -> None:
    """Say what was left out."""
    if not skipped:
        return
    console.print(f"{len(skipped)} images were left out, and stand in {file}:", style="yellow", markup=False)
    for image in skipped[:5]:
        console.print(f"  {image.reason}", style="dim", markup=False, soft_wrap=True)
    if len(skipped) > 5:
        console.print(f"  and {len(skipped) - 5} more", style="dim")
