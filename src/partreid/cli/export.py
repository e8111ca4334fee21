"""``partreid export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from partreid.cli import options as opt
from partreid.cli.console import console, plain_table, show_progress
from partreid.errors import ConfigError
from partreid.models.shipped import SHIPPED


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Run or checkpoint folder, Hugging Face repository org/name, or shipped, the trained model inside "
            "the package."
        ),
    ] = SHIPPED,
    *,
    to: Annotated[
        Literal["onnx", "openvino"], typer.Option(help="onnx: one file. openvino: an .xml file and its .bin beside it.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write. Default: model[-int8][-bf16].onnx or .xml in the run's folder; for the shipped model, "
            "its name in the current folder.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Convolutions in 8-bit integers, calibrated on training images; faster in OpenVINO."
        ),
    ] = False,
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16", help="OpenVINO computes in bfloat16 where that is quicker: each machine measures it once."
        ),
    ] = False,
    single_vector: Annotated[
        bool,
        typer.Option(
            "--single-vector",
            help="Write ONNX for ultralytics' trackers instead, with one vector per crop. No command reads this file.",
        ),
    ] = False,
    mirror: opt.Mirror = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="As for partreid evaluate, but only fields of the model."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images for the check and for --int8. Default: DATA's training images."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Data set to measure the loss of --int8 or --bf16 on. Default: the shipped one."
        ),
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Licence of the weights, which is stored in the file's metadata.")
    ] = None,
) -> None:
    """Write a model with its preprocessing as one file for onnxruntime, TensorRT or OpenVINO, and check it.

    The file reads uint8 RGB images [B, H, W, 3] at the model's size, and computes `vectors` [B, S, D], `visibility`
    [B, S] and `attention` [B, K+1, h, w]. It is compared with PyTorch on real images, and not written if it differs.

    You can use the file as MODEL in all commands.
    """
    from partreid.export.model import export_model
    from partreid.export.single_vector import export_single_vector
    from partreid.export.write import ExportOptions

    if single_vector:
        if to != "onnx" or int8 or bf16 or mirror or overrides or images or data or license:
            raise ConfigError("--single-vector can only be combined with --to onnx and --out.")
        console.print(f"{export_single_vector(model, out)}: one vector per crop, as PyTorch gives it.", soft_wrap=True)
        return
    found = export_model(
        model,
        out,
        suffix=".xml" if to == "openvino" else ".onnx",
        options=ExportOptions(mirror=mirror, int8=int8, bfloat16=bf16, license=license),
        overrides=tuple(overrides or ()),
        images=images,
        data=data,
        progress=show_progress,
    )
    files = f"{found.path}{' and .bin' * (to == 'openvino')}"
    console.print(f"{files}: {found.megabytes:.1f} MB", soft_wrap=True)
    console.print(
        f"In float32 it agrees with PyTorch on {found.agreement.images} images, alone and in a batch: vectors within "
        f"{found.agreement.vectors:.1e} of their length, attention within {found.agreement.attention:.1e}.",
        style="dim",
        soft_wrap=True,
    )
    if found.milliseconds:
        times = ", ".join(f"{value:.2f} ms in {name}" for name, value in found.milliseconds.items())
        quicker = min(found.milliseconds, key=lambda name: found.milliseconds[name])
        console.print(
            f"On this machine an image takes {times}: here the file runs in {quicker}. Another machine measures anew.",
            soft_wrap=True,
        )
    if (quality := found.quality) is None:
        return
    rows = [
        (name, f"{100 * result.rank(1):.2f}", f"{100 * result.mean_ap:.2f}")
        for name, result in (
            ("PyTorch, float32", quality.reference),
            ("the exported file", quality.exported),
            ("its queries, PyTorch's gallery", quality.mixed),
        )
    ]
    console.print(plain_table("The cost of fewer bits, %", ("embedded by", "rank-1", "mAP"), rows))
    searched = f"{len(found.dataset.query)} queries in {len(found.dataset.gallery)} images of {found.dataset.name}"
    console.print(f"Loss in mAP: {quality.loss:.2f} points ({searched}).", soft_wrap=True)
