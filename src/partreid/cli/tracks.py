"""``partreid tracks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, errors, progress_bar
from partreid.cli.options import BatchSize, Device, Mirror, PrecisionOption, runtime_config
from partreid.inference.boxes import read_boxes
from partreid.inference.load import load_extractor
from partreid.inference.storage import save_embeddings
from partreid.inference.video import iter_frames
from partreid.inference.video_tracks import embed_tracks

_SHOWN = 10  # things left out that are told one by one


def tracks(
    model: Annotated[
        str, typer.Argument(help="Run or checkpoint folder, exported file, or a Hugging Face repository org/name.")
    ],
    video: Annotated[Path, typer.Argument(help="Video file, or a folder of frames as pictures, ordered by name.")],
    boxes: Annotated[
        Path,
        typer.Argument(
            help="Boxes of a tracker: CSV with the columns frame, track, x1, y1, x2, y2 (frames from 0), or "
            "MOTChallenge's text format."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")] = Path(
        "tracks.safetensors"
    ),
    every: Annotated[int, typer.Option(min=1, help="Use every n-th frame only.")] = 1,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave damaged frames and wrong boxes out instead of stopping there.")
    ] = False,
    mirror: Mirror = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSize = 64,
) -> None:
    """Embed the persons tracked in a video: one embedding per track, merged from all its boxes.

    Per slot the mean over the track, weighted by visibility. The file is like that of `partreid embed`, with the
    tracks' names in the place of the pictures'. Video files need `pip install "partreid[video]"`.
    """
    table = read_boxes(boxes).every(every)
    runtime = runtime_config(device, precision, 0, batch_size)
    extractor = load_extractor(model, runtime=runtime, mirror=mirror)
    left_out: list[str] = []
    on_error = left_out.append if skip_damaged else None
    with progress_bar("embedding boxes", len(table)) as (progress, task):
        embeddings, names = embed_tracks(
            extractor,
            iter_frames(video, every=every, on_error=on_error),
            table,
            advance=lambda count: progress.advance(task, count),
            on_error=on_error,
        )
    save_embeddings(out, embeddings, names=names)
    for message in left_out[:_SHOWN]:
        errors.print(f"left out: {message}", markup=False, soft_wrap=True)
    if len(left_out) > _SHOWN:
        errors.print(f"... and {len(left_out) - _SHOWN} more were left out.")
    console.print(f"{out}: {len(names)} tracks, {embeddings}", markup=False, soft_wrap=True)
