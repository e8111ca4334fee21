"""``partreid embed-boxes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli import options as opt
from partreid.cli import tracks as shared


def embed_boxes(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] FRAMES BOXES",
            help="FRAMES: a video file, or a folder of images. BOXES of a detector or tracker, in one of the formats "
            "of docs/tracklets.md. To use another model than the shipped one, write MODEL first, as for --model.",
        ),
    ],
    model: opt.ModelOption = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write. Default without --gallery: boxes.safetensors."),
    ] = None,
    gallery: opt.GalleryOption = "",
    name: shared.Name = "",
    camera: opt.OneCamera = None,
    start: shared.Start = None,
    fps: shared.FramesASecond = None,
    in_order: shared.InOrder = False,
    format: shared.Format = None,
    form: shared.Form = None,
    first_frame: shared.FirstFrame = None,
    person_class: shared.PersonClass = None,
    crops: Annotated[
        Path | None, typer.Option(help="Folder for the images of the boxes. Each video gets a folder inside.")
    ] = None,
    every: shared.Every = 1,
    skip_damaged: opt.SkipDamaged = False,
    mirror: opt.Mirror = False,
    calibration: opt.Calibration = None,
    adaptation: opt.Adaptation = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Embed the boxes of a detector: one embedding per box. The table may have tracks or not.

    The file is like that of `partreid embed`. A row is called NAME/FRAME/NUMBER. NAME is the video or folder. FRAME is
    the frame's number from 0, or the image's name in a folder. NUMBER counts the table's boxes in this frame from 0. In
    a gallery each box is an item with camera and time. The boxes replace what was added from this video before.
    """
    from partreid.tracking import embed_detections

    shared.fill(
        words, model, out, gallery, name, camera, start, fps, crops, every, skip_damaged, mirror, calibration,
        adaptation, opt.runtime_config(device, precision, batch_size=batch_size), what="boxes",
        embed=embed_detections, in_order=in_order,
        table={"format": format, "form": form, "first_frame": first_frame, "person_classes": person_class or None},
    )  # fmt: skip
