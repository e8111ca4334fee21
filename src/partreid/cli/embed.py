"""``partreid embed``."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from partreid.cli.console import console, progress_bar
from partreid.cli.options import BatchSize, Device, Mirror, PrecisionOption, runtime_config
from partreid.errors import ConfigError, DataError
from partreid.inference import parquet
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import walk
from partreid.inference.load import load_extractor
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
from partreid.runners.exported import ExportedRunner
from partreid.runtime import keep_freed_memory
from partreid.types import PartEmbeddings

FileType = Literal["safetensors", "parquet"]

_MOST_IN_ONE_FILE = 250_000
"""Images; one file is held in memory until it is written."""


def embed(
    model: Annotated[
        str,
        typer.Argument(help="Run or checkpoint folder, an exported file, or a Hugging Face repository org/name."),
    ],
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
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out images that cannot be read, and write which and why.")
    ] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Images in a shard of a folder.")] = 16_384,
    file_type: Annotated[FileType, typer.Option("--format", help="Of shards.")] = "safetensors",
    part: Annotated[
        str, typer.Option(metavar="I/N", help="Make every N-th shard from the I-th on; other processes make the rest.")
    ] = "1/1",
) -> None:
    """Embed images: one vector and one visibility per image and slot.

    A file holds `vectors` [N, S, D] and `visibility` [N, S], and names the slots and the images. Shards are such
    files in a folder; the same command makes what is missing, also after `kill -9`. Python reads both with
    partreid.inference.storage.load_embeddings; more in docs/embed.md.
    """
    runtime = runtime_config(device, precision, 0, batch_size)
    keep_freed_memory()
    numbers = _part(part)
    to_file = out.suffix in (SAFETENSORS, PARQUET)
    if to_file and numbers != (1, 1):
        raise ConfigError("--part makes shards: give a folder with -o, not a file.")
    if out.suffix == PARQUET:
        parquet.require()
    extractor = load_extractor(model, runtime=runtime, mirror=mirror)
    if to_file:
        _embed_to_file(extractor, images, out, skip=skip_damaged)
        return
    settings = ShardSettings(shard_size, file_type, batch_size, _arithmetic(extractor))
    with open_job(out, images, extractor, settings, part=numbers) as job:
        _embed_to_folder(extractor, job, skip=skip_damaged)


def _part(text: str) -> tuple[int, int]:
    """``2/8`` as (2, 8)."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"Expected --part I/N with 1 <= I <= N, such as 2/8, got {text!r}.")
    return int(found[1]), int(found[2])


def _arithmetic(extractor: PartExtractor) -> str:
    """What the network computes with: shards of one folder have it in common."""
    precision, runner = extractor.runtime.precision, extractor.runner
    if not isinstance(runner, ExportedRunner):
        return "float32" if precision == "auto" else precision
    own = runner.info.precision if precision == "auto" else precision
    return f"{'int8, ' if runner.info.quantized else ''}{own}, {type(runner.session).__name__}"


def _embed_to_folder(extractor: PartExtractor, job: ShardJob, *, skip: bool) -> None:
    mine, images = len(job.shards), sum(map(job.size, job.shards))
    faults = job.faults()
    if len(faults) < mine:
        console.print(f"{mine - len(faults)} of {mine} shards are there already.")
    if wrong := [fault for fault in faults.values() if fault]:
        line = f"Made again: {len(wrong)} of {mine} shards, the first because {wrong[0].rstrip('.')}."
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    with progress_bar("embedding", images, done=images - sum(map(job.size, faults))) as (progress, bar):
        for _, count in embed_shards(extractor, job, faults, skip=skip):
            progress.advance(bar, count)
    if absent := job.absent():
        line = (
            f"{job.folder}: part {job.part[0]}/{job.part[1]} is done. {absent} of {len(job)} shards, of other parts, "
        )
        console.print(line + "are not there yet.", markup=False)
        return
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
