"""``partreid tracks``, and what it shares with ``partreid embed-boxes``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, counted, errors, show_progress
from partreid.cli.models import before_files
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid.tracking import FrameFolder, TrackBoxes, VideoNaming, VideoTracks

Name = Annotated[
    str, typer.Option(help="Name of the video, which begins its tracks' names. Default: the file's or folder's name.")
]
Start = Annotated[
    str | None, typer.Option(help="When the video began, for the gallery: 2h (ago), or 2026-11-23T14:30 (local).")
]
FramesASecond = Annotated[
    float | None, typer.Option("--fps", help="Frames per second of a folder. Default: as in seqinfo.ini.")
]
InOrder = Annotated[
    bool, typer.Option("--in-order", help="Number a folder's images by the order of their names, not by their numbers.")
]
Format = Annotated[
    Literal["csv", "mot", "kitti", "yolo", "yolo-confidence", "yolo-track", "coco", "json", "cvat"] | None,
    typer.Option("--format", help="Format of BOXES, if it cannot be told from the content."),
]
Form = Annotated[
    Literal["xyxy", "xywh"] | None,
    typer.Option("--boxes", help="How to read the four numbers of a box, if the table says it wrongly."),
]
FirstFrame = Annotated[int | None, typer.Option(min=0, max=1, help="Number of the first frame in the table.")]
PersonClass = Annotated[
    list[str] | None,
    typer.Option(help="Class of persons in the table; others are left out. Repeatable. It is 1 in MOTChallenge."),
]
Every = Annotated[int, typer.Option(min=1, help="Use only every n-th frame.")]


def tracks(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] VIDEO BOXES",
            help="VIDEO: a file, or a folder of frames as images with their numbers in the names. BOXES of a tracker: "
            "CSV with the columns frame, track, x1, y1, x2, y2 (frames from 0), MOTChallenge's text, or one of the "
            "other formats of docs/tracklets.md. To use another model than the shipped one, write MODEL first, as for "
            "--model.",
        ),
    ],
    model: opt.ModelOption = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write. Default without --gallery: tracks.safetensors."),
    ] = None,
    gallery: opt.GalleryOption = "",
    name: Name = "",
    camera: opt.OneCamera = None,
    start: Start = None,
    fps: FramesASecond = None,
    in_order: InOrder = False,
    format: Format = None,
    form: Form = None,
    first_frame: FirstFrame = None,
    person_class: PersonClass = None,
    crops: Annotated[
        Path | None,
        typer.Option(help="Folder for the image of each track that shows most of it. Each video gets a folder inside."),
    ] = None,
    every: Every = 1,
    skip_damaged: opt.SkipDamaged = False,
    mirror: opt.Mirror = False,
    calibration: opt.Calibration = None,
    adaptation: opt.Adaptation = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Embed the persons tracked in a video: one embedding per track, merged from all its boxes.

    The embedding of a slot is its mean over the track, weighted by visibility. The file is like that of `partreid
    embed`, with names of tracks instead of images. In a gallery each track is an item with camera and time. The tracks
    replace those that were added from this video before. --skip-damaged leaves out damaged frames, wrong boxes, and
    boxes without a track. Video files need `pip install "partreid[video]"`. For tables without tracks use `partreid
    embed-boxes`.
    """
    from partreid.tracking import embed_video

    fill(
        words, model, out, gallery, name, camera, start, fps, crops, every, skip_damaged, mirror, calibration,
        adaptation, opt.runtime_config(device, precision, batch_size=batch_size), what="tracks", embed=embed_video,
        table={"format": format, "form": form, "first_frame": first_frame, "person_classes": person_class or None},
        in_order=in_order,
    )  # fmt: skip


def fill(
    words: list[str],
    model: str,
    out: Path | None,
    gallery: str,
    name: str,
    camera: str | None,
    start: str | None,
    fps: float | None,
    crops: Path | None,
    every: int,
    skip_damaged: bool,
    mirror: bool,
    calibration: str | None,
    adaptation: str | None,
    runtime: partreid.RuntimeConfig,
    *,
    what: Literal["tracks", "boxes"],
    embed: Callable[..., VideoTracks],
    table: dict[str, Any],
    in_order: bool,
) -> None:
    """Embed the boxes of a video that a table lists, and write them to a file, a gallery or both."""
    from partreid.inference import save_embeddings
    from partreid.retrieval.how_compared import load_for_comparison
    from partreid.retrieval.stores.addresses import without_secrets
    from partreid.tracking import FrameFolder, VideoNaming, add_tracks, open_frames, read_boxes
    from partreid.tracking.filling import former_tracks
    from partreid.types.moments import parse_moment

    if (start or (camera and not adaptation)) and not gallery:
        raise ConfigError("Only a gallery keeps --camera and --start. Give --gallery too.")
    chosen, (video, path) = before_files(words, model, ("FRAMES" if what == "boxes" else "VIDEO", "BOXES"))
    naming = VideoNaming(video, camera, None if start is None else parse_moment(start), name=name)
    left_out: list[str] = []
    on_error = left_out.append if skip_damaged else None
    told = FrameFolder.open(video, fps=fps, in_order=True) if in_order and video.is_dir() else video
    boxes = read_boxes(path, frames=told, each=what == "boxes", on_error=on_error, **table).every(every)
    frames = told if isinstance(told, FrameFolder) else open_frames(video, boxes, fps=fps, in_order=in_order)
    if isinstance(frames, FrameFolder) and not boxes.table.by_image:
        _say_frames(frames, boxes, naming)
    extractor, _ = load_for_comparison(
        chosen, runtime=runtime, mirror=mirror, calibration=calibration, adaptation=adaptation
    )
    opened = partreid.Gallery.open(gallery, extractor=extractor) if gallery else None  # refuses another model's gallery
    if opened is not None:
        former_tracks(opened, boxes.names, naming)  # refuses a name that another video has
    with show_progress("embedding boxes", len(boxes)) as advance:
        found = embed(
            extractor, frames, boxes, every=every, crops=crops and naming.crops(crops), advance=advance,
            on_error=on_error, camera=camera if adaptation else None,
        )  # fmt: skip
    _say_left_out(left_out, set(boxes.names) - set(found.names) if what == "tracks" else set())
    if out or not gallery:
        out = out or Path(f"{what}.safetensors")
        save_embeddings(out, found.embeddings, names=[naming.track_id(track) for track in found.names])
        console.print(f"{out}: {len(found.names)} {what}, {found.embeddings}", soft_wrap=True)
    if opened is not None:
        with opened:
            gone = add_tracks(opened, found, naming)
            count = f"{len(found.names)} {what} added, {counted(len(opened), 'item')}"
            console.print(f"{without_secrets(gallery)}: {count}.")
            if gone:
                console.print(f"{gone} former {what if what == 'tracks' else 'items'} of this video were removed.")


def _say_frames(frames: FrameFolder, table: TrackBoxes, naming: VideoNaming) -> None:
    """Print which image is which frame, and the frame rate, before anything is embedded."""
    if naming.start is not None and frames.rate is None:
        raise ConfigError(
            f"--start gives each track the time of its first frame, but the frame rate of {frames.folder} is unknown. "
            "Give --fps, or leave --start out."
        )
    first = frames.numbers[0] + table.table.first_frame
    speed = "times are unknown (--fps)" if frames.rate is None else f"{frames.rate:g} frames per second"
    console.print(f"{frames.files[0]} is frame {first} of the table; {speed}.", soft_wrap=True)


def _say_left_out(left_out: list[str], gone: set[str]) -> None:
    from partreid.tracking._box_choice import named

    for message in left_out[:10]:
        errors.print(f"left out: {message}", soft_wrap=True)
    if len(left_out) > 10:
        errors.print(f"... and {len(left_out) - 10} more were left out.")
    if gone:
        errors.print(f"No box is left of {named(gone, 'track')}.", soft_wrap=True)
