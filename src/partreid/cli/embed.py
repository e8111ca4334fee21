"""``partreid embed``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, show_progress
from partreid.cli.models import before_images
from partreid.errors import ConfigError


def embed(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] IMAGES...",
            help="Image files, or folders of images, also nested. To use another model than the shipped one, write "
            "MODEL before them, as for --model.",
        ),
    ],
    model: opt.ModelOption = "",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write (.safetensors, .parquet), or a folder for shards.")
    ] = Path("embeddings.safetensors"),
    mirror: opt.Mirror = False,
    adaptation: opt.Adaptation = None,
    camera_from: opt.CameraFrom = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    batch_size: opt.BatchSize = 64,
    skip_damaged: opt.SkipDamaged = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Images in a shard of a folder.")] = 16_384,
    file_type: Annotated[
        Literal["safetensors", "parquet"], typer.Option("--format", help="Format of the shards.")
    ] = "safetensors",
    part: Annotated[
        str,
        typer.Option(metavar="I/N", help="Write every N-th shard from the I-th on. Other processes write the others."),
    ] = "1/1",
) -> None:
    """Embed images: one vector and one visibility per image and slot.

    A file holds `vectors` [N, S, D] and `visibility` [N, S], and names the slots and the images. Shards are such
    files in a folder; the same command makes what is missing, also after `kill -9`. Python reads both with
    partreid.load_embeddings; more in docs/embed.md.
    """
    from partreid.inference import embed_to_file, embed_to_folder
    from partreid.runtime import keep_freed_memory

    numbers = re.fullmatch(r"(\d{1,6})/(\d{1,6})", part)
    if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise ConfigError(f"Expected --part I/N with 1 <= I <= N, such as 2/8, got {part!r}.")
    to_file = out.suffix in (".safetensors", ".parquet")
    if to_file and int(numbers[2]) > 1:
        raise ConfigError("--part writes shards, so -o must be a folder, not a file.")
    chosen, images = before_images(words, model)
    runtime = opt.runtime_config(device, precision, batch_size=batch_size)
    keep_freed_memory()
    extractor = partreid.PartExtractor.from_pretrained(chosen, runtime=runtime, mirror=mirror, adaptation=adaptation)
    cameras = opt.cameras_of(camera_from)
    if to_file:
        found = embed_to_file(
            extractor, images, out, skip_damaged=skip_damaged, cameras=cameras, progress=show_progress
        )
    else:
        found = embed_to_folder(
            extractor, images, out, shard_size=shard_size, file_type=file_type,
            part=(int(numbers[1]), int(numbers[2])), skip_damaged=skip_damaged, cameras=cameras, told=console.print,
            progress=show_progress,
        )  # fmt: skip
    if found.skipped:
        said = f"{len(found.skipped)} images were left out, and are listed in {found.skipped_file}:"
        console.print(said, style="yellow")
        for image in found.skipped[:5]:
            console.print(f"  {image.reason}", style="dim", soft_wrap=True)
        if len(found.skipped) > 5:
            console.print(f"  and {len(found.skipped) - 5} more", style="dim")
    console.print(f"{found.path}: {found.what}")
