"""``partreid adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, plain_table, show_progress
from partreid.cli.models import beside


def adapt(
    model: opt.Model,
    images: Annotated[
        list[Path], typer.Argument(help="Unlabelled crops of persons, or folders of them: at least 100 per camera.")
    ],
    camera_from: opt.ToldCamera,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write. Default: adaptation.safetensors in the checkpoint."),
    ] = None,
    weight: Annotated[
        float, typer.Option(help="Weight of the estimated statistics; the model's own statistics have the rest.")
    ] = 0.5,
    most: Annotated[int, typer.Option(min=100, help="Images to use per camera, chosen evenly.")] = 300,
    skip_damaged: opt.SkipDamaged = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Adapt a model to cameras without labels, by estimating batch-norm statistics from crops of each camera.

    The model is not changed. `--adaptation FILE` of other commands embeds with them; embeddings with and without, or
    of another adaptation, are never compared.
    """
    from partreid.inference import adapt as adapt_to
    from partreid.inference.cameras import cameras_from
    from partreid.runners.adaptation import ADAPTATION_FILE
    from partreid.runtime import keep_freed_memory

    file = out or beside(model, ADAPTATION_FILE)  # before the work: not every model has a place for it
    told = cameras_from(camera_from)
    keep_freed_memory()
    runtime = opt.runtime_config(device, precision, batch_size=batch_size)
    extractor = partreid.PartExtractor.from_pretrained(model, runtime=runtime)
    made = adapt_to(
        extractor, images, told, weight=weight, most=most, skip_damaged=skip_damaged, progress=show_progress
    )
    made.save(file)
    rows = [(camera, str(count)) for camera, count in zip(made.cameras, made.images, strict=True)]
    console.print(plain_table("Adapted to", ("camera", "images"), rows))
    console.print(f"{file}: adaptation {made.fingerprint} of {model}", soft_wrap=True)
    console.print(
        "It does not help every model. Compare results with and without it on images that you know.", style="dim"
    )
