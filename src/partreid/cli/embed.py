"""``partreid embed``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, show_progress
from partreid.cli.options import BatchSize, Device, Mirror, Model, PrecisionOption, SkipDamaged, runtime_config
from partreid.errors import ConfigError
from partreid.inference.embedding_file import PARQUET, SAFETENSORS
from partreid.inference.extractor import PartExtractor
from partreid.inference.many import Embedded, FileType, embed_to_file, embed_to_folder
from partreid.runtime import keep_freed_memory


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
    extractor = PartExtractor.from_pretrained(model, runtime=runtime, mirror=mirror)
    if to_file:
        _report(embed_to_file(extractor, images, out, skip_damaged=skip_damaged, progress=show_progress))
    else:
        _report(
            embed_to_folder(
                extractor, images, out, shard_size=shard_size, file_type=file_type, part=numbers,
                skip_damaged=skip_damaged, told=console.print, progress=show_progress,
            )
        )  # fmt: skip


def _part(text: str) -> tuple[int, int]:
    """``2/8`` as (2, 8)."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"Expected --part I/N with 1 <= I <= N, such as 2/8, got {text!r}.")
    return int(found[1]), int(found[2])


def _report(found: Embedded) -> None:
    """Say what was written, and what was left out."""
    if found.skipped:
        said = f"{len(found.skipped)} images were left out, and stand in {found.skipped_file}:"
        console.print(said, style="yellow")
        for image in found.skipped[:5]:
            console.print(f"  {image.reason}", style="dim", soft_wrap=True)
        if len(found.skipped) > 5:
            console.print(f"  and {len(found.skipped) - 5} more", style="dim")
    console.print(f"{found.path}: {found.what}")
