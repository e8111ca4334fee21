"""``partreid export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from partreid.cli.console import console, plain_table, progress_bar
from partreid.cli.options import Mirror
from partreid.datasets.images import read_image, resize
from partreid.datasets.readers import read_dataset
from partreid.datasets.readers.loose_images import read_images
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.errors import ConfigError, DataError
from partreid.export.parity import Agreement
from partreid.export.quality import Quality, measure_quality
from partreid.export.quantise import CALIBRATION_IMAGES
from partreid.export.write import CHECKED_IMAGES, ExportOptions, export_checkpoint
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import Checkpoint, load_checkpoint
from partreid.runtime import RuntimeConfig
from partreid.types import ReIDDataset


class Target(StrEnum):
    """Formats; the value is what the user types."""

    onnx = "onnx"
    openvino = "openvino"

    @property
    def suffix(self) -> str:
        """Of the file."""
        return ".xml" if self is Target.openvino else ".onnx"


def export(
    model: Annotated[str, typer.Argument(help="Run or checkpoint folder, or a Hugging Face repository org/name.")],
    to: Annotated[Target, typer.Option(help="onnx: one file. openvino: an .xml file and its .bin beside it.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write. Default: model[-int8][-bf16].onnx or .xml in the run's folder."
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Convolutions in 8-bit integers, calibrated on training images; quicker in OpenVINO."
        ),
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="OpenVINO computes in bfloat16 where the processor can (AMX, AVX-512).")
    ] = False,
    mirror: Mirror = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="As partreid evaluate, fields of the model only."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images to check and calibrate with. Default: DATA's training images."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Data set whose queries tell what --int8 or --bf16 cost. Default: the shipped one."
        ),
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Under which the weights may be used; kept in the file's metadata.")
    ] = None,
) -> None:
    """Write a model as one file for onnxruntime, TensorRT or OpenVINO, preprocessing inside, and check it at once.

    The file takes uint8 RGB images [B, H, W, 3] at the model's size and gives `vectors` [B, S, D], `visibility`
    [B, S] and `attention` [B, K+1, h, w]. It is compared with PyTorch on real images, and not written if it differs.

    Every command that takes a MODEL takes the file too.
    """
    path = out or _default_file(model, f"model{'-int8' * int8}{'-bf16' * bf16}{to.suffix}")
    if path.suffix != to.suffix:
        raise ConfigError(f"--to {to.value} writes a file that ends in {to.suffix}, got {path}.")
    checkpoint = load_checkpoint(model, overrides=_model_fields(overrides or []))
    dataset = read_dataset(shipped_split() if data is None else data, labels=None)
    pixels = _pixels(dataset, images, checkpoint, CALIBRATION_IMAGES if int8 else CHECKED_IMAGES)
    options = ExportOptions(mirror=mirror, int8=int8, bfloat16=bf16, license=license)
    agreement = export_checkpoint(checkpoint, path, pixels, options=options)
    exported = PartExtractor.from_pretrained(path, runtime=RuntimeConfig(device="cpu"))
    console.print(f"{path}{' and .bin' * (to is Target.openvino)}: {_size(path):.1f} MB", markup=False, soft_wrap=True)
    console.print(_agreement_line(agreement), style="dim", soft_wrap=True)
    if int8 or bf16:
        reference = PartExtractor.from_pretrained(checkpoint, runtime=RuntimeConfig(device="cpu"), mirror=mirror)
        total = 2 * (len(dataset.query) + len(dataset.gallery))
        with progress_bar(f"embedding {dataset.name}", total) as (progress, task):
            quality = measure_quality(reference, exported, dataset, advance=lambda count: progress.advance(task, count))
        _print_quality(quality, dataset)


def _default_file(model: str, name: str) -> Path:
    folder = Path(model)
    return (folder if folder.is_dir() else Path()) / name


def _model_fields(overrides: list[str]) -> list[str]:
    """The assignments to fields of the model; how embeddings are compared is no part of a file that makes them."""
    for assignment in overrides:
        if not assignment.startswith("model."):
            raise ConfigError(
                f"{assignment!r}: expected model.FIELD=VALUE; matching is chosen when embeddings are used."
            )
    return [assignment.removeprefix("model.") for assignment in overrides]


def _pixels(dataset: ReIDDataset, folder: Path | None, checkpoint: Checkpoint, count: int) -> np.ndarray:
    """Up to ``count`` images from all over the training images, or of a folder, at the model's size."""
    images = dataset.train if folder is None else read_images(folder, labels=None).train
    if not images:
        raise DataError(f"{folder or dataset.root} has no training images to check with. Give a folder: --images.")
    chosen = [images[i] for i in np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)]
    return np.stack([resize(read_image(image.path), checkpoint.preprocess.size) for image in chosen])


def _size(path: Path) -> float:
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def _agreement_line(agreement: Agreement) -> str:
    return (
        f"In float32 it agrees with PyTorch on {agreement.images} images, alone and in a batch: vectors within "
        f"{agreement.vectors:.1e} of their length, attention within {agreement.attention:.1e}."
    )


def _print_quality(quality: Quality, dataset: ReIDDataset) -> None:
    rows = [
        (name, f"{100 * result.rank(1):.2f}", f"{100 * result.mean_ap:.2f}")
        for name, result in (
            ("PyTorch, float32", quality.reference),
            ("the exported file", quality.exported),
            ("its queries, PyTorch's gallery", quality.mixed),
        )
    ]
    console.print(plain_table("What fewer bits cost, %", ("embedded by", "rank-1", "mAP"), rows))
    searched = f"{len(dataset.query)} queries in {len(dataset.gallery)} images of {dataset.name}"
    console.print(f"Loss in mAP: {quality.loss:.2f} points ({searched}).", markup=False, soft_wrap=True)
