"""Exports a checkpoint to a file, and compares the file with it. If the check fails, no file is left."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partreid.errors import CheckpointError, ConfigError, ExportError, ShapeError
from partreid.export.network import ExportedNetwork
from partreid.export.onnx import save_onnx, save_openvino, to_onnx, to_openvino
from partreid.export.parity import Agreement, check_agreement
from partreid.export.quantise import quantise
from partreid.models.checkpoint import Checkpoint
from partreid.objects import Guided
from partreid.runners._export_info import ExportInfo, seal
from partreid.runners.exported import SESSIONS, ExportedRunner
from partreid.runners.runner import TorchRunner
from partreid.runtime import Precision, RuntimeConfig
from partreid.version import __version__

_FLOAT32 = RuntimeConfig(device="cpu", precision="float32")

CHECKED_IMAGES = 16
"""Number of images on which the exported file is compared with PyTorch."""


@dataclass(frozen=True, repr=False)
class ExportOptions(Guided):
    """How a file is written.

    Attributes:
        mirror: embed mirror images too, as :class:`~partreid.inference.extractor.PartExtractor` does.
        int8: convolutions in 8-bit integers.
        bfloat16: OpenVINO computes everything that is not in 8-bit integers in bfloat16; the file contains float32.
        license: licence of the weights, for the file's metadata.
    """

    mirror: bool = False
    int8: bool = False
    bfloat16: bool = False
    license: str | None = None


def export_checkpoint(
    checkpoint: Checkpoint, file: str | Path, pixels: np.ndarray, *, options: ExportOptions | None = None
) -> Agreement:
    """Write a checkpoint as ONNX (``.onnx``) or OpenVINO (``.xml`` with its ``.bin`` beside it).

    The network is first compared with PyTorch in float32, even if it is quantised afterwards.

    Args:
        checkpoint: the model, which is moved to the CPU.
        file: where to write; a former file is replaced once all is well.
        pixels: uint8 [N, H, W, 3] RGB at the model's size: the first 16 are compared, all of them calibrate int8.
        options: how the file is written.

    Returns:
        The differences between the float32 file and PyTorch, which are only rounding.

    Raises:
        ExportError: the network cannot be exported, differs from PyTorch, or the file cannot be written.
        ShapeError: the images have another size or type, or there are none.
        ConfigError: the network needs pose fields, its parts have no names for a mirror, or a choice does not fit.
        MissingDependencyError: a library is not installed.
    """
    options, path = options or ExportOptions(), Path(file)
    if path.suffix not in SESSIONS:
        raise ConfigError(f"Expected a file that ends in .onnx or .xml (OpenVINO), got {path}.")
    if options.bfloat16 and path.suffix == ".onnx":
        raise ConfigError(
            "bfloat16 is OpenVINO's: onnxruntime has no such arithmetic on CPUs. Export with --to openvino."
        )
    if pixels.dtype != np.uint8 or not len(pixels) or pixels.shape[1:] != (*checkpoint.preprocess.size, 3):
        raise ShapeError(
            f"Expected uint8 images [N, {checkpoint.preprocess.height}, {checkpoint.preprocess.width}, 3] to check "
            f"with, got {pixels.dtype} {pixels.shape}."
        )
    reference = TorchRunner(checkpoint.model, checkpoint.preprocess, _FLOAT32, mirror=options.mirror)
    network = ExportedNetwork(reference.model, checkpoint.preprocess, mirror=options.mirror).eval()
    info = describe(reference, license=options.license)
    with _draft(path) as draft:
        model = to_onnx(network, info)
        if path.suffix == ".xml":
            model = to_openvino(model)
        _save(model, info, draft)
        agreement = check_agreement(reference, ExportedRunner(draft, _FLOAT32), pixels[:CHECKED_IMAGES])
        if options.int8 or options.bfloat16:
            precision = "bfloat16" if options.bfloat16 else "float32"
            info = info.model_copy(update={"quantized": options.int8, "precision": precision})
            _save(quantise(model, pixels) if options.int8 else model, info, draft)
            _check_finite(draft, pixels[:2], "bfloat16" if options.bfloat16 else "auto")
    return agreement


def describe(runner: TorchRunner, *, license: str | None = None) -> ExportInfo:
    """The metadata of a float32 file made from this network."""
    config = runner.model.config
    return ExportInfo(
        partreid=__version__,
        network=type(runner.model).__name__,
        slots=runner.slots,
        part_names=config.part_names,
        preprocess=runner.preprocess,
        mirror=runner.mirror,
        visibility=config.visibility,
        visibility_threshold=config.visibility_threshold,
        normalize_embeddings=config.normalize_embeddings,
        slot_weights=config.slot_weights,
        fingerprint=runner.fingerprint,
        license=license,
    )


def _save(model: Any, info: ExportInfo, path: Path) -> None:
    save = save_openvino if path.suffix == ".xml" else save_onnx
    save(model, info, path)
    seal(path)


def _check_finite(path: Path, pixels: np.ndarray, precision: Precision) -> None:
    """Check that a file in fewer bits can be run at all. Its loss in mAP is measured on a data set."""
    try:
        runtime = RuntimeConfig(device="cpu", precision=precision)
        ExportedRunner(path, runtime).run(pixels, None).embeddings.validate()
    except (ShapeError, CheckpointError) as error:
        raise ExportError(f"The network in fewer bits cannot be run: {error}") from None


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A path of the same name in a folder beside the file. What is written there replaces the file if the block
    succeeds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            yield draft
            if path.suffix == ".xml":
                # The graph comes last: a graph without weights is refused, but one with another file's weights is not.
                path.unlink(missing_ok=True)
                os.replace(draft.with_suffix(".bin"), path.with_suffix(".bin"))  # noqa: PTH105 - replaces everywhere
            os.replace(draft, path)  # noqa: PTH105
    except OSError as error:
        raise ExportError(
            f"Cannot write {path}: {error.strerror or error}. Free space, or choose another folder."
        ) from None
