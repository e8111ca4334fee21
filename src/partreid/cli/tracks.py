"""``partreid tracks``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, errors, progress_bar
from partreid.cli.options import BatchSize, Device, Mirror, PrecisionOption, runtime_config
from partreid.cli.times import parse_moment
from partreid.errors import ConfigError
from partreid.inference.boxes import read_boxes
from partreid.inference.load import load_extractor
from partreid.inference.storage import save_embeddings
from partreid.inference.video import VideoFrame, iter_frames
from partreid.inference.video_tracks import BestCrops, embed_tracks
from partreid.retrieval.filling import VideoNaming, add_tracks
from partreid.retrieval.gallery import Gallery

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
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; tracks.safetensors where neither it nor a gallery is given."),
    ] = None,
    gallery: Annotated[
        str, typer.Option(help="Gallery to add the tracks to, in place of those added from this video before.")
    ] = "",
    camera: Annotated[str | None, typer.Option(help="Camera of the video, for the gallery.")] = None,
    start: Annotated[
        str | None, typer.Option(help="When the video began, for the gallery: 2h (ago), or 2026-11-23T14:30 (local).")
    ] = None,
    crops: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each track, the one that shows the most.")
    ] = None,
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
    tracks' names in the place of the pictures'; in a gallery a track is an item with its camera and time. Video files
    need `pip install "partreid[video]"`.
    """
    if (camera or start) and not gallery:
        raise ConfigError("--camera and --start are kept in a gallery only: give --gallery too.")
    best = None if crops is None else BestCrops(crops)
    naming = VideoNaming(video, camera, None if start is None else parse_moment(start), best.files if best else {})
    table = read_boxes(boxes).every(every)
    runtime = runtime_config(device, precision, 0, batch_size)
    extractor = load_extractor(model, runtime=runtime, mirror=mirror)
    opened = Gallery.open(gallery, extractor=extractor) if gallery else None  # refuses another model's at once
    left_out: list[str] = []
    seconds: dict[int, float] = {}
    on_error = left_out.append if skip_damaged else None
    with progress_bar("embedding boxes", len(table)) as (progress, task):
        embeddings, names = embed_tracks(
            extractor,
            _noting(iter_frames(video, every=every, on_error=on_error), seconds),
            table,
            advance=lambda count: progress.advance(task, count),
            on_error=on_error,
            on_crop=best.add if best else None,
        )
    if out or not gallery:
        out = out or Path("tracks.safetensors")
        save_embeddings(out, embeddings, names=names)
    for message in left_out[:_SHOWN]:
        errors.print(f"left out: {message}", markup=False, soft_wrap=True)
    if len(left_out) > _SHOWN:
        errors.print(f"... and {len(left_out) - _SHOWN} more were left out.")
    if out:
        console.print(f"{out}: {len(names)} tracks, {embeddings}", markup=False, soft_wrap=True)
    if opened is not None:
        with opened:
            add_tracks(opened, (embeddings, names), table, seconds, naming)
            console.print(f"{gallery}: {len(names)} tracks added, {len(opened)} items.", markup=False, highlight=False)


def _noting(frames: Iterable[VideoFrame], seconds: dict[int, float]) -> Iterator[VideoFrame]:
    """The frames, and the time of each in ``seconds``."""
    for frame in frames:
        if frame.seconds is not None:
            seconds[frame.number] = frame.seconds
        yield frame
